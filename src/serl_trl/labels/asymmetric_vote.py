"""What agrees counts by how many agree; what disagrees counts in full.

An answer that differs from a wrong label is mostly wrong itself: its punishment is right where the
reward of the label would not be. Source: the asymmetry of TTPO (arXiv 2608.27448), as a factor of
the advantage: the majority ratio where it is positive, 1 where it is negative.
"""

from dataclasses import replace
from typing import ClassVar

from serl_trl.labels.base import Labelled, Rollouts
from serl_trl.labels.vote import MajorityVote


class AsymmetricVote(MajorityVote):
    """Rewards as the vote does, and weighs the members of the majority by the majority ratio."""

    meaning: ClassVar[str] = (
        "The label is the answer that most completions agree on; it counts by how many do."
    )
    rewarded: ClassVar[str] = (
        "its majority answer was the label, and counted by how many completions agreed"
    )

    def _label(self, group: Rollouts) -> Labelled:
        found = super()._label(group)
        # Exactly the members of the majority have a positive advantage; a reward could not say it,
        # because centred advantages of a group have the sum 0.
        weights = tuple(found.agreement if reward else 1.0 for reward in found.rewards)
        return replace(found, weights=weights)
