"""What self-play is given: its options, the policy that plays every part, and the ledger."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from serl_trl.common.completion import Completion, Messages, Sampling
from serl_trl.labels.base import Rollouts
from serl_trl.propose.prompts import PromptStyle

T = TypeVar("T")


@dataclass(frozen=True)
class Options:
    """The options of a refill, by the names and meanings they have in `SeRLConfig`."""

    use_band: bool
    max_staleness: int
    max_refill_rounds: int
    max_refill_rollouts: int
    max_refill_s: float
    max_rollouts: int
    num_generations: int
    prompts_per_batch: int
    style: PromptStyle


class Policy(Protocol):
    """The model that plays every part, over all processes and whatever backend generates."""

    def propose(
        self, requests: Sequence[Messages], sampling: Sampling | None = None
    ) -> list[Completion]:
        """Answer each request once; `None` takes the proposer's sampling values."""
        ...

    def roll_out(self, prompts: Sequence[Messages]) -> list[list[Completion]]:
        """Complete each prompt `num_generations` times, with the trainer's sampling values."""
        ...

    def complete(
        self, prompts: Sequence[Messages], sampling: Sampling | None = None
    ) -> list[Completion]:
        """Complete each prompt once; `None` takes the trainer's sampling values."""
        ...

    def ask_teacher(
        self, prompts: Sequence[Messages], sampling: Sampling | None = None
    ) -> list[Completion]:
        """Complete each prompt once, as `complete` does, with the teacher of the labeller."""
        ...

    def log_probs(self, groups: Sequence[Rollouts]) -> list[list[list[float]]]:
        """Score the tokens of every completion of `groups` under the present weights."""
        ...

    def entropies(self, groups: Sequence[Rollouts]) -> list[list[float]]:
        """Return the mean token entropy of every completion under the present weights, in nats."""
        ...

    def decide(self, work: Callable[[], T]) -> T:
        """Do `work` in one process and return its result in all: what the clock may sway."""
        ...


class Ledger(Protocol):
    """Where a run writes down what it did; see `JsonLines`."""

    def write(self, record: dict[str, Any]) -> None:
        """Append one record."""
        ...


Watch = Callable[[str, int, int], None]
"""Told what is being waited for, the groups kept and the groups needed."""
