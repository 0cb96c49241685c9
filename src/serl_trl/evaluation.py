"""Grading against gold answers: pass@1, pass@k, maj@k, each with its interval."""

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

from serl_trl.answers import group_answers


@dataclass(frozen=True)
class Graded:
    """The n sampled answers of one problem, graded.

    `classes` holds the class of each answer (`None`: unparsable or truncated, counted as wrong);
    `gold_class` is the class of the gold answer, which may hold no sample. `greedy_right` is `None`
    where no greedy completion was made. `lengths` are in tokens.
    """

    instruction: str
    gold: str
    answers: tuple[str | None, ...]
    classes: tuple[int | None, ...]
    gold_class: int
    truncated: tuple[bool, ...]
    lengths: tuple[int, ...]
    greedy_right: bool | None = None

    @property
    def num_right(self) -> int:
        """How many of the samples are right."""
        return sum(c == self.gold_class for c in self.classes)


@dataclass(frozen=True)
class Interval:
    """A mean over problems with its 95 % bootstrap interval."""

    mean: float
    low: float
    high: float


def grade(
    instruction: str,
    gold: str,
    answers: Sequence[str | None],
    *,
    truncated: Sequence[bool],
    lengths: Sequence[int],
    kind: str = "math",
    greedy: Sequence[str | None] = (),
) -> Graded:
    """Grade the sampled `answers` of one problem, and the `greedy` one where given.

    Equality is the vote's own: gold and answers are grouped together.
    """
    classes = group_answers([gold, *answers, *greedy], kind=kind)
    gold_class = classes[0]
    if gold_class is None or not gold.strip():
        raise ValueError(f"gold={gold!r} is no answer of kind {kind}; correct the row or the kind.")
    sampled = classes[1 : 1 + len(answers)]
    return Graded(
        instruction=instruction,
        gold=gold,
        answers=tuple(answers),
        classes=tuple(sampled),
        gold_class=gold_class,
        truncated=tuple(truncated),
        lengths=tuple(lengths),
        greedy_right=classes[-1] == gold_class if greedy else None,
    )


def pass_at_k(num_samples: int, num_right: int, k: int) -> float:
    """Return the unbiased chance that k samples drawn without replacement hold a right one.

    Source: Chen et al., arXiv 2107.03374. Needs 1 <= k <= `num_samples`.
    """
    if not 1 <= k <= num_samples:
        raise ValueError(f"k={k} must lie in [1, num_samples={num_samples}].")
    miss = 1.0
    for i in range(k):
        miss *= max(0, num_samples - num_right - i) / (num_samples - i)
    return 1.0 - miss


def majority_right(graded: Graded) -> float:
    """Return whether the majority of all samples is right; a tie for first counts its share."""
    counts = Counter(c for c in graded.classes if c is not None)
    if not counts:
        return 0.0
    most = max(counts.values())
    winners = [c for c, count in counts.items() if count == most]
    return (graded.gold_class in winners) / len(winners)


def bootstrap(values: Sequence[float], *, seed: int = 0, num_resamples: int = 2000) -> Interval:
    """Return the mean of `values` with a 95 % percentile interval over problems.

    The interval of no values is (0, 0); `seed` fixes the resampling.
    """
    if not values:
        return Interval(0.0, 0.0, 0.0)
    rng = random.Random(seed)
    means = sorted(fmean(rng.choices(values, k=len(values))) for _ in range(num_resamples))
    low, high = means[int(0.025 * num_resamples)], means[int(0.975 * num_resamples) - 1]
    return Interval(fmean(values), low, high)


@dataclass(frozen=True)
class Measurement:
    """All graded problems of one measurement with `num_samples` completions each."""

    problems: tuple[Graded, ...]
    num_samples: int

    def values(self) -> dict[str, list[float]]:
        """Return each figure per problem, in the order of `problems`."""
        n = self.num_samples
        figures: dict[str, Callable[[Graded], float]] = {
            "pass@1": lambda g: g.num_right / n,
            f"maj@{n}": majority_right,
            f"pass@{n}": lambda g: pass_at_k(n, g.num_right, n),
            "unparsable_rate": lambda g: sum(c is None for c in g.classes) / n,
            "truncated_rate": lambda g: sum(g.truncated) / n,
            "mean_length": lambda g: fmean(g.lengths),
        }
        if n == 1:
            del figures["maj@1"]
        if self.problems and self.problems[0].greedy_right is not None:
            figures["greedy"] = lambda g: float(bool(g.greedy_right))
        return {name: [figure(g) for g in self.problems] for name, figure in figures.items()}

    def summary(self) -> dict[str, float]:
        """Return the mean of each figure over the problems; rates are fractions in [0, 1]."""
        return {name: fmean(values) for name, values in self.values().items() if values}

    def intervals(self, *, seed: int = 0) -> dict[str, Interval]:
        """Return each figure with its 95 % bootstrap interval over problems."""
        return {name: bootstrap(values, seed=seed) for name, values in self.values().items()}
