"""Two evaluations of the same problems, side by side: differences, intervals, exact tests."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import comb
from pathlib import Path
from statistics import fmean
from typing import Any

from serl_trl._version import __version__
from serl_trl.common.folder import Folder
from serl_trl.common.intervals import Interval
from serl_trl.measure.benchmarks import BENCHMARKS
from serl_trl.measure.figures import Measurement, bootstrap
from serl_trl.measure.session import Evaluated, differing, read_summary
from serl_trl.measure.transitions import beyond_vote, counted, majority_is_right, transitions

# Where the Hub looks for what a benchmark gave, beside the model's card.
RESULTS_FOLDER = ".eval_results"

# Figures of which less is better.
LOWER_WINS = ("unparsable_rate", "truncated_rate", "mean_length")


@dataclass(frozen=True)
class Discordant:
    """Problems that only one side got right, and McNemar's exact two-sided p-value of them."""

    only_base: int
    only_trained: int
    p_value: float


@dataclass(frozen=True)
class Difference:
    """One figure on both sides; `difference` is trained minus base, paired over problems.

    `wins` counts the problems on which the trained model is better, `losses` those on which it is
    worse; better is lower for the figures of `LOWER_WINS`, and higher for all others.
    """

    figure: str
    base: float
    trained: float
    base_interval: Interval
    trained_interval: Interval
    difference: Interval
    wins: int
    losses: int
    ties: int


@dataclass(frozen=True)
class Comparison:
    """One benchmark on both sides. `other_settings` names what else differs than the model.

    `greedy` and `majority` are `None` where one side lacks them; a majority that ties is not right.
    `transitions` names what happened to each problem, in their order, and `beyond_vote` holds the
    trained model's pass@1 against the base's maj@n; both as `measure/transitions.py` defines them.
    """

    benchmark: str
    num_problems: int
    differences: tuple[Difference, ...]
    greedy: Discordant | None
    majority: Discordant | None
    other_settings: tuple[str, ...]
    num_samples: int
    transitions: tuple[str, ...]
    beyond_vote: Mapping[str, Interval]


def compare(base: Mapping[str, Evaluated], trained: Mapping[str, Evaluated]) -> list[Comparison]:
    """Compare what both sides measured, in the order of `trained`.

    Raises `ValueError` naming everything that forbids it: no common benchmark, other problems,
    another number of samples, an evaluation that is not finished.
    """
    common = [name for name in trained if name in base]
    problems = [] if common else ["the two evaluations share no benchmark; evaluate one in both."]
    for name in common:
        problems += [f"{name}: {problem}" for problem in _misfits(base[name], trained[name])]
    if problems:
        raise ValueError("\n".join(problems))
    return [_compared(base[name], trained[name]) for name in common]


def _misfits(base: Evaluated, trained: Evaluated) -> list[str]:
    """Return why one benchmark cannot be compared."""
    problems = [
        f"the {side} evaluation is not finished; run it again."
        for side, each in (("base", base), ("trained", trained))
        if not each.complete
    ]
    # Other settings may differ, and are named; with these two the figures mean something else.
    for setting in ("problems", "num_samples"):
        there, now = base.settings.get(setting), trained.settings.get(setting)
        if there != now:
            problems.append(f"{setting} differs ({there} / {now}); evaluate both in the same way.")
    # The fingerprint is what the summary says; the items themselves are compared as well.
    asked = [
        [(each.instruction, each.gold) for each in side.measurement.problems]
        for side in (base, trained)
    ]
    if not problems and asked[0] != asked[1]:
        problems.append(
            "the two evaluations do not hold the same problems in the same order; put the one that "
            "was changed aside and run serl eval again."
        )
    return problems


def mcnemar(base: Sequence[bool], trained: Sequence[bool]) -> Discordant:
    """Test whether one side is right more often, by the problems on which they differ.

    Exact: under the null hypothesis such a problem falls to either side like a fair coin.
    """
    pairs = list(zip(base, trained, strict=True))
    only_base = sum(left and not right for left, right in pairs)
    only_trained = sum(right and not left for left, right in pairs)
    total = only_base + only_trained
    # Not the usual approximation: there are often only a handful of such problems.
    tail = sum(comb(total, i) for i in range(min(only_base, only_trained) + 1))
    return Discordant(only_base, only_trained, min(1.0, 2 * tail / 2**total))


