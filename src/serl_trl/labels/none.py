"""No label: the reward functions of the user alone train."""

from collections.abc import Sequence
from typing import ClassVar

from serl_trl.common.verdict import KEEP
from serl_trl.labels.base import Labelled, Labeller, Rollouts, Tools


class NoLabel(Labeller):
    """Keeps every group and rewards nothing."""

    rewards: ClassVar[bool] = False
    meaning: ClassVar[str] = "There is no label; other reward functions decide."
    rewarded: ClassVar[str] = "it was rewarded by other functions, not for a vote"
    truth: ClassVar[str] = meaning

    def label(self, groups: Sequence[Rollouts], tools: Tools) -> list[Labelled]:
        """Keep each group."""
        return [
            Labelled((None,) * len(group.completions), KEEP, group.vote.majority_ratio)
            for group in groups
        ]
