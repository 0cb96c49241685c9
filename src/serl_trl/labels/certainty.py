"""The model's own certainty as the reward, without a vote.

Source: RENT (arXiv 2505.22660): r_i = -h_i, the mean entropy of the tokens; no answer: -7.
"""

from collections.abc import Sequence
from typing import ClassVar

from serl_trl.common.verdict import KEEP
from serl_trl.labels.base import Labelled, Labeller, Rollouts, Tools

NO_ANSWER = -7.0  # below what an ordinary text has: e^7 tokens alike likely at every place


class Certainty(Labeller):
    """Rewards a completion with minus its mean token entropy in nats, and one without answer -7."""

    needs: frozenset[str] = frozenset({"entropy"})
    meaning: ClassVar[str] = (
        "There is no label; the surer a completion is, the more it is rewarded."
    )
    rewarded: ClassVar[str] = "it was rewarded for being certain, right or wrong"
    truth: ClassVar[str] = meaning

    def label(self, groups: Sequence[Rollouts], tools: Tools) -> list[Labelled]:
        """Keep each group with at least one answer."""
        return [self._label(group) for group in groups]

    def _label(self, group: Rollouts) -> Labelled:
        pairs = zip(group.completions, group.vote.classes, strict=True)
        rewards = (NO_ANSWER if own is None else -(each.entropy or 0.0) for each, own in pairs)
        return Labelled(tuple(rewards), KEEP, group.vote.majority_ratio)
