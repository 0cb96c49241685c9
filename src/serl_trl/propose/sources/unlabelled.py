"""Given questions without labels, which the labeller judges as it does the model's own.

Source: TTRL, arXiv 2504.16084, and SRT, arXiv 2505.21444, which train on nothing else.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from serl_trl.propose.pool import InstructionPool
from serl_trl.propose.sources.base import UNLABELLED, Rows, Task
from serl_trl.propose.sources.rows import RowSource, check_weight


@dataclass
class UnlabelledRows(RowSource):
    """Hands out the rows of `unlabelled_set`; what answers they have only count label accuracy.

    The advantages of their groups are multiplied by `weight`.
    """

    weight: float = 1.0
    unlabelled_set: Rows = ()

    needs = frozenset({UNLABELLED})

    def __post_init__(self) -> None:
        check_weight("unlabelled", self.weight)
        self._tasks = [
            Task(text, f"unlabelled:{row}", gold, weight=self.weight)
            for row, (text, gold) in enumerate(self.unlabelled_set)
        ]

    def rows(self, pool: InstructionPool) -> Sequence[Task]:
        """Return the rows, with the gold answers of those that have one."""
        return self._tasks
