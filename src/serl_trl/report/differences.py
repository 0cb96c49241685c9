"""What differs between two runs: their figures, and their options."""

from collections.abc import Iterator, Sequence
from typing import Any

from serl_trl.report.blocks import Block, Cell, Paragraph, Table, written
from serl_trl.report.curves import CURVES
from serl_trl.report.figures import first_and_last, measured_by
from serl_trl.report.funnel import num_trained
from serl_trl.report.measured import is_rate
from serl_trl.report.sentences import percent, points
from serl_trl.runs.reader import Run

_MAX_OPTIONS = 60  # two unrelated configs differ in hundreds
# Where files lie and how the console looks says nothing about a difference.
_UNIMPORTANT = {"output_dir", "disable_tqdm", "run_name", "logging_dir", "show_steps", "hub_token"}


def differences(runs: Sequence[Run]) -> list[Block]:
    """Return the figures of two runs beside one another, and the options that differ."""
    first, second = runs
    figures = (*_measured(first, second), *_logged(first, second), *_trained(first, second))
    blocks: list[Block] = [Table(("figure", "A", "B", "B \u2212 A"), figures)]
    one, two = first.config, second.config
    options: list[tuple[Cell, ...]] = [
        (written(name, max_chars=60), option_cell(one.get(name)), option_cell(two.get(name)))
        for name in sorted((one.keys() | two.keys()) - _UNIMPORTANT)
        if one.get(name) != two.get(name)
    ]
    if options:
        return [*blocks, Table(("option", "A", "B"), tuple(options[:_MAX_OPTIONS]))]
    return [*blocks, Paragraph("All options are the same.", "note")]


def _measured(first: Run, second: Run) -> Iterator[tuple[Cell, ...]]:
    # Only what the runs measured themselves: a comparison is named for one run alone.
    one, two = measured_by(first).figures, measured_by(second).figures
    for name in filter(is_rate, one):
        if name in two:
            old, new = one[name].after[0], two[name].after[0]
            shown = written(f"{name} after training", max_chars=60).text
            yield shown, percent(old), percent(new), points(new - old)


def _logged(first: Run, second: Run) -> Iterator[tuple[Cell, ...]]:
    """Compare the ends of the curves; one whose name depends on the run is left out."""
    for curve in CURVES:
        for key, label in curve.lines.items():
            ends = [first_and_last(run.series(key)) for run in (first, second)]
            if ends[0] and ends[1] and not key.endswith("*"):
                old, new = ends[0][1], ends[1][1]
                change = points(new - old) if curve.percent else f"{new - old:+.3g}"
                write = percent if curve.percent else "{:.4g}".format
                yield f"{curve.title}: {label}, at the end", write(old), write(new), change


def _trained(first: Run, second: Run) -> Iterator[tuple[Cell, ...]]:
    old, new = num_trained(first), num_trained(second)
    if old is not None and new is not None:
        yield "groups trained on", f"{old:,}", f"{new:,}", f"{new - old:+,}"


def option_cell(value: Any) -> Cell:
    """Return the value of an option, short enough for a table."""
    if value is None:
        return "none"
    if isinstance(value, list) and all(isinstance(each, str | int | float) for each in value):
        value = ", ".join(map(str, value))
    # A table would not fit a cell; that it differs is what the row says.
    plain = value if isinstance(value, str | int | float) else "a table"
    return written(plain, max_chars=160)
