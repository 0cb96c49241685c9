"""The figures that a report speaks of: how they are written, and what of them a run measured."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from serl_trl.common.records import fits
from serl_trl.common.text import count_of
from serl_trl.measure.transitions import TRANSITIONS
from serl_trl.report.blocks import written
from serl_trl.runs.reader import Run, interval_in, number_in

Bounded = tuple[float, float, float]
"""A mean, and the low and the high end of its 95 % interval."""
Point = tuple[float, float]
"""A step and a value."""

_PARTS = ("before", "after", "change")


@dataclass(frozen=True)
class Change:
    """One figure before and after training, and how it changed."""

    before: Bounded
    after: Bounded
    change: Bounded


@dataclass(frozen=True)
class Measured:
    """One set of problems, measured before and after training, with its figures by name.

    `transitions` counts the problems by what happened to them, and is empty where that was not
    noted; `beyond_vote` holds the base's maj@n against pass@1 after training.
    """

    problems: str
    num_problems: float | None
    num_samples: float | None
    figures: dict[str, Change]
    transitions: dict[str, int]
    beyond_vote: Change | None

    @property
    def fallen(self) -> dict[str, Change]:
        """The measures of right answers that fell by more than chance."""
        return {
            name: each
            for name, each in self.figures.items()
            if name.startswith(("maj@", "pass@", "greedy")) and each.change[2] < 0
        }


def labels_of(runs: Sequence[Run]) -> list[str]:
    """Return the name of the run or, of two, each name after its letter."""
    names = [written(run.name, max_chars=60).text for run in runs]
    if len(runs) == 1:
        return names
    return [f"{letter}: {name}" for letter, name in zip("AB", names, strict=True)]


def first_and_last(series: Sequence[Point]) -> tuple[float, float] | None:
    """Return the means of the first and the last fifth of a series; `None` with fewer than two."""
    # Single steps are noise: a fifth of a run is long enough to see what it began and ended with.
    values = [value for _, value in series]
    if len(values) < 2:
        return None
    # A fifth, and of a short run at least one.
    part = max(1, len(values) // 5)
    return sum(values[:part]) / part, sum(values[-part:]) / part


def measured_of(run: Run) -> list[Measured]:
    """Return what was measured before and after: by `serl eval --compare`, else by the run."""
    benchmarks = run.comparison.get("benchmarks")
    if isinstance(benchmarks, dict):
        found = [_of_benchmark(name, entry) for name, entry in benchmarks.items()]
    else:
        found = [measured_by(run)]
    return [each for each in found if each.figures]


def measured_by(run: Run) -> Measured:
    """Return what the run measured itself."""
    problems = "held-out problems"
    if n := run.ledger.num_seed_overlaps:
        problems += f" (but {count_of(n, 'seed')} overlap an evaluation set)"
    sizes = [number_in(run.evaluation, key) for key in ("num_problems", "num_samples")]
    figures = _figures_in(run.evaluation.get("figures"), _PARTS)
    return Measured(problems, *sizes, figures, *_by_problem(run.evaluation))


def _of_benchmark(name: str, entry: Mapping[str, Any]) -> Measured:
    keys = ("base_interval", "trained_interval", "difference")
    problems = written(name, max_chars=40).text
    figures = _figures_in(entry.get("differences"), keys)
    sizes = [number_in(entry, key) for key in ("num_problems", "num_samples")]
    return Measured(problems, *sizes, figures, *_by_problem(entry))


def _by_problem(record: Mapping[str, Any]) -> tuple[dict[str, int], Change | None]:
    """Return the transitions of a record, and its pass@1 beside the base's vote."""
    found: Any = record.get("transitions")
    # A record of an earlier version, or a stranger's, may hold neither.
    counts: dict[str, int] = {}
    if fits(found, dict.fromkeys(TRANSITIONS, int)):
        counts = {name: max(found[name], 0) for name in TRANSITIONS}
    vote = _figures_in({"": record.get("beyond_vote")}, _PARTS)
    return counts, vote.get("")


def _figures_in(figures: Any, keys: tuple[str, str, str]) -> dict[str, Change]:
    """Return the figures that have all three parts, which stand below `keys`."""
    found = {}
    # A run whose evaluation is damaged or foreign still gets a report of all the rest.
    for name, parts in figures.items() if isinstance(figures, dict) else ():
        before, after, change = (_bounded(parts, key) for key in keys)
        if before and after and change:
            found[str(name)] = Change(before, after, change)
    return found


def _bounded(parts: Any, key: str) -> Bounded | None:
    found = interval_in(parts, key)
    if found is None or found.low is None or found.high is None:
        return None
    return found.mean, found.low, found.high


def probe_ends(run: Run) -> dict[str, tuple[Point, Point]]:
    """Return the first and the last (step, value) of the probe's measures of right answers."""
    measures = ("serl/probe/maj@", "serl/probe/pass@")
    keys = {key for row in run.metrics for key in row if key.startswith(measures)}
    series = {key.removeprefix("serl/probe/"): run.series(key) for key in keys}
    # pass@1 first: every other figure is read beside it.
    names = sorted(series, key=lambda name: (name != "pass@1", name))
    return {name: (series[name][0], series[name][-1]) for name in names if len(series[name]) > 1}


def by_chance(old: float, new: float, num_problems: float) -> float:
    """Return how far two means over so many problems differ by chance, cautiously.

    A value in [0, 1] with mean p varies at most as a coin does. The two figures are of the same
    problems, so that the interval of their difference is wider than the true one.
    """
    return 1.96 * math.sqrt((old * (1 - old) + new * (1 - new)) / num_problems)


def commonest_answer(run: Run) -> tuple[str, float, int] | None:
    """Return the commonest majority answer of the latest groups, its share, and their number."""
    answers = [answer for _, answer in run.ledger.answers]
    if not answers:
        return None
    answer, votes = Counter(answers).most_common(1)[0]
    return answer, votes / len(answers), len(answers)
