"""The rows of the seed set themselves, in order or shuffled anew each time round."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from serl_trl.common.completion import Complete
from serl_trl.propose.pool import InstructionPool
from serl_trl.propose.sources.base import Task, TaskSource


@dataclass
class Given(TaskSource):
    """Hands out the seeds one after another, and begins again after the last."""

    shuffle_dataset: bool = True
    _order: list[int] = field(default_factory=list)

    writes: ClassVar[bool] = False

    def propose(
        self, num: int, *, pool: InstructionPool, complete: Complete, rng: random.Random
    ) -> list[Task]:
        """Return the next `num` seeds."""
        tasks = []
        for _ in range(num):
            if not self._order:
                self._order = list(range(len(pool.seeds)))
                if self.shuffle_dataset:
                    rng.shuffle(self._order)
            number = self._order.pop(0)
            tasks.append(Task(pool.seeds[number], f"seed:{number}"))
        return tasks

    def state_dict(self) -> Mapping[str, Any]:
        """Return what is left of this time round."""
        return {"order": list(self._order)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on after the seed that came last."""
        self._order = list(state["order"])
