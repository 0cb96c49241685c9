"""Instructions whose gold answers are known: few of them hold a vote to the truth.

Source of labelled rows among voted ones, up-weighted: R-Few, arXiv 2512.02472.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from serl_trl.propose.pool import InstructionPool
from serl_trl.propose.sources.base import LABELLED, Rows, Task
from serl_trl.propose.sources.rows import RowSource, check_weight


@dataclass
class LabelledRows(RowSource):
    """Hands out the rows of `labelled_set`, which their gold answers reward whatever the labeller.

    The advantages of their groups are multiplied by `weight`.
    """

    weight: float = 1.0
    labelled_set: Rows = ()

    by_gold: ClassVar[bool] = True
    needs = frozenset({LABELLED})

    def __post_init__(self) -> None:
        check_weight("labelled", self.weight)
        self._tasks = [
            Task(text, f"labelled:{row}", gold, by_gold=True, weight=self.weight)
            for row, (text, gold) in enumerate(self.labelled_set)
        ]

    def rows(self, pool: InstructionPool) -> Sequence[Task]:
        """Return the rows with their gold answers."""
        return self._tasks
