"""Charts, drawn by matplotlib without a display: SVG for a report, PNG for a card.

The SVG stands inside the page and takes its colours, which are CSS variables, so that one picture
reads on light, dark and paper. No text becomes markup.
"""

import io
import logging
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from serl_trl.report.blocks import quoted

# More points than a picture has room for only make the page heavy: a run can log 100,000 steps.
MAX_POINTS = 160
NUM_COLOURS = 6
_MAX_LABEL = 26  # two of them fit beside one another above a picture
_WIDTH = 4.7  # inches, as in page.mplstyle; the page scales pictures to its columns

# Where the colours of page.mplstyle stand in the finished SVG, a variable of report.css stands.
_COLOURS = {f"#00fe0{i}": f"var(--s{i})" for i in range(1, NUM_COLOURS + 1)} | {
    "#00fe0a": "currentColor",
    "#00fe0b": "var(--soft)",
    "#00fe0c": "var(--grid)",
}
_PAGE, _PICTURE = (
    matplotlib.rc_params_from_file(path, use_default_template=False)
    for path in (Path(__file__).with_name(f"{name}.mplstyle") for name in ("page", "picture"))
)
_PERCENT = PercentFormatter(1.0, decimals=0)


@dataclass(frozen=True)
class Line:
    """One line of a chart: (step, value) points, the number of its colour, and whether dashed."""

    label: str
    points: Sequence[tuple[float, float]]
    colour: int = 0
    dashed: bool = False


@dataclass(frozen=True)
class Mark:
    """A value with its interval, in a row of its own."""

    label: str
    low: float
    mean: float
    high: float
    colour: int = 0


@matplotlib.rc_context(_PAGE)
def line_chart(
    lines: Sequence[Line],
    *,
    description: str,
    percent: bool = False,
    unit: str = "",
    bounds: Sequence[float] = (),
) -> str:
    """Draw lines over the steps; a rate is shown in per cent, from 0 to 1.

    `bounds` are values marked as dotted lines. Lines without points are left out.
    """
    figure, axes = _over_steps(percent=percent, unit=unit)
    for line in lines:
        if line.points:
            _plot(axes, line)
    _mark_bounds(axes, bounds)
    if percent:
        # All rates share one scale, so that charts can be compared; a line at 0 or 1 stays whole.
        axes.set_ylim(-0.02, 1.02)
    else:
        # From zero, so that a change of a few per cent does not look like a collapse.
        low, high = axes.get_ylim()
        axes.set_ylim(min(0.0, low), high if high > 0 else 1.0)
    _add_legend(figure)
    return _svg(figure, description)


@matplotlib.rc_context(_PAGE)
def area_chart(
    steps: Sequence[float],
    layers: Sequence[tuple[str, Sequence[float]]],
    *,
    description: str,
    unit: str = "",
) -> str:
    """Draw layers on top of one another; the first is the lowest. Each has a value per step."""
    figure, axes = _over_steps(unit=unit)
    values = [list(layer) for _, layer in layers]
    if len(steps) == 1:
        # A single step has no width; it is drawn as wide as two.
        steps, values = [steps[0] - 0.5, steps[0] + 0.5], [layer * 2 for layer in values]
    labels = [_clean(label) for label, _ in layers]
    axes.stackplot(steps, *values, labels=labels, linewidth=0)
    highest = max(map(sum, zip(*values, strict=True)), default=0.0)
    # matplotlib cannot divide an axis of no height, as where every layer is 0.
    axes.set_ylim(0, max(highest, 1e-9) * 1.05)
    axes.margins(x=0)
    _add_legend(figure)
    return _svg(figure, description)


@matplotlib.rc_context(_PAGE)
def heat_chart(
    columns: Sequence[Sequence[float]],
    *,
    num_steps: int,
    description: str,
    bounds: Sequence[float] = (),
) -> str:
    """Draw a histogram per span of steps: the darker a cell, the larger its share of the span.

    Each column holds shares in [0, 1] for equal bins of [0, 1], lowest first.
    """
    figure, axes = _over_steps(percent=True)
    axes.grid(visible=False)
    width = num_steps / len(columns)
    darkest = max((share for column in columns for share in column), default=0.0) or 1.0
    for i, column in enumerate(columns):
        # The least share can still be seen; none at all cannot.
        shades = [(_series(0), round(bool(n) * (0.12 + 0.88 * n / darkest), 3)) for n in column]
        bottoms = [j / len(column) for j in range(len(column))]
        axes.bar(i * width, 1 / len(column), width, bottoms, align="edge", color=shades)
    _mark_bounds(axes, bounds)
    axes.set_xlim(0, num_steps)
    axes.set_ylim(0, 1)
    return _svg(figure, description)


@matplotlib.rc_context(_PAGE)
def bar_chart(rows: Sequence[tuple[str, float, str]], *, description: str) -> str:
    """Draw one bar per row (label, value, what is written beside it), the first on top."""
    figure, axes = _in_rows([label for label, _, _ in rows])
    bars = axes.barh(range(len(rows)), [value for _, value, _ in rows], 0.62)
    axes.bar_label(bars, [_clean(beside) for _, _, beside in rows], padding=4)
    axes.grid(visible=False)
    axes.xaxis.set_visible(False)
    axes.spines["bottom"].set_visible(False)
    return _svg(figure, description)


