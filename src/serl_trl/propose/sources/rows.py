"""Rows that are handed out as they are, one after another, and again from the first."""

import random
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Any, ClassVar

from serl_trl.common.completion import Complete
from serl_trl.common.plugin import shown
from serl_trl.propose.pool import InstructionPool
from serl_trl.propose.sources.base import Task, TaskSource


@dataclass
class RowSource(TaskSource):
    """Hands out the tasks of `rows` in order, or shuffled anew each time round.

    It never ends: after the last row it begins again. `epochs` says how often it went round.
    """

    shuffle_dataset: bool = True
    epochs: float | None = field(default=0.0, init=False)
    _order: list[int] = field(default_factory=list, init=False)

    writes: ClassVar[bool] = False

    @abstractmethod
    def rows(self, pool: InstructionPool) -> Sequence[Task]:
        """Return all tasks, at least one, the same in every call."""

    def propose(
        self, num: int, *, pool: InstructionPool, complete: Complete, rng: random.Random
    ) -> list[Task]:
        """Return the next `num` tasks."""
        rows, tasks = self.rows(pool), []
        while len(tasks) < num:
            if not self._order:
                self._order = list(range(len(rows)))
                if self.shuffle_dataset:
                    rng.shuffle(self._order)
            number = self._order.pop(0)
            # A run may go on with fewer rows, where `allow_changes` lets it.
            if number < len(rows):
                tasks.append(rows[number])
        # In whole rows, so that the sum does not gather rounding.
        self.epochs = (round((self.epochs or 0.0) * len(rows)) + num) / len(rows)
        return tasks

    def state_dict(self) -> Mapping[str, Any]:
        """Return what is left of this time round, and how often it went round."""
        return {"order": list(self._order), "epochs": self.epochs}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on after the row that came last."""
        self._order, self.epochs = list(state["order"]), float(state["epochs"])


def check_weight(source: str, weight: object) -> None:
    """Raise `ValueError` for a weight of advantages that is not a number above 0."""
    number = isinstance(weight, int | float) and not isinstance(weight, bool)
    if not number or not 0 < weight < inf:
        raise ValueError(
            f"sources={source}(weight={shown(repr(weight))}) must be a number above 0; 1 is usual, "
            "and R-Few takes 2 for labelled rows."
        )
