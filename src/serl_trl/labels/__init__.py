"""What a group is worth: votes, gold answers and controls turned into rewards."""

from serl_trl.labels.trl_reward import MajorityVoteReward

__all__ = ["MajorityVoteReward"]
