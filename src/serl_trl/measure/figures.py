"""Grading against gold answers: pass@1, pass@k, maj@k, each with its interval."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from math import comb
from statistics import fmean

from serl_trl.answers.equality import AnswerKind, extract_answer, group_many, spelled_alike
from serl_trl.answers.golds import read_gold
from serl_trl.answers.verifier import Verifier
from serl_trl.common.intervals import Interval
from serl_trl.labels.groups import Completion

_CELLS = 4_000_000


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


def grade(
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
    gold = _gold(gold, kind)
    classes = group_many([_with_gold(gold, answers, greedy, kind)], kind=kind)[0]
    return _graded(
        instruction, gold, answers, classes, truncated, lengths, has_greedy=bool(greedy), kind=kind
    )


def grade_attempts(
    attempts: Sequence[Attempts],
    *,
    kind: str | AnswerKind = "math",
    verifier: Verifier | None = None,
) -> list[Graded]:
    """Grade many problems with one batch for the verifier; a truncated completion has no answer."""
    sampled = [[_answer(c, kind) for c in each.samples] for each in attempts]
    best = [[_answer(each.greedy, kind)] if each.greedy else [] for each in attempts]
    golds = [_gold(each.gold, kind) for each in attempts]
    groups = [
        _with_gold(gold, answers, greedy, kind)
        for gold, answers, greedy in zip(golds, sampled, best, strict=True)
    ]
    grouped = group_many(groups, kind=kind, verifier=verifier)
    return [
        _graded(
            each.instruction,
            gold,
            answers,
            classes,
            [c.truncated for c in each.samples],
            [len(c.token_ids) for c in each.samples],
            has_greedy=each.greedy is not None,
            kind=kind,
        )
        for each, gold, answers, classes in zip(attempts, golds, sampled, grouped, strict=True)
    ]


def _with_gold(
    gold: str,
    answers: Sequence[str | None],
    greedy: Sequence[str | None],
    kind: str | AnswerKind,
) -> list[str | None]:
    """Gold, answers and greedy answer as one group; a comma means the same in all of them."""
    alike, gold_alike = spelled_alike([*answers, *greedy], gold, kind=kind)
    return [gold_alike, *alike]


def _answer(completion: Completion, kind: str | AnswerKind) -> str | None:
    return None if completion.truncated else extract_answer(completion.text, kind=kind)


def _gold(gold: object, kind: str | AnswerKind) -> str:
    read = read_gold(gold, kind)
    if read is None:
        raise ValueError(f"gold={gold!r} is no answer of kind {kind}; correct the row or the kind.")
    return read


def _graded(
    instruction: str,
    gold: str,
    answers: Sequence[str | None],
    classes: Sequence[int | None],
    truncated: Sequence[bool],
    lengths: Sequence[int],
    *,
    has_greedy: bool,
    kind: str | AnswerKind,
) -> Graded:
    """`classes` are those of the gold answer, the answers and, with `has_greedy`, one more."""
    gold_class = classes[0]
    assert gold_class is not None, "a gold answer that was read has a class"
    return Graded(
        instruction=instruction,
        gold=gold,
        answers=tuple(answers),
        classes=tuple(classes[1 : 1 + len(answers)]),
        gold_class=gold_class,
        truncated=tuple(truncated),
        lengths=tuple(lengths),
        greedy_right=classes[-1] == gold_class if has_greedy else None,
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
    return maj_at_k(graded, len(graded.classes))


def maj_at_k(graded: Graded, k: int) -> float:
    """Return the exact chance that the majority of k samples, drawn without replacement, is right.

    A tie for first place counts its share, and samples without an answer are no class. Needs
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
    if k == total:
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

    rng = np.random.default_rng(seed)
    data = np.asarray(values, dtype=np.float64)
    block = max(1, _CELLS // len(data))
    means = np.concatenate(
        [
            data[rng.integers(len(data), size=(min(block, num_resamples - start), len(data)))].mean(
                axis=1
            )
            for start in range(0, num_resamples, block)
        ]
    )
    means.sort()
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
