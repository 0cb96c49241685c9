"""Several training runs against one base: means over runs, and two kinds of interval.

One run says what one seed did. Two uncertainties differ: which problems were asked, and which seed
trained. The first is clustered by problem, since all runs answer the same ones; the second needs
runs, and three of them know it poorly.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

from serl_trl.common.intervals import Interval, clustered, student
from serl_trl.measure.comparison import Comparison, compare
from serl_trl.measure.session import Evaluated
from serl_trl.measure.transitions import TRANSITIONS, counted


@dataclass(frozen=True)
class Spread:
    """One figure of the base and of each run.

    `difference` is trained less base, the mean over runs and problems. Its interval is clustered by
    problem: it covers the choice of problems, for these runs. `over_runs` is the same mean with
    Student's interval over the runs' means: it covers the seed, for these problems.
    """

    figure: str
    base: float
    trained: tuple[float, ...]
    difference: Interval
    over_runs: Interval


@dataclass(frozen=True)
class Several:
    """One benchmark of a base and of several runs; `runs` compares each of them with the base.

    `beyond_vote` holds pass@1 of the runs against the base's maj@n, as a figure of its own.
    """

    benchmark: str
    num_problems: int
    runs: tuple[Comparison, ...]
    spreads: tuple[Spread, ...]
    beyond_vote: Spread

    @property
    def transitions(self) -> dict[str, tuple[int, ...]]:
        """How many problems of each run made each transition."""
        counts = [counted(run.transitions) for run in self.runs]
        return {name: tuple(each[name] for each in counts) for name in TRANSITIONS}

    @property
    def num_always_lost(self) -> int:
        """How many problems every run lost: what the method loses, not one seed."""
        fates = zip(*(run.transitions for run in self.runs), strict=True)
        return sum(set(each) == {"lost"} for each in fates)


def compare_several(
    base: Mapping[str, Evaluated], runs: Mapping[str, Mapping[str, Evaluated]]
) -> list[Several]:
    """Compare what the base and all of `runs`, by name, measured.

    Raises `ValueError` naming everything that forbids it, as `compare` does, with the run.
    """
    found: list[dict[str, Comparison]] = []
    problems = []
    for name, run in runs.items():
        try:
            found.append({each.benchmark: each for each in compare(base, run)})
        except ValueError as error:
            problems += [f"{name}: {line}" for line in str(error).split("\n")]
    common = [name for name in base if all(name in each for each in found)]
    if not common and not problems:
        problems = ["no benchmark was measured by the base and by all runs."]
    if problems:
        raise ValueError("\n".join(problems))
    return [_several(name, base, list(runs.values()), [c[name] for c in found]) for name in common]


def _several(
    name: str,
    base: Mapping[str, Evaluated],
    runs: Sequence[Mapping[str, Evaluated]],
    compared: Sequence[Comparison],
) -> Several:
    before = base[name].measurement.values()
    after = [run[name].measurement.values() for run in runs]
    figures = [figure for figure in before if all(figure in each for each in after)]
    vote = f"maj@{compared[0].num_samples}" if compared[0].num_samples > 1 else "pass@1"
    return Several(
        name,
        compared[0].num_problems,
        tuple(compared),
        tuple(_spread(each, before[each], [run[each] for run in after]) for each in figures),
        _spread(f"pass@1 - base's {vote}", before[vote], [run["pass@1"] for run in after]),
    )


def _spread(figure: str, before: Sequence[float], after: Sequence[Sequence[float]]) -> Spread:
    # One cluster a problem, with the difference of each run.
    gaps = [
        [value - old for value in values]
        for old, values in zip(before, zip(*after, strict=True), strict=True)
    ]
    means = [fmean(run) for run in after]
    return Spread(
        figure,
        fmean(before),
        tuple(means),
        clustered(gaps),
        student([mean - fmean(before) for mean in means]),
    )


def as_record(base: str, runs: Sequence[str], several: Sequence[Several]) -> dict[str, Any]:
    """Return the comparison as JSON values; lists of numbers are in the order of the runs."""
    benchmarks = {
        each.benchmark: {
            "num_problems": each.num_problems,
            "differences": {spread.figure: asdict(spread) for spread in each.spreads},
            "beyond_vote": asdict(each.beyond_vote),
            "transitions": each.transitions,
            "num_always_lost": each.num_always_lost,
            "transition_of_each": [run.transitions for run in each.runs],
            "other_settings": [run.other_settings for run in each.runs],
        }
        for each in several
    }
    return {"base": base, "runs": list(runs), "benchmarks": benchmarks}
