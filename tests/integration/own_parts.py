"""A labeller and a source that lie outside the package, as a user writes them."""

from serl_trl import Labeller, TaskSource
from serl_trl.common.verdict import KEEP
from serl_trl.labels.base import Labelled
from serl_trl.propose.sources.base import Task


class Half(Labeller):
    """Rewards the majority with 1 and others with a share; says nothing of what cannot be read."""

    def __init__(self, share: float = 0.5) -> None:
        self.share = share
        self.num_groups = 0

    def label(self, groups, tools):
        self.num_groups += len(groups)
        return [self._one(group) for group in groups]

    def _one(self, group):
        vote = group.vote
        rewards = tuple(
            None if place is None else reward or self.share
            for reward, place in zip(vote.rewards, vote.classes, strict=True)
        )
        metrics = {"num_groups": float(self.num_groups)}
        return Labelled(rewards, KEEP, vote.majority_ratio, vote.answer, metrics)

    def state_dict(self):
        return {"num_groups": self.num_groups}

    def load_state_dict(self, state):
        self.num_groups = state["num_groups"]


class Longest(TaskSource):
    """Hands out the longest seeds, each of them once before any comes again."""

    writes = False

    def __init__(self, most: int = 8) -> None:
        self.most = most
        self.place = 0

    def propose(self, num, *, pool, complete, rng):
        order = sorted(range(len(pool.seeds)), key=lambda row: -len(pool.seeds[row]))[: self.most]
        places = range(self.place, self.place + num)
        self.place += num
        rows = [order[place % len(order)] for place in places]
        return [Task(pool.seeds[row], f"seed:{row}") for row in rows]

    def state_dict(self):
        return {"place": self.place}

    def load_state_dict(self, state):
        self.place = state["place"]
