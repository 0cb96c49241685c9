"""Answers are worth what their share promises: a large majority nearly all, small ones nearly none.

Source: RESTRAIN (arXiv 2510.02172). The loss there is a sum over the answers j of w_j times GRPO's
with the reward 1[c(i) = j]. With advantages that are centred and not divided by the group's spread
(`rloo`, `reinforce_pp_baseline`) this equals the plain reward w_c(i), because centring is linear.
Left out are the penalty where few agree and the weight by a frozen model: their numbers are not
published.
"""

import math
from typing import ClassVar

from serl_trl.labels.base import Labelled, Rollouts, check_range
from serl_trl.labels.vote import MajorityVote, hindrance


class WeightedVote(MajorityVote):
    """Rewards the answer j with w_j = g(p_j) / sum of g, where g(p) = exp(-(p - 1)^2 / 2 sigma^2).

    p_j is the share of the answer in all G completions; one without an answer gets 0. The published
    `sigma` is .3 to .5. A tie is kept.
    """

    meaning: ClassVar[str] = (
        "Each answer is rewarded by a weight that grows with its share; no solution was shown."
    )
    rewarded: ClassVar[str] = "each answer was rewarded by a weight that grows with its share"

    def __init__(self, sigma: float = 0.4) -> None:
        # Below a hundredth every weight but that of a unanimous answer is 0, and so is their sum.
        check_range(0.05, 10, sigma=sigma)
        self.sigma = sigma

    def _label(self, group: Rollouts) -> Labelled:
        vote, size = group.vote, len(group.completions)
        heights = [self._height(votes / size) for _, votes in vote.counts]
        total = math.fsum(heights)
        rewards = tuple(0.0 if own is None else heights[own] / total for own in vote.classes)
        return Labelled(rewards, hindrance(vote, ties=True), vote.majority_ratio, vote.answer)

    def _height(self, share: float) -> float:
        return math.exp(-((share - 1) ** 2) / (2 * self.sigma**2))
