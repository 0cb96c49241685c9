"""A group: the completions of one prompt with what they are worth, as it waits to be trained on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from serl_trl.answers.voting import Vote
from serl_trl.common.completion import Completion, Messages
from serl_trl.common.verdict import Verdict
from serl_trl.labels.base import Labelled, Rollouts
from serl_trl.propose.sources.base import Task


@dataclass(frozen=True)
class Rolled:
    """What the prompts of a round were completed with, not yet judged.

    `views` has the second prompt of each; empty where no group has any. `ended` has the verdict of
    each row that is not judged any more, because its pilot votes have ended it.
    """

    prompts: Sequence[Messages]
    completions: Sequence[list[Completion]]
    views: Sequence[Messages | None] = ()
    ended: Mapping[int, Verdict] = field(default_factory=dict)


@dataclass(frozen=True)
class Group:
    """The completions of one prompt, judged.

    `step` is the optimizer step whose weights sampled them. `label_right` says whether the majority
    answer is the gold answer; `None`: one of the two is missing.
    """

    id: int
    step: int
    rollouts: Rollouts
    labelled: Labelled
    label_right: bool | None = None

    @property
    def instruction(self) -> str:
        """The instruction that was rolled out."""
        return self.rollouts.task.instruction

    @property
    def completions(self) -> tuple[Completion, ...]:
        """The completions, in the order of the rewards."""
        return self.rollouts.completions

    @property
    def vote(self) -> Vote:
        """The vote on all completions."""
        return self.rollouts.vote

    @property
    def rewards(self) -> list[float | None]:
        """The label rewards; `None`: a completion carries no signal."""
        return list(self.labelled.rewards)

    def scored(self, logprobs: Sequence[list[float]]) -> "Group":
        """Return the group with the sampling log-probs of its completions."""
        return replace(self, rollouts=scored(self.rollouts, logprobs))

    @classmethod
    def from_state(cls, saved: dict[str, Any]) -> "Group":
        """Rebuild a group from `dataclasses.asdict` after a trip through JSON."""
        # JSON knows no tuples and no classes.
        rollouts, labelled = dict(saved["rollouts"]), dict(saved["labelled"])
        vote = dict(rollouts["vote"])
        # Pairs, of which JSON has made lists.
        vote["counts"] = tuple((answer, count) for answer, count in vote["counts"])
        rollouts |= {
            "task": task_from_state(rollouts["task"]),
            "completions": tuple(Completion(**each) for each in rollouts["completions"]),
            "vote": Vote(**vote),
            "right": tuple(rollouts["right"]),
        }
        labelled |= {
            "rewards": tuple(labelled["rewards"]),
            "verdict": Verdict(**labelled["verdict"]),
            # Absent in checkpoints of releases without weights.
            "weights": tuple(labelled.get("weights", ())),
        }
        judged = {"rollouts": Rollouts(**rollouts), "labelled": Labelled(**labelled)}
        values: dict[str, Any] = {**saved, **judged}
        return cls(**values)


def scored(rollouts: Rollouts, logprobs: Sequence[list[float]]) -> Rollouts:
    """Return rollouts with the log-probs of their completions."""
    pairs = zip(rollouts.completions, logprobs, strict=True)
    return replace(rollouts, completions=tuple(each.scored(values) for each, values in pairs))


def with_entropies(rollouts: Rollouts, entropies: Sequence[float]) -> Rollouts:
    """Return rollouts with the mean token entropies of their completions."""
    pairs = zip(rollouts.completions, entropies, strict=True)
    return replace(rollouts, completions=tuple(replace(c, entropy=value) for c, value in pairs))


def task_from_state(saved: dict[str, Any]) -> Task:
    """Rebuild a task from `dataclasses.asdict` after a trip through JSON."""
    values: dict[str, Any] = {**saved, "parents": tuple(saved["parents"])}
    return Task(**values)
