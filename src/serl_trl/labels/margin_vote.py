"""A majority is a label only by consensus and margin; what is surely wrong is punished.

Source: SCRL (arXiv 2603.19880), its binary form.
"""

from collections.abc import Sequence
from statistics import fmean
from typing import ClassVar

from serl_trl.common.verdict import KEEP, Verdict
from serl_trl.labels.base import Labelled, Rollouts, check_range
from serl_trl.labels.vote import MajorityVote


class MarginVote(MajorityVote):
    """Rewards +1 for a sure majority, -1 for what is surely wrong, and 0 for everything else.

    The largest class is sure with at least `consensus` of the G completions and a lead of more than
    `margin`, or with no other class beside it. Surely wrong are completions without an answer, and
    each other class with less than `rare` of the completions whose mean token entropy is not below
    the group's. Without a sure majority the wrong ones still train, and there is no label. A group
    whose rewards are all equal is refused ("no_signal").
    """

    needs: frozenset[str] = frozenset({"entropy"})
    meaning: ClassVar[str] = (
        "The label is the commonest answer where its lead is clear; rare and unsure answers count "
        "as wrong."
    )
    rewarded: ClassVar[str] = (
        "it was rewarded for clear majority answers and punished for rare, unsure ones"
    )

    def __init__(
        self, consensus: float = 0.375, margin: float = 0.125, rare: float = 0.125
    ) -> None:
        check_range(0, 1, consensus=consensus, margin=margin, rare=rare)
        self.consensus, self.margin, self.rare = consensus, margin, rare

    def _label(self, group: Rollouts) -> Labelled:
        vote = group.vote
        lone = vote.num_classes == 1
        sure = vote.majority_ratio >= self.consensus and (lone or vote.margin > self.margin)
        label = vote.answer if sure else None
        wrong = self._wrong(group)
        rewards = [
            -1.0 if own is None or own in wrong else float(own == 0 and label is not None)
            for own in vote.classes
        ]
        verdict = KEEP if len(set(rewards)) > 1 else Verdict(False, "no_signal")
        numbers = {"positive": float(label is not None), "num_wrong_classes": float(len(wrong))}
        return Labelled(tuple(rewards), verdict, vote.majority_ratio, label, numbers)

    def _wrong(self, group: Rollouts) -> set[int]:
        """Return the classes that are rare and written with more doubt than the group."""
        vote, size = group.vote, len(group.completions)
        entropies = [each.entropy or 0.0 for each in group.completions]
        return {
            own
            for own, (_, votes) in enumerate(vote.counts)
            # Of a tie for first place no class is the wrong one.
            if votes < vote.counts[0][1]
            and votes / size < self.rare
            and _mean_of(own, vote.classes, entropies) >= fmean(entropies)
        }


def _mean_of(own: int, classes: Sequence[int | None], values: Sequence[float]) -> float:
    return fmean(value for each, value in zip(classes, values, strict=True) if each == own)
