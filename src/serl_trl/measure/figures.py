"""Grading against gold answers: pass@1, pass@k, maj@k, each with its interval."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from math import comb
from statistics import fmean

from serl_trl.answers.equality import AnswerKind, answer_of, group_many, spelled_alike
from serl_trl.answers.golds import read_gold
from serl_trl.answers.verifier import Verifier
from serl_trl.common.completion import Completion
from serl_trl.common.intervals import Interval

_CELLS = 4_000_000  # numbers that one block of resamples holds: 32 MB


@dataclass(frozen=True)
class Attempts:
    """The completions of one problem, not yet graded. `greedy` is `None` where none was made.

    `gold` is the gold answer as the data has it; see `read_gold`.
    """

    instruction: str
    gold: object
    samples: tuple[Completion, ...]
    greedy: Completion | None = None


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
class _Answered:
    """One problem with the answers that were found; `greedy` holds one or none."""

    instruction: str
    gold: object
    answers: Sequence[str | None]
    greedy: Sequence[str | None]
    truncated: Sequence[bool]
    lengths: Sequence[int]


def grade(  # noqa: PLR0913 - one column each of an attempt
    instruction: str,
    gold: str,
    answers: Sequence[str | None],
    *,
    truncated: Sequence[bool],
    lengths: Sequence[int],
    kind: str | AnswerKind = "math",
    greedy: Sequence[str | None] = (),
) -> Graded:
    """Grade the sampled `answers` of one problem, and the `greedy` one where given.

    Equality is the vote's own: gold and answers are grouped together.
    """
    return _grade([_Answered(instruction, gold, answers, greedy, truncated, lengths)], kind)[0]


def grade_attempts(
    attempts: Sequence[Attempts],
    *,
    kind: str | AnswerKind = "math",
    verifier: Verifier | None = None,
) -> list[Graded]:
    """Grade many problems with one batch for the verifier; a truncated completion has no answer."""

    def answers_of(completions: Iterable[Completion]) -> list[str | None]:
        return [answer_of(each, kind=kind) for each in completions]

    problems = [
        _Answered(
            each.instruction,
            each.gold,
            answers_of(each.samples),
            answers_of([each.greedy] if each.greedy else []),
            [c.truncated for c in each.samples],
            [len(c.token_ids) for c in each.samples],
        )
        for each in attempts
    ]
    return _grade(problems, kind, verifier)


def _grade(
    problems: Sequence[_Answered], kind: str | AnswerKind, verifier: Verifier | None = None
) -> list[Graded]:
    golds = [_gold(each.gold, kind) for each in problems]
    groups = []
    for gold, each in zip(golds, problems, strict=True):
        # Together, so that a comma means the same in the gold answer as in the others.
        alike, gold_alike = spelled_alike([*each.answers, *each.greedy], gold, kind=kind)
        groups.append([gold_alike, *alike])
    grouped = group_many(groups, kind=kind, verifier=verifier)
    graded = []
    for gold, each, (gold_class, *classes) in zip(golds, problems, grouped, strict=True):
        assert gold_class is not None, "a gold answer that was read has a class"
        sampled = classes[: len(each.answers)]
        graded.append(
            Graded(
                instruction=each.instruction,
                gold=gold,
                answers=tuple(each.answers),
                classes=tuple(sampled),
                gold_class=gold_class,
                truncated=tuple(each.truncated),
                lengths=tuple(each.lengths),
                greedy_right=classes[-1] == gold_class if each.greedy else None,
            )
        )
    return graded


def _gold(gold: object, kind: str | AnswerKind) -> str:
    read = read_gold(gold, kind)
    if read is None:
        raise ValueError(
            f"gold={gold!r} is not an answer of kind {kind}; correct the row or the kind."
        )
    return read


def pass_at_k(num_samples: int, num_right: int, k: int) -> float:
    """Return the unbiased chance that k samples drawn without replacement hold a right one.

    Source: Chen et al., arXiv 2107.03374. Needs 1 <= k <= `num_samples`.
    """
    if not 1 <= k <= num_samples:
        raise ValueError(f"k={k} must lie in [1, num_samples={num_samples}].")
    # As a product: the binomial coefficients of many samples are larger than any float.
    miss = 1.0
    for i in range(k):
        miss *= max(0, num_samples - num_right - i) / (num_samples - i)
    return 1.0 - miss


def majority_right(graded: Graded) -> float:
    """Return whether the majority of all samples is right; a tie for first counts its share."""
    return maj_at_k(graded, len(graded.classes))


def maj_at_k(graded: Graded, k: int) -> float:
    """Return the exact chance that the majority of k samples, drawn without replacement, is right.

    A tie for first place counts its share, and samples without an answer form no class. Needs
    1 <= k <= the number of samples.
    """
    if not 1 <= k <= len(graded.classes):
        raise ValueError(f"k={k} must lie in [1, num_samples={len(graded.classes)}].")
    counts = Counter(c for c in graded.classes if c is not None)
    right = counts.pop(graded.gold_class, 0)
    silent = len(graded.classes) - right - sum(counts.values())
    return _maj_at_k(right, tuple(sorted(counts.values())), silent, k)


@lru_cache(maxsize=100_000)
def _maj_at_k(right: int, others: tuple[int, ...], silent: int, k: int) -> float:
    """Count the k-subsets by how many right samples they hold, and by how many classes tie."""
    total = right + sum(others) + silent
    # Without this, all of a thousand samples would be counted subset by subset.
    if k == total:
        # One subset is left: all samples, whose largest class is known.
        best = max((right, *others))
        return 1 / (1 + others.count(right)) if best and right == best else 0.0
    # won[ties]: subsets that the right class wins together with so many others.
    won: Counter[int] = Counter()
    for top in range(1, min(right, k) + 1):
        # ways[ties][chosen]: of the classes so far, none above `top`, `ties` of them at it.
        ways = [[0] * (k - top + 1)]
        ways[0][0] = 1
        for size in others:
            ways = _with_class(ways, size, top)
        for ties, row in enumerate(ways):
            subsets = sum(n * comb(silent, k - top - chosen) for chosen, n in enumerate(row))
            won[ties] += comb(right, top) * subsets
    # Whole numbers to here, and far beyond what a float holds.
    shares = sum((Fraction(number, 1 + ties) for ties, number in won.items()), Fraction(0))
    return float(shares / comb(total, k))


def _with_class(ways: list[list[int]], size: int, top: int) -> list[list[int]]:
    width = len(ways[0])
    wider = [[0] * width for _ in range(len(ways) + (size >= top))]
    for ties, row in enumerate(ways):
        for chosen, number in enumerate(row):
            if number:
                for taken in range(min(size, top, width - 1 - chosen) + 1):
                    wider[ties + (taken == top)][chosen + taken] += number * comb(size, taken)
    return wider


def bootstrap(values: Sequence[float], *, seed: int = 0, num_resamples: int = 2000) -> Interval:
    """Return the mean of `values` with a 95 % percentile interval over problems.

    Fewer than two values say nothing of how they vary: they have no interval, and the mean of none
    is 0. Values that are all alike, such as 0 or 1 everywhere, have one without width, which is too
    sure. `seed` fixes the resampling. Of differences between two measurements of the same problems
    it is the paired interval.
    """
    if len(values) < 2:
        return Interval(float(sum(values)), None, None)
    # Imported here: everything else in this file needs only the standard library.
    import numpy as np

    # A seed of its own, so that the same results always have the same interval.
    rng = np.random.default_rng(seed)
    data = np.asarray(values, dtype=np.float64)
    block = max(1, _CELLS // len(data))
    sizes = [min(block, num_resamples - start) for start in range(0, num_resamples, block)]
    drawn = [data[rng.integers(len(data), size=(size, len(data)))].mean(axis=1) for size in sizes]
    means = np.sort(np.concatenate(drawn))
    # As many resamples lie below the interval as above it.
    low, high = means[int(0.025 * num_resamples)], means[int(0.975 * num_resamples) - 1]
    return Interval(fmean(values), float(low), float(high))


@dataclass(frozen=True)
class Measurement:
    """All graded problems of one measurement with `num_samples` completions each.

    pass@k and maj@k are given for `num_samples` and for each of `ks`, which must not exceed it.
    """

    problems: tuple[Graded, ...]
    num_samples: int
    ks: tuple[int, ...] = ()

    def values(self) -> dict[str, list[float]]:
        """Return each figure per problem, in the order of `problems`."""
        n = self.num_samples
        figures: dict[str, Callable[[Graded], float]] = {"pass@1": lambda g: g.num_right / n}
        # `k=k`: a loop's variable is read when the function is called, which is after the loop.
        for k in sorted({*self.ks, n} - {1}):
            figures[f"maj@{k}"] = lambda g, k=k: maj_at_k(g, k)
            figures[f"pass@{k}"] = lambda g, k=k: pass_at_k(n, g.num_right, k)
        figures["unparsable_rate"] = lambda g: sum(c is None for c in g.classes) / n
        figures["truncated_rate"] = lambda g: sum(g.truncated) / n
        figures["mean_length"] = lambda g: fmean(g.lengths)
        if self.problems and self.problems[0].greedy_right is not None:
            figures["greedy"] = lambda g: float(bool(g.greedy_right))
        return {name: [figure(g) for g in self.problems] for name, figure in figures.items()}

    def summary(self) -> dict[str, float]:
        """Return the mean of each figure over the problems; rates are fractions in [0, 1]."""
        return {name: fmean(values) for name, values in self.values().items() if values}

    def intervals(self) -> dict[str, Interval]:
        """Return each figure with its 95 % bootstrap interval over problems."""
        return {name: bootstrap(values) for name, values in self.values().items()}
