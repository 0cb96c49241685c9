"""A coin as the label: the control that shows how much of a gain the labels do not explain.

Source: Spurious Rewards, arXiv 2506.10947.
"""

from collections.abc import Sequence
from typing import ClassVar

from serl_trl.common.verdict import KEEP
from serl_trl.labels.base import Labelled, Labeller, Rollouts, Tools


class Coin(Labeller):
    """Rewards each completion 1 or 0 by a fair coin."""

    meaning: ClassVar[str] = "The label is a coin toss, so that nothing can be learnt from it."
    rewarded: ClassVar[str] = "rewards were coin tosses, as a control: it was taught nothing"
    truth: ClassVar[str] = meaning

    def label(self, groups: Sequence[Rollouts], tools: Tools) -> list[Labelled]:
        """Draw for each completion of each group, in order."""
        return [
            Labelled(
                # By the run's own randomness, so that processes toss alike and a resumed run goes
                # on.
                tuple(float(tools.rng.random() < 0.5) for _ in group.completions),
                KEEP,
                # The vote's agreement: the band then keeps the same groups, and only the rewards
                # differ.
                group.vote.majority_ratio,
            )
            for group in groups
        ]