@matplotlib.rc_context(_PAGE)
def interval_chart(marks: Sequence[Mark], *, description: str) -> str:
    """Draw rates with their intervals, one row each, the first on top."""
    figure, axes = _in_rows([mark.label for mark in marks])
    for i, mark in enumerate(marks):
        colour = _series(mark.colour)
        axes.plot([mark.low, mark.high], [i, i], color=colour, linewidth=3, alpha=0.45)
        axes.plot([mark.mean], [i], color=colour, marker="o", clip_on=False)
    axes.grid(visible=True, axis="x")
    axes.grid(visible=False, axis="y")
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(_PERCENT)
    return _svg(figure, description)


@matplotlib.rc_context(_PAGE | _PICTURE)
def line_picture(lines: Sequence[Line]) -> bytes:
    """Draw lines over the steps as a PNG; the same lines give the same bytes."""
    figure, axes = _over_steps()
    for line in lines:
        _plot(axes, line)
    _add_legend(figure)
    content = io.BytesIO()
    # Neither a date nor a version goes into it.
    figure.savefig(content, format="png", metadata={"Software": None})
    return content.getvalue()


def _plot(axes: Axes, line: Line) -> None:
    steps, values = zip(*_thinned(line.points), strict=True)
    axes.plot(
        steps,
        values,
        label=_clean(line.label),
        color=_series(line.colour),
        linestyle="--" if line.dashed else "-",
        # A dot for each step where there are few: one step alone draws no line.
        marker="o" if len(steps) <= 12 else None,
        markersize=3.2,
    )


def _series(number: int) -> str:
    return f"C{number % NUM_COLOURS}"


def _over_steps(*, percent: bool = False, unit: str = "") -> tuple[Figure, Axes]:
    figure = Figure()
    axes = figure.add_subplot()
    axes.set_xlabel("step")
    axes.set_title(_clean(unit))
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True, min_n_ticks=1))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5))
    if percent:
        axes.yaxis.set_major_formatter(_PERCENT)
    return figure, axes


def _in_rows(labels: Sequence[str]) -> tuple[Figure, Axes]:
    # In inches: a row is one line of text, and the rest holds the axis.
    figure = Figure(figsize=(_WIDTH, 0.31 * len(labels) + 0.45))
    axes = figure.add_subplot()
    axes.set_yticks(range(len(labels)), [_clean(label) for label in labels])
    # Upside down: the first row is on top, as in the table.
    axes.set_ylim(len(labels) - 0.4, -0.6)
    return figure, axes


def _mark_bounds(axes: Axes, bounds: Sequence[float]) -> None:
    for bound in bounds:
        axes.axhline(bound, color=matplotlib.rcParams["text.color"], linewidth=0.9, linestyle=":")


def _add_legend(figure: Figure) -> None:
    """Name the lines above the picture, where there are any."""
    if figure.axes[0].get_legend_handles_labels()[1]:
        figure.legend(loc="outside upper left", ncols=2)


def _thinned(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return at most `MAX_POINTS` points, each the mean of its neighbours."""
    if len(points) <= MAX_POINTS:
        return list(points)
    # Means, not every n-th point: a single odd step must not stand for its neighbours.
    edges = [len(points) * i // MAX_POINTS for i in range(MAX_POINTS + 1)]
    parts = [points[edges[i] : edges[i + 1]] for i in range(MAX_POINTS)]
    return [
        (sum(x for x, _ in part) / len(part), sum(y for _, y in part) / len(part)) for part in parts
    ]


def _clean(label: str) -> str:
    """Return a label that any font can draw: reasons may come from a user's own filter."""
    plain = unicodedata.normalize("NFKD", label).encode("ascii", "replace").decode()
    # matplotlib leaves a line out of the legend when its label begins with an underscore.
    return re.sub(r"[\x00-\x1f\x7f]|^_", "?", plain)[:_MAX_LABEL]


def _svg(figure: Figure, description: str) -> str:
    """Return the picture as one `<svg>` element with a description and the page's colours."""
    description = quoted(description)
    buffer = io.StringIO()
    nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
    # It warns of every font that a machine lacks, and the page brings its own.
    logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)
    # The salt makes the ids the same each time, and others than those of the page's other charts.
    with matplotlib.rc_context({"svg.hashsalt": description}):
        figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    # A style element would hold for the whole page, and so would an id that two pictures share.
    text = re.sub(r"<style.*?</style>|<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r'(<g) id="[^"]*"', r"\1", text)
    text = re.sub(r"(font-family: |font: [\d.]+px )[^;\"]*", r"\1system-ui, sans-serif", text)
    text = re.sub(r' xmlns(:xlink)?="[^"]*"| version="[^"]*"', "", text)
    text = text.replace("xlink:href", "href")
    for stand_in, colour in _COLOURS.items():
        text = text.replace(stand_in, colour)
    named = f'<svg role="img" aria-label="{escape(description, quote=True)}"'
    return text.replace("<svg", named, 1).strip()
