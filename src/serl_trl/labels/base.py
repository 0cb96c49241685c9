"""What a group is worth: the seam behind which every way to judge stands."""

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

from serl_trl.answers.base import AnswerKind
from serl_trl.answers.verifier import Verifier
from serl_trl.answers.voting import Vote
from serl_trl.common.completion import REFERENCE, Complete, Completion, Messages, Sampling
from serl_trl.common.problem import Problem
from serl_trl.common.verdict import Verdict
from serl_trl.propose.sources.base import Task

SOLVER = "solver"
"""The role of a prompt that asks for the answer to an instruction."""

NEEDS = frozenset(
    {"gold", "log_probs", "entropy", "second_view", "restatement", "teacher", "judge"}
)
"""What a labeller may ask for beyond texts and votes."""

PROVIDED = NEEDS - {"judge"}
"""What this version computes where a labeller asks for it: gold answers, the log-probs and the mean
token entropies of the completions under the present weights, completions of further prompts by
`Tools.complete`, a restatement of each instruction, which half of its group then answers, and a
`Teacher` whom `Tools.complete` asks."""

POLICY, TEACHER = "policy", "teacher"
"""Whom `Tools.complete` asks: the trained model as it is, or the labeller's teacher."""

AVERAGE = "ema"
"""The teacher that is an average of the weights so far; `REFERENCE` is the first ones."""


@dataclass(frozen=True)
class Teacher:
    """Who answers where a labeller asks its teacher.

    `model` is `AVERAGE`, `REFERENCE`, or the folder or Hub id of another model. After each step the
    average keeps a share of itself, `keep_start` in the first and `keep_end` in the last one.
    """

    model: str = AVERAGE
    keep_start: float = 0.99
    keep_end: float = 0.9999

    def __post_init__(self) -> None:
        if not isinstance(self.model, str) or not self.model:
            rule = f'gives teacher={self.model!r}, which must be "{AVERAGE}", "{REFERENCE}" or a '
            raise ValueError(str(Problem("label_reward", rule=f"{rule}model")))

    @property
    def named(self) -> bool:
        """Whether it is a model of its own, with its own tokenizer."""
        return self.model not in (AVERAGE, REFERENCE)

    def keep(self, progress: float) -> float:
        """Return the share of itself that the average keeps, along a cosine.

        `progress` is the share of the run's steps that were made, in [0, 1].
        """
        fall = (1 + math.cos(math.pi * progress)) / 2
        return self.keep_end + (self.keep_start - self.keep_end) * fall


@dataclass(frozen=True)
class Restating:
    """How instructions are restated: in up to `tries`, of which the first that fits counts.

    `keep_names` false lets a restatement name others, which very small models do.
    """

    tries: int = 1
    keep_names: bool = True


def first_view(num: int) -> int:
    """Return how many of `num` completions answer the first of two prompts: half, rounded up."""
    return num - num // 2


@dataclass(frozen=True)
class Rollouts:
    """The completions of one prompt, not yet judged.

    `messages` is the exact prompt that was completed. `role` is what it asks for; advantages are
    normalised over the completions of one role. `vote` is the vote on all completions. `right`
    says of each completion whether it has the gold answer `task.gold`, which comes from the data
    or else from the run's oracle; all are false when it is `None`.

    `view` is the prompt of the last completions where the group has a second view, of half of them
    rounded down: it asks the same in other words. `prompts` has that of each completion.
    """

    task: Task
    messages: Messages
    completions: tuple[Completion, ...]
    vote: Vote
    right: tuple[bool, ...]
    # One role today; sources of other prompts bring their own.
    role: str = SOLVER
    view: Messages | None = None

    @property
    def cut(self) -> int:
        """How many completions answer `messages`; the others answer `view`."""
        return len(self.completions) if self.view is None else first_view(len(self.completions))

    @property
    def prompts(self) -> list[Messages]:
        """The prompt of each completion."""
        rest = len(self.completions) - self.cut
        return [self.messages] * self.cut + ([self.view] * rest if self.view else [])


