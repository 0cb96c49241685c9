"""Pilot votes: a few completions of a prompt tell whether the others are worth sampling.

Most groups that the difficulty band refuses are of one mind, which few votes show. A group that is
finished is judged by all its votes, as if there had been no pilot.
"""

from dataclasses import dataclass
from math import exp, lgamma

from serl_trl.answers.voting import Vote
from serl_trl.common.verdict import KEEP, Verdict
from serl_trl.labels.band import reachable_votes

# Jeffreys' prior of a share: sharper at both ends than the uniform one. Replayed on finished runs
# it gives what happened to within .12 (`benchmarks/pilot.py`).
_PRIOR = 0.5
# What a labeller may need and yet judge by nothing but the completions of the group.
_OF_GROUP = frozenset({"gold", "log_probs", "entropy"})


@dataclass(frozen=True)
class Landing:
    """The chances that a group ends up below, inside and above the band, which add up to 1."""

    below: float
    inside: float
    above: float


def landing(top: int, *, votes: int, size: int, low: float, high: float) -> Landing:
    """Return where a group of `size` votes lands whose commonest answer has `top` of the first.

    `votes` counts the first. Beta-binomial: of the m = size - votes others, x have that answer with
    the chance C(m, x) B(top + x + a, size - top - x + a) / B(top + a, votes - top + a), where
    a = 1/2 is Jeffreys' prior of its share; the majority ratio is then (top + x) / size. An answer
    that overtakes it is left out. `inside` is 0.0 only where no further votes, for whichever
    answer, lead into the band, unless these change which answers count as equal.
    """
    left, inside = size - votes, reachable_votes(size, low=low, high=high)
    chances = {top + x: _chance(x, left, top, votes) for x in range(left + 1)}
    # Votes that lead into the band may be none at all; what lies below is then what is too few.
    first = inside[0] if inside else size + 1
    below = sum(chance for count, chance in chances.items() if count < first)
    within = sum(chance for count, chance in chances.items() if count in inside)
    return Landing(below, within, max(0.0, 1 - below - within))


def _chance(x: int, left: int, top: int, votes: int) -> float:
    ways = lgamma(left + 1) - lgamma(x + 1) - lgamma(left - x + 1)
    return exp(ways + _beta(top + x, votes + left - top - x) - _beta(top, votes - top))


def _beta(hits: int, misses: int) -> float:
    """Return the logarithm of the beta function at both counts plus the prior's."""
    a, b = hits + _PRIOR, misses + _PRIOR
    return lgamma(a) + lgamma(b) - lgamma(a + b)


@dataclass(frozen=True)
class Pilot:
    """Which groups of `size` completions are worth finishing after `votes` of them.

    That is where the chance to land in the band [`low`, `high`] is above `chance`; with 0 all those
    that can land there.
    """

    votes: int
    size: int
    low: float
    high: float
    chance: float

    def judge(self, vote: Vote) -> Verdict:
        """Keep a group that goes on, or end it: "pilot_low", "pilot_high", by what is likelier."""
        top = vote.counts[0][1] if vote.counts else 0
        found = landing(top, votes=self.votes, size=self.size, low=self.low, high=self.high)
        if found.inside > self.chance:
            return KEEP
        reason = "pilot_low" if found.below > found.above else "pilot_high"
        return Verdict(False, reason, {"votes": self.votes, "chance": round(found.inside, 4)})


def fits_pilot(needs: frozenset[str]) -> bool:
    """Return whether a labeller with these `needs` judges a group by its own votes alone.

    One that asks for other completions may find another agreement with them.
    """
    return needs <= _OF_GROUP