def _compared(base: Evaluated, trained: Evaluated) -> Comparison:
    left, right = base.measurement, trained.measurement
    before, after = left.values(), right.values()
    both = [name for name in after if name in before]
    # The model is what is compared, so it does not count as a setting that differs.
    settings = [
        {name: value for name, value in each.settings.items() if name != "model"}
        for each in (base, trained)
    ]
    return Comparison(
        benchmark=trained.name,
        num_problems=len(right.problems),
        differences=tuple(_difference(name, before[name], after[name]) for name in both),
        greedy=mcnemar(_greedy(left), _greedy(right)) if "greedy" in both else None,
        majority=mcnemar(_majority(left), _majority(right)) if right.num_samples > 1 else None,
        other_settings=tuple(differing(*settings)),
        num_samples=right.num_samples,
        transitions=tuple(transitions(left.problems, right.problems)),
        beyond_vote=beyond_vote(left, right),
    )


def _difference(figure: str, before: Sequence[float], after: Sequence[float]) -> Difference:
    gaps = [new - old for old, new in zip(before, after, strict=True)]
    sign = -1 if figure in LOWER_WINS else 1
    return Difference(
        figure=figure,
        base=fmean(before),
        trained=fmean(after),
        base_interval=bootstrap(before),
        trained_interval=bootstrap(after),
        difference=bootstrap(gaps),
        wins=sum(sign * gap > 0 for gap in gaps),
        losses=sum(sign * gap < 0 for gap in gaps),
        ties=sum(gap == 0 for gap in gaps),
    )


def _greedy(measurement: Measurement) -> list[bool]:
    return [bool(graded.greedy_right) for graded in measurement.problems]


def _majority(measurement: Measurement) -> list[bool]:
    return [majority_is_right(graded) for graded in measurement.problems]


def as_record(base: str, trained: str, comparisons: Sequence[Comparison]) -> dict[str, Any]:
    """Return the comparison as JSON values."""
    benchmarks = {}
    for each in comparisons:
        benchmarks[each.benchmark] = {
            **asdict(each),
            "differences": {row.figure: asdict(row) for row in each.differences},
            "transitions": counted(each.transitions),
            "transition_of_each": each.transitions,
        }
    return {"base": base, "trained": trained, "benchmarks": benchmarks}


def write_hub_results(folder: Path) -> list[Path]:
    """Write `.eval_results/*.yaml`, which a model page on the Hub shows, for what `folder` holds.

    Only for benchmarks that the Hub knows by a task id, and that were measured as a whole from
    there. The value is pass@1 in percent. Upload the folder with the model to publish them.
    """
    # Imported here: only this needs them.
    import yaml
    from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml

    written = []
    for name, entry in read_summary(folder).get("benchmarks", {}).items():
        benchmark = BENCHMARKS.get(name)
        # A figure of a part of the problems, or of other ones, must not stand for the benchmark.
        known = benchmark is not None and benchmark.task_id is not None
        mean = entry.get("figures", {}).get("pass@1", {}).get("mean")
        settings = entry.get("settings", {})
        heat = settings.get("temperature")
        # The shape of a summary lets either be missing.
        if not known or None in (mean, heat) or not entry["complete"] or not entry.get("whole"):
            continue
        result = EvalResultEntry(
            dataset_id=benchmark.hub_id,
            task_id=benchmark.task_id,
            value=round(100 * mean, 2),
            dataset_revision=None if benchmark.revision == "main" else benchmark.revision,
            notes=(
                f"zero-shot, pass@1 over {settings['num_samples']} samples at temperature "
                f"{heat:g}; serl-trl {__version__}"
            ),
        )
        text = yaml.safe_dump(eval_result_entries_to_yaml([result]), sort_keys=False)
        written.append(Folder(folder).write(f"{RESULTS_FOLDER}/{name}.yaml", text))
    return written
