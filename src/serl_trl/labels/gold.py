"""The gold answer as the label: the upper reference that self-play is measured against."""

from collections.abc import Sequence
from typing import ClassVar

from serl_trl.common.verdict import KEEP, Verdict
from serl_trl.labels.base import Labelled, Labeller, Rollouts, Tools


class Gold(Labeller):
    """Rewards 1 for the gold answer, else 0; refuses a group without gold ("no_gold")."""

    needs: frozenset[str] = frozenset({"gold"})
    meaning: ClassVar[str] = "The label is the gold answer."
    rewarded: ClassVar[str] = "it was rewarded for gold answers, not for a vote"
    truth: ClassVar[str] = "They are gold answers, so they are as right as those are."

    def label(self, groups: Sequence[Rollouts], tools: Tools) -> list[Labelled]:
        """Judge each group by its gold answer."""
        return [
            Labelled(
                tuple(float(right) for right in group.right),
                KEEP if group.task.gold is not None else Verdict(False, "no_gold"),
                group.vote.majority_ratio,
                group.task.gold,
            )
            for group in groups
        ]
