"""The section of a report on what was measured before and after training, with intervals."""

from collections.abc import Sequence
from pathlib import PurePath

from serl_trl.common.intervals import wilson
from serl_trl.report.blocks import Block, Cell, Chart, Paragraph, Table, quoted, written
from serl_trl.report.charts import Mark, interval_chart
from serl_trl.report.figures import Bounded, Measured, measured_of, probe_ends
from serl_trl.report.improvement import improvement
from serl_trl.report.sentences import percent, points, say
from serl_trl.report.words import TRANSITIONS
from serl_trl.runs.facts import is_machine_path
from serl_trl.runs.reader import Run, number_in

# The colours of a figure before and after: grey, and the first of the series.
_BEFORE, _AFTER = 5, 0


def before_and_after(run: Run) -> list[Block]:
    """Return the measured figures with their intervals, else those of the probe."""
    found = improvement(run)
    blocks: list[Block] = [Paragraph(found.answer, found.tone), Paragraph(found.certainty)]
    sides = [run.comparison.get(side) for side in ("base", "trained")]
    if all(sides):
        # The page may be mailed: of a folder only its name is told.
        names = [PurePath(str(s)).name if is_machine_path(str(s)) else str(s) for s in sides]
        base, trained = map(quoted, names)
        text = f"Measured by serl eval --compare: {base} before, {trained} after training."
        blocks.append(Paragraph(text, "note"))
    measured = measured_of(run)
    for each in measured:
        blocks += _measured_blocks(each)
    return blocks if measured else blocks + _probe_blocks(run)


def is_rate(figure: str) -> bool:
    """Return whether a figure is a fraction; the others are lengths."""
    return "length" not in figure


def _measured_blocks(measured: Measured) -> list[Block]:
    rows: list[tuple[Cell, ...]] = []
    marks = []
    for name, each in measured.figures.items():
        write, write_change = (_rate, _rate_change) if is_rate(name) else (_value, _value)
        ends = (write(each.before), write(each.after), write_change(each.change))
        rows.append((written(name, max_chars=24), *ends))
        # The picture shows what is right or wrong; rates of failures would stand the other way.
        if is_rate(name) and not name.endswith("_rate"):
            marks.append(_mark(f"{name} before", each.before, _BEFORE))
            marks.append(_mark(f"{name} after", each.after, _AFTER))
    table = Table(("figure", "before", "after", "change"), tuple(rows))
    caption = "The dot is the figure, the bar its 95 % interval over problems."
    if any(name.endswith("_rate") for name in measured.figures):
        caption += (
            " In the table, unparsable_rate: completions without a final answer; truncated_rate: "
            "cut off; mean_length: tokens."
        )
    blocks = _with_intervals(quoted(measured.problems), caption, table, marks)
    return blocks + _problem_blocks(measured)


def _problem_blocks(measured: Measured) -> list[Block]:
    """Return what happened to single problems, and what a vote without training would give."""
    blocks: list[Block] = []
    if measured.beyond_vote:
        samples = measured.num_samples or 0
        blocks.append(Paragraph(say("beyond_vote", vote=measured.beyond_vote, samples=samples)))
    if all_of := sum(measured.transitions.values()):
        rows = tuple(
            (name, f"{number:,}", percent(number / all_of), TRANSITIONS[name])
            for name, number in measured.transitions.items()
        )
        heads = ("problems", "number", "share", "the majority of the samples is")
        blocks.append(Table(heads, rows))
    return blocks


def _probe_blocks(run: Run) -> list[Block]:
    """Return the first and the last values of the probe, with intervals where they are known."""
    size = number_in(run.facts, "num_probe_problems")
    rows: list[tuple[Cell, ...]] = []
    marks = []
    for name, ((first, old), (last, new)) in probe_ends(run).items():
        shown = [percent(old), percent(new)]
        if size:
            ends = [(rate, *wilson(rate, size)) for rate in (old, new)]
            shown = [_rate(end) for end in ends]
            marks.append(_mark(f"{name} first", ends[0], _BEFORE))
            marks.append(_mark(f"{name} last", ends[1], _AFTER))
        steps = f"{first:.0f} and {last:.0f}"
        rows.append((written(name, max_chars=24), steps, *shown, points(new - old)))
    if not rows:
        return []
    table = Table(("figure", "at steps", "first probe", "last probe", "change"), tuple(rows))
    caption = "The dot is the figure, the bar its cautious 95 % interval over problems."
    return _with_intervals("Probe set", caption, table, marks)


def _with_intervals(title: str, caption: str, table: Table, marks: Sequence[Mark]) -> list[Block]:
    if not marks:
        return [table]
    description = "; ".join(f"{mark.label} {percent(mark.mean)}" for mark in marks) + "."
    svg = interval_chart(marks, description=quoted(f"{title}: {description}"))
    return [Chart(svg, title[0].upper() + title[1:], caption, table, wide=True)]


def _mark(label: str, interval: Bounded, colour: int) -> Mark:
    mean, low, high = interval
    return Mark(label, low, mean, high, colour)


def _rate(interval: Bounded) -> str:
    mean, low, high = interval
    return f"{percent(mean)} ({100 * low:.1f} to {100 * high:.1f})"


def _rate_change(interval: Bounded) -> str:
    mean, low, high = interval
    return f"{points(mean)} ({100 * low:+.1f} to {100 * high:+.1f})"


def _value(interval: Bounded) -> str:
    # Adding zero turns -0.0 into 0.0.
    mean, low, high = (round(value, 1) + 0.0 for value in interval)
    return f"{mean:.1f} ({low:.1f} to {high:.1f})"
