"""What a group is worth: the seam behind which every way to judge stands."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

from serl_trl.answers.base import AnswerKind
from serl_trl.answers.verifier import Verifier
from serl_trl.answers.voting import Vote
from serl_trl.common.completion import Complete, Completion, Messages
from serl_trl.common.verdict import Verdict
from serl_trl.propose.sources.base import Task

SOLVER = "solver"
"""The role of a prompt that asks for the answer to an instruction."""

NEEDS = frozenset({"gold", "log_probs", "entropy", "second_view", "teacher", "judge"})
"""What a labeller may ask for beyond texts and votes."""

PROVIDED = frozenset({"gold", "log_probs", "second_view"})
"""What this version computes where a labeller asks for it: gold answers, the log-probs of the
completions under the present weights, and completions of further prompts by `Tools.complete`."""


@dataclass(frozen=True)
class Rollouts:
    """The completions of one prompt, not yet judged.

    `messages` is the very prompt that was completed, and `role` what it asks for: advantages are
    normalised over the completions of one role. `vote` is the vote on all completions; `right`
    says for each whether it has the gold answer, which is false throughout where `task.gold` is
    `None`. That is the gold answer of the data, or else of the run's oracle.
    """

    task: Task
    messages: Messages
    completions: tuple[Completion, ...]
    vote: Vote
    right: tuple[bool, ...]
    role: str = SOLVER


@dataclass(frozen=True)
class Labelled:
    """What a group is worth.

    `rewards` are in the order of the completions; `None` says that a completion carries no signal,
    and where no other reward function speaks it is left out of the loss. `verdict` keeps the group
    or says why not. `agreement` is the share of the winning class in all completions, in [0, 1].
    `label` is the answer that was rewarded, where there is one. `metrics` are averaged over the
    groups of a refill and logged under `serl/label/`.
    """

    rewards: tuple[float | None, ...]
    verdict: Verdict
    agreement: float
    label: str | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Tools:
    """What a labeller may use beside the rollouts.

    `kind` finds and compares answers, with `verifier` for pairs that need one. `complete` asks the
    policy. `decide` does work in one process and returns its result in all: for whatever a clock, a
    deadline or a service may sway. `rng` is the run's own, alike in all processes; `step` is the
    optimizer step.
    """

    kind: AnswerKind
    verifier: Verifier
    complete: Complete
    decide: Callable[[Callable[[], Any]], Any]
    rng: random.Random
    step: int


class Labeller(Protocol):
    """How groups are judged; subclass it for the parts that a labeller leaves as they are.

    Every process of a run calls `label` with the same arguments, and the first one's result holds
    in all, so a labeller should decide by these and by `tools.rng`.
    """

    needs: frozenset[str] = frozenset()
    """What must be computed for it, out of `NEEDS`; nothing else is."""

    rewards: ClassVar[bool] = True
    """Whether its rewards train. False leaves the reward to the other reward functions."""

    meaning: ClassVar[str] = "The config does not say what the label is."
    """What the label is, in a sentence of the report."""

    rewarded: ClassVar[str] = "how it was rewarded is not recorded"
    """How the model was rewarded, in a clause of the card."""

    truth: ClassVar[str] = ""
    """What is known of the labels' truth without counting, for the report; empty: nothing."""

    def label(self, groups: Sequence[Rollouts], tools: Tools) -> list[Labelled]:
        """Judge each group, in order."""
        ...

    def state_dict(self) -> Mapping[str, Any]:
        """Return what decides the labeller's future, as JSON values."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` returned."""
