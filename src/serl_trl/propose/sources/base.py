"""Where tasks come from: the seam behind which every source stands."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from serl_trl.common.completion import Complete
from serl_trl.common.verdict import Verdict
from serl_trl.propose.pool import InstructionPool


@dataclass(frozen=True)
class Task:
    """Something to roll out.

    `origin` says where it comes from: "seed:3", "proposal:17". `gold` is its gold answer from the
    data. `parents` are the origins of what it was made from. `inherited` is a label that the task
    has from how it was made. It may be wrong, so it is never a gold answer and no figure of label
    accuracy reads it; see `labels/inherited.py`.

    With `by_gold` the group is rewarded by `gold`, whatever labels other groups; its advantages,
    and those of any group, are multiplied by `weight` (`labels/by_gold.py`). `source` is the name
    of the source among those of the run, set by self-play.
    """

    instruction: str
    origin: str = ""
    gold: str | None = None
    parents: tuple[str, ...] = ()
    inherited: str | None = None
    by_gold: bool = False
    weight: float = 1.0
    source: str = ""


@dataclass(frozen=True)
class GroupResult:
    """What became of a task: the verdict on its group, the share of the winning class, the label.

    `agreement` lies in [0, 1] and is taken over all completions of the group.
    """

    task: Task
    verdict: Verdict
    agreement: float
    label: str | None


Rows = Sequence[tuple[str, str | None]]
"""Instructions of a set, each with its gold answer or `None`."""

LABELLED, UNLABELLED = "labelled_set", "unlabelled_set"
"""The sets of rows that a source may need, by the names of their options. It is offered their
`Rows` under these names."""


class TaskSource(Protocol):
    """Returns tasks to roll out; subclass it and write `propose`.

    Every process of a run calls the same methods in the same order with the same arguments. So a
    source must decide only by these arguments and by `rng`, never by a clock or its own chance.
    """

    writes: ClassVar[bool] = True
    """Whether the tasks are new texts. New texts pass the filters, join the pool and get their
    origin from self-play. Other tasks are rolled out as they are and carry their own origin."""

    by_gold: ClassVar[bool] = False
    """Whether its tasks are rewarded by their gold answers; see `Task.by_gold`."""

    needs: frozenset[str] = frozenset()
    """Which of `LABELLED` and `UNLABELLED` it reads; a run without such a set is refused."""

    epochs: float | None = None
    """How often it handed out each of its rows, on average; `None` for a source without rows."""

    unread: Sequence[str] = ()
    """What the model wrote in the last call to `propose` and held no task."""

    num_retried: int = 0
    """How many requests of the last call to `propose` named what was refused before."""

    def propose(
        self, num: int, *, pool: InstructionPool, complete: Complete, rng: random.Random
    ) -> list[Task]:
        """Return about `num` tasks; fewer are fine, and more wait for a later round.

        `complete` asks the policy with the proposer's sampling values.
        """
        ...

    def observe(self, results: Sequence[GroupResult]) -> None:
        """Learn what became of this source's tasks; called after each round that had any."""

    def observe_filtered(self, verdicts: Sequence[Verdict]) -> None:
        """Learn what the filters made of the tasks of the last call to `propose`, in order.

        Only sources with `writes` hear of it, since only their tasks are filtered.
        """

    def state_dict(self) -> Mapping[str, Any]:
        """Return what decides the source's future, as JSON values."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` returned."""
