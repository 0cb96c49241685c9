"""The difficulty band: only groups that are neither too easy nor too hard are trained on.

Source: SeRL, arXiv 2505.20347, with the band [0.2, 0.8].
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from serl_trl.common.verdict import Verdict
from serl_trl.labels.base import Labelled, Rollouts, Tools, Wrapper

# Rounding: 0.2 * 15 is not 3 in binary, and a ratio at an end of the band belongs to it.
SLACK = 1e-9


def in_band(ratio: float, *, low: float, high: float) -> bool:
    """Whether `ratio` lies in [low, high], both ends included in spite of rounding."""
    return low - SLACK <= ratio <= high + SLACK


def reachable_votes(votes: int, *, low: float, high: float) -> list[int]:
    """Return the numbers of votes, of `votes` in all, whose ratio lies in the band.

    One vote is no majority, so the smallest is 2.
    """
    return [k for k in range(2, votes + 1) if in_band(k / votes, low=low, high=high)]


@dataclass
class Band(Wrapper):
    """A labeller whose groups also stay by their agreement, which must lie in [`low`, `high`]."""

    low: float
    high: float

    def label(self, groups: Sequence[Rollouts], tools: Tools) -> list[Labelled]:
        """Judge each group, and refuse the kept ones outside: "band_low" or "band_high"."""
        return [self._banded(each) for each in self.labeller.label(groups, tools)]

    def _banded(self, labelled: Labelled) -> Labelled:
        agreement = labelled.agreement
        if not labelled.verdict.keep or in_band(agreement, low=self.low, high=self.high):
            return labelled
        reason = "band_low" if agreement < self.low else "band_high"
        return replace(labelled, verdict=Verdict(False, reason))
