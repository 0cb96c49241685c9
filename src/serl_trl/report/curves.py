"""The charts of a report over the steps: the metrics that a run logged, and where its time went."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from serl_trl.common.plain_yaml import own_table
from serl_trl.report.blocks import Block, Cell, Chart, Paragraph, Table
from serl_trl.report.charts import Line, area_chart, line_chart
from serl_trl.report.figures import labels_of
from serl_trl.report.labels import gold_known
from serl_trl.report.sentences import percent
from serl_trl.runs.reader import Run, number_in

COURSE = ("line", "first", "last", "lowest", "highest", "course")
_SPARKS = "\u2581\u2582\u2583\u2584\u2585\u2586\u2587\u2588"
_MAX_SPANS = 80  # more cannot be told apart in a picture of this size
PARTS = {
    "serl/time/propose_s": "propose",
    "serl/time/rollout_s": "roll out",
    "serl/time/own_s": "filter, vote",
    "step_time": "update",
}


@dataclass(frozen=True)
class Curve:
    """One chart of the metrics: its title, what it means, and the label of each metric in it.

    With `live` a terminal shows it while the run trains, where there is little room.
    """

    title: str
    meaning: str
    lines: dict[str, str]
    unit: str = ""
    percent: bool = False
    live: bool = True

    def write(self, value: float) -> str:
        """Return a value as text."""
        return percent(value) if self.percent else f"{value:.4g}"


CURVES = [Curve(**row) for row in own_table(__file__)]


def curves_section(runs: Sequence[Run]) -> list[Block]:
    """Return the curves of the metrics; two runs share each chart."""
    blocks: list[Block] = []
    for curve in CURVES:
        if lines := _lines(runs, curve):
            blocks.append(_chart(runs, curve, lines))
    return blocks or [Paragraph("No metrics were logged, so there are no curves.", "note")]


def _chart(runs: Sequence[Run], curve: Curve, lines: Sequence[Line]) -> Chart:
    meaning, bounds = curve.meaning, []
    if curve.title == "Agreement":
        bounds, dotted = _bands(runs)
        meaning += dotted
    elif curve.title == "Labels compared with gold":
        meaning += f": {'; '.join(_of_each(runs, gold_known))}."
    rows = tuple(_course(line, curve) for line in lines)
    ends = "; ".join(f"{row[0]} from {row[1]} to {row[2]}" for row in rows)
    svg = line_chart(
        lines,
        description=f"{curve.title}: {ends}.",
        percent=curve.percent,
        unit=curve.unit,
        bounds=bounds,
    )
    table = Table(COURSE, rows)
    return Chart(svg, curve.title, meaning, table)


def _lines(runs: Sequence[Run], curve: Curve) -> list[Line]:
    """Return the lines of a chart; of two runs each has its letter, and B is dashed."""
    found = [
        Line(label, points, colour)
        for colour, (key, label) in enumerate(curve.lines.items())
        if (points := runs[0].series(_matching(runs[0], key)))
    ]
    if len(runs) == 1:
        return found
    letters = [replace(line, label=f"A {line.label}") for line in found]
    letters += [
        replace(line, label=f"B {line.label}", dashed=True) for line in _lines(runs[1:], curve)
    ]
    if len(curve.lines) > 1:
        return letters
    # One metric needs no name beside the letter, and then each run can have a colour of its own.
    return [replace(line, label=line.label[0], colour=int(line.dashed)) for line in letters]


def _matching(run: Run, key: str) -> str:
    """Return the logged metric that `key` names; `*` stands for a number above 1."""
    if not key.endswith("*"):
        return key
    # Runs differ in how many samples they probe with, and so in the names of their figures.
    stem = key[:-1]
    names = {name for row in run.metrics for name in row if name.startswith(stem)}
    numbers = [int(name[len(stem) :]) for name in names if name[len(stem) :].isdecimal()]
    largest = max(numbers, default=0)
    return f"{stem}{largest}" if largest > 1 else key


def _of_each(runs: Sequence[Run], say: Callable[[Run], str]) -> list[str]:
    """Return what `say` says of each run, after its letter where there are two."""
    if len(runs) == 1:
        return [say(runs[0])]
    return [f"{letter}: {say(run)}" for letter, run in zip("AB", runs, strict=True)]


def _bands(runs: Sequence[Run]) -> tuple[list[float], str]:
    """Return the ends of the difficulty bands of all runs, and a sentence that names them."""
    bands = [band_of(run) for run in runs]
    if not any(bands):
        return [], ""
    ends = sorted({end for band in bands for end in band or ()})
    if len(set(bands)) == 1:
        return ends, f" Dotted: the difficulty band, {_band_text(runs[0])}."
    return ends, f" Dotted: the difficulty bands, {'; '.join(_of_each(runs, _band_text))}."


def _band_text(run: Run) -> str:
    band = band_of(run)
    return f"{percent(band[0])} to {percent(band[1])}" if band else "none"


def band_of(run: Run) -> tuple[float, float] | None:
    """Return the difficulty band of a run, or `None` where it had none."""
    low, high = (number_in(run.config, f"difficulty_{end}") for end in ("low", "high"))
    if low is None or high is None or not run.config.get("use_band", True):
        return None
    return low, high


def courses(run: Run, curve: Curve) -> list[tuple[Cell, ...]]:
    """Return a row for each line of a chart that the run logged, under `COURSE`."""
    return [_course(line, curve) for line in _lines([run], curve)]


def _course(line: Line, curve: Curve) -> tuple[Cell, ...]:
    values = [value for _, value in line.points]
    shown = map(curve.write, (values[0], values[-1], min(values), max(values)))
    return (line.label, *shown, sparks(values))


def sparks(values: Sequence[float], width: int = 20) -> str:
    """Draw values as a row of little bars, at most `width`, from the lowest to the highest."""
    step = max(1.0, len(values) / width)
    picked = [values[int(i * step)] for i in range(min(width, len(values)))]
    # A line that never moves has no height to be divided by.
    low, high = min(picked), max(picked)
    span = (high - low) or 1.0
    return "".join(_SPARKS[int((value - low) / span * (len(_SPARKS) - 1))] for value in picked)


def times_section(runs: Sequence[Run]) -> list[Block]:
    """Return one chart per run of the seconds that the parts of a step take."""
    blocks: list[Block] = []
    for label, run in zip(labels_of(runs), runs, strict=True):
        # The rows of an evaluation and of the end of a run hold no times.
        rows = [row for row in run.metrics if PARTS.keys() <= row.keys()]
        if rows:
            blocks.append(_times_chart(f"Time ({label})" if len(runs) > 1 else "Time", rows))
    return blocks


def _times_chart(title: str, rows: Sequence[dict[str, float]]) -> Chart:
    # Rounded up, so that the last span is the short one.
    size = -(-len(rows) // _MAX_SPANS)
    spans = [rows[i : i + size] for i in range(0, len(rows), size)]
    steps = [sum(row["step"] for row in span) / len(span) for span in spans]
    layers = [
        (name, [sum(max(row[key], 0.0) for row in span) / len(span) for span in spans])
        for key, name in PARTS.items()
    ]
    means = {name: sum(row[key] for row in rows) / len(rows) for key, name in PARTS.items()}
    whole = sum(means.values()) or 1.0
    listed = tuple((name, f"{v:.1f} s", percent(v / whole)) for name, v in means.items())
    each = ", ".join(f"{name} {v:.1f}" for name, v in means.items())
    description = f"Mean seconds per step: {each}."
    svg = area_chart(steps, layers, description=f"{title}. {description}", unit="seconds")
    return Chart(svg, title, description, Table(("part", "mean", "share"), listed))
