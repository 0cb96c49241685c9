"""What a group is worth: votes, gold answers and controls turned into rewards."""

from serl_trl.labels.base import Labelled, Labeller, Rollouts, Tools
from serl_trl.labels.trl_reward import MajorityVoteReward

__all__ = ["Labelled", "Labeller", "MajorityVoteReward", "Rollouts", "Tools"]
