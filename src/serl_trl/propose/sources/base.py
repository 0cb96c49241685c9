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

    `origin` names where it comes from: "seed:3", "proposal:17". `gold` is the label it came with,
    from the data or inherited. `parents` are the origins of what it was made from.
    """

    instruction: str
    origin: str = ""
    gold: str | None = None
    parents: tuple[str, ...] = ()


@dataclass(frozen=True)
class GroupResult:
    """What became of a task: the verdict on its group, the share of the winning class, the label.

    `agreement` lies in [0, 1] and is taken over all completions of the group.
    """

    task: Task
    verdict: Verdict
    agreement: float
    label: str | None


class TaskSource(Protocol):
    """Where tasks come from; subclass it for the parts that a source leaves as they are.

    Every process of a run calls the same methods in the same order with the same arguments, so a
    source must decide by these and by `rng` alone, never by clock or chance of its own.
    """

    writes: ClassVar[bool] = True
    """Whether the tasks are new texts. Those pass the filters, join the pool and get their origin
    from self-play. Tasks of another source are rolled out as they are, and carry an origin."""

    unread: Sequence[str] = ()
    """What the model wrote in the last call to `propose` and no task was read in."""

    def propose(
        self, num: int, *, pool: InstructionPool, complete: Complete, rng: random.Random
    ) -> list[Task]:
        """Return about `num` tasks; what exceeds it waits for a later round, and fewer are fine.

        `complete` asks the policy with the proposer's sampling values.
        """
        ...

    def observe(self, results: Sequence[GroupResult]) -> None:
        """Learn what became of this source's tasks; called after each round that had any."""

    def state_dict(self) -> Mapping[str, Any]:
        """Return what decides the source's future, as JSON values."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` returned."""
