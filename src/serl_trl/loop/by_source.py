"""The groups of a refill by the source of their tasks, for runs of several sources."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean

from serl_trl.answers.voting import Vote
from serl_trl.labels.base import Labelled
from serl_trl.loop.groups import Group


@dataclass
class OfSource:
    """What became of the groups of one source in a refill."""

    majority_ratios: list[float] = field(default_factory=list)
    kept: list[bool] = field(default_factory=list)
    label_hits: list[bool] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)

    def note(self, labelled: Labelled, vote: Vote, label_right: bool | None) -> None:
        """Count a group with its vote, and whether its label is right where that is known."""
        self.majority_ratios.append(vote.majority_ratio)
        self.kept.append(labelled.verdict.keep)
        self.label_hits += [] if label_right is None else [label_right]
        self.rewards += [reward for reward in labelled.rewards if reward is not None]

    def metrics(self) -> dict[str, float]:
        """Return the counts and the means; a mean over nothing is left out."""
        means = {
            "majority_ratio": self.majority_ratios,
            "kept_ratio": self.kept,
            "label_accuracy": self.label_hits,
            "reward": self.rewards,
        }
        found = {name: float(fmean(values)) for name, values in means.items() if values}
        return {"num_groups": float(len(self.kept)), **found}


def source_metrics(
    epochs: Mapping[str, float | None], found: Mapping[str, OfSource], kept: Sequence[Group]
) -> dict[str, float]:
    """Return the metrics of each source; none where there is only one.

    `epochs` has every source by name and how often it handed out its rows (`None`: it has none),
    `found` the groups rolled out, `kept` the groups of the batch that is trained on.
    """
    if len(epochs) < 2:
        return {}
    trained = Counter(group.rollouts.task.source for group in kept)
    metrics: dict[str, float] = {}
    for name, rounds in epochs.items():
        each = found.get(name, OfSource()).metrics()
        each |= {"trained_ratio": trained[name] / len(kept)} if kept else {}
        each |= {} if rounds is None else {"epochs": rounds}
        metrics |= {f"source/{name}/{key}": value for key, value in each.items()}
    return metrics