@dataclass(frozen=True)
class Labelled:
    """What a group is worth.

    `rewards` are in the order of the completions. A completion with `None` has no label reward; if
    no other function rewards it either, the loss leaves it out. `verdict` keeps the group or gives
    the reason to refuse it. `agreement` is the share of the winning class in all completions, in
    [0, 1]. `label` is the rewarded answer, or `None`. `metrics` are averaged over the groups of a
    refill and logged under `serl/label/`. `weights` multiply the advantages of the completions,
    in their order; empty leaves all as they are.
    """

    rewards: tuple[float | None, ...]
    verdict: Verdict
    agreement: float
    label: str | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    weights: tuple[float, ...] = ()


class Ask(Complete, Protocol):
    """Completes each conversation once, by the policy or by the teacher (`model`)."""

    def __call__(
        self,
        prompts: Sequence[Messages],
        sampling: Sampling | None = None,
        *,
        model: str = POLICY,
    ) -> list[Completion]:
        """Return one completion per prompt; every process must call it."""
        ...


@dataclass(frozen=True)
class Tools:
    """What a labeller may use beside the rollouts.

    `kind` finds and compares answers, with `verifier` for pairs that need it. `complete` asks the
    policy, or with `model=TEACHER` the teacher of a labeller that needs one. `decide` does work in
    one process and returns the result in all: use it for whatever depends on a clock, a deadline
    or a service. `rng` is the run's own and the same in all processes. `step` is the optimizer
    step.
    """

    kind: AnswerKind
    verifier: Verifier
    complete: Ask
    decide: Callable[[Callable[[], Any]], Any]
    rng: random.Random
    step: int


def check_range(low: float, high: float, **options: float) -> None:
    """Raise `ValueError` naming the option of a labeller that lies outside [low, high]."""
    for name, value in options.items():
        # Written so that NaN is outside too.
        if not low <= value <= high:
            rule = f"gives {name}={value}, which must lie in [{low:g}, {high:g}]"
            raise ValueError(str(Problem("label_reward", rule=rule)))


class Labeller(Protocol):
    """Judges groups of completions; subclass it and write `label`.

    Every process of a run calls `label` with the same arguments, and the first process's result
    holds in all. So a labeller should decide only by these arguments and by `tools.rng`.
    """

    needs: frozenset[str] = frozenset()
    """Which of `NEEDS` must be computed for it; the others are not computed."""

    restating: Restating = Restating()
    """How instructions are restated for it, where it needs "restatement"."""

    teacher: Teacher = Teacher()
    """Whom it asks, where it needs "teacher"."""

    rewards: ClassVar[bool] = True
    """Whether its rewards train the model. False leaves that to the other reward functions."""

    meaning: ClassVar[str] = "The config does not say what the label is."
    """What the label is, in a sentence of the report."""

    rewarded: ClassVar[str] = "how it was rewarded is not recorded"
    """How the model was rewarded, in a clause of the card."""

    truth: ClassVar[str] = ""
    """What is known of the labels' truth without counting, for the report; "" if nothing is."""

    def label(self, groups: Sequence[Rollouts], tools: Tools) -> list[Labelled]:
        """Judge each group, in order."""
        ...

    def extra_rollouts(self, group_size: int) -> int:
        """Return how many completions it asks for beside a group, at most; for plans alone."""
        return 0

    def state_dict(self) -> Mapping[str, Any]:
        """Return what decides the labeller's future, as JSON values."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` returned."""


@dataclass
class Wrapper(Labeller):
    """A labeller that has another one judge first, needs what that needs, and keeps its state."""

    labeller: Labeller

    def __post_init__(self) -> None:
        self.needs = self.labeller.needs

    def state_dict(self) -> Mapping[str, Any]:
        """Return the labeller's state: the wrapper has none of its own, unless it adds to this."""
        return self.labeller.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Hand the state to the labeller."""
        self.labeller.load_state_dict(state)


def teacher_in(labeller: Labeller) -> Teacher | None:
    """Return whom a labeller asks beside the policy; `None` where it needs no teacher."""
    return labeller.teacher if TEACHER in labeller.needs else None


def wrapped(labeller: Labeller) -> list[Labeller]:
    """Return a labeller and those that it wraps, such as the one inside a band, outermost first."""
    inner = getattr(labeller, "labeller", None)
    return [labeller, *(wrapped(inner) if inner else ())]
