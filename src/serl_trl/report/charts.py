"""The charts of a report, as SVG that stands inside the page and takes its colours.

Every chart is drawn by matplotlib without a display. Colours are CSS variables, so that one picture
reads on light, dark and paper; each series has its label beside it. No text becomes markup.
"""

import io
import logging
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, MaxNLocator

from serl_trl.report.blocks import one_line

MAX_POINTS = 160
NUM_COLOURS = 6
_FONT_SIZE = 10.0
_CHAR_WIDTH = 0.56 * _FONT_SIZE
_WIDTH, _HEIGHT = 340.0, 205.0  # points

# Stand-ins, replaced in the finished SVG: matplotlib knows no CSS variable.
_SERIES = [f"#00fe0{i}" for i in range(1, NUM_COLOURS + 1)]
_INK, _SOFT, _GRID = "#00fe0a", "#00fe0b", "#00fe0c"
_COLOURS = {colour: f"var(--s{i})" for i, colour in enumerate(_SERIES, start=1)} | {
    _INK: "currentColor",
    _SOFT: "var(--soft)",
    _GRID: "var(--grid)",
}
_SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "text.usetex": False,
    "font.family": ["DejaVu Sans"],
    "font.size": _FONT_SIZE,
    "text.color": _INK,
    "axes.edgecolor": _GRID,
    "axes.facecolor": "none",
    "axes.linewidth": 0.8,
    "axes.axisbelow": True,
    "axes.labelcolor": _SOFT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": _GRID,
    "grid.linewidth": 0.7,
    "xtick.color": _GRID,
    "ytick.color": _GRID,
    "xtick.labelcolor": _SOFT,
    "ytick.labelcolor": _SOFT,
    "xtick.major.size": 3,
    "ytick.major.size": 0,
}


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


@matplotlib.rc_context(_SETTINGS)
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
    drawn = [line for line in lines if line.points]
    figure, axes = _figure([line.label for line in drawn], percent=percent, unit=unit)
    for line in drawn:
        steps, values = zip(*_thinned(line.points), strict=True)
        axes.plot(
            steps,
            values,
            color=_SERIES[line.colour % NUM_COLOURS],
            linewidth=1.7,
            dashes=(4, 2) if line.dashed else (None, None),
            marker="o" if len(steps) <= 12 else None,
            markersize=3.2,
        )
    for bound in bounds:
        axes.axhline(bound, color=_SOFT, linewidth=0.8, dashes=(1, 3))
    if percent:
        axes.set_ylim(-0.02, 1.02)
    else:
        low, high = axes.get_ylim()
        axes.set_ylim(min(0.0, low), high if high > 0 else 1.0)
    ends = [(_clean(line.label), line.points[-1][1], line.colour) for line in drawn]
    _label_ends(axes, ends)
    return _svg(figure, description)


@matplotlib.rc_context(_SETTINGS)
def area_chart(
    steps: Sequence[float],
    layers: Sequence[tuple[str, Sequence[float]]],
    *,
    description: str,
    unit: str = "",
) -> str:
    """Draw layers on top of one another; the first is the lowest. Each has a value per step."""
    labels = [label for label, _ in layers]
    figure, axes = _figure(labels, unit=unit)
    bottom = [0.0] * len(steps)
    middles = []
    # A single step is drawn as wide as two.
    xs = [steps[0] - 0.5, steps[0] + 0.5] if len(steps) == 1 else list(steps)
    for number, (label, values) in enumerate(layers):
        top = [low + value for low, value in zip(bottom, values, strict=True)]
        lows, tops = (bottom * 2, top * 2) if len(steps) == 1 else (bottom, top)
        colour = _SERIES[number % NUM_COLOURS]
        axes.fill_between(xs, lows, tops, color=colour, alpha=0.85, linewidth=0)
        middles.append((_clean(label), (bottom[-1] + top[-1]) / 2, number))
        bottom = top
    axes.set_ylim(0, max([*bottom, 1e-9]) * 1.05)
    axes.margins(x=0)
    _label_ends(axes, middles)
    return _svg(figure, description)


@matplotlib.rc_context(_SETTINGS)
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
    figure, axes = _figure([], percent=True)
    axes.grid(visible=False)
    width = num_steps / len(columns)
    darkest = max((share for column in columns for share in column), default=0.0) or 1.0
    for i, column in enumerate(columns):
        for j, share in enumerate(column):
            if share > 0:
                place = (i * width, j / len(column))
                cell = Rectangle(place, width, 1 / len(column), linewidth=0)
                cell.set_facecolor(_SERIES[0])
                cell.set_alpha(round(0.12 + 0.88 * share / darkest, 3))
                axes.add_patch(cell)
    for bound in bounds:
        axes.axhline(bound, color=_INK, linewidth=1, dashes=(1, 2))
    axes.set_xlim(0, num_steps)
    axes.set_ylim(0, 1)
    return _svg(figure, description)


@matplotlib.rc_context(_SETTINGS)
def bar_chart(rows: Sequence[tuple[str, float, str]], *, description: str) -> str:
    """Draw one bar per row (label, value, what is written beside it), the first on top."""
    figure = Figure(figsize=(_WIDTH / 72, (24 * len(rows) + 12) / 72))
    left = _margin([label for label, _, _ in rows])
    right = _margin([beside for _, _, beside in rows])
    axes = figure.add_axes((left / _WIDTH, 0.02, (_WIDTH - left - right) / _WIDTH, 0.96))
    axes.grid(visible=False)
    most = max([value for _, value, _ in rows] + [1e-9])
    for i, (label, value, beside) in enumerate(rows):
        axes.barh(-i, value, height=0.62, color=_SERIES[0])
        axes.annotate(_clean(beside), (value, -i), (4, 0), xycoords="data", **_BESIDE, ha="left")
        axes.annotate(
            _clean(label), (0, -i), (-4, 0), xycoords="data", **_BESIDE, ha="right", color=_SOFT
        )
    axes.set_xlim(0, most)
    axes.set_ylim(-len(rows) + 0.4, 0.6)
    axes.set_axis_off()
    return _svg(figure, description)


@matplotlib.rc_context(_SETTINGS)
def interval_chart(marks: Sequence[Mark], *, description: str) -> str:
    """Draw rates with their intervals, one row each, the first on top."""
    figure = Figure(figsize=(_WIDTH / 72, (22 * len(marks) + 34) / 72))
    left = _margin([mark.label for mark in marks])
    height = 22 * len(marks) + 34
    place = (left / _WIDTH, 24 / height, (_WIDTH - left - 18) / _WIDTH, 1 - 28 / height)
    axes = figure.add_axes(place)
    for i, mark in enumerate(marks):
        colour = _SERIES[mark.colour % NUM_COLOURS]
        axes.plot([mark.low, mark.high], [-i, -i], color=colour, linewidth=3, alpha=0.45)
        axes.plot([mark.mean], [-i], color=colour, marker="o", markersize=6, clip_on=False)
        axes.annotate(
            _clean(mark.label), (0, -i), (-6, 0), xycoords=_BY_AXES, **_BESIDE, ha="right"
        )
    axes.grid(visible=True, axis="x")
    axes.grid(visible=False, axis="y")
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(FuncFormatter(_percent))
    axes.set_ylim(-len(marks) + 0.4, 0.6)
    return _svg(figure, description)


_BY_AXES = ("axes fraction", "data")
_BESIDE: dict[str, Any] = {"textcoords": "offset points", "va": "center"}


def _figure(labels: Sequence[str], *, percent: bool = False, unit: str = "") -> tuple[Figure, Axes]:
    """Return a figure with room for the labels to the right of the lines."""
    figure = Figure(figsize=(_WIDTH / 72, _HEIGHT / 72))
    right = _margin(labels) if labels else 10.0
    left, bottom, top = 40.0, 34.0, 22.0 if unit else 8.0
    axes = figure.add_axes(
        (
            left / _WIDTH,
            bottom / _HEIGHT,
            (_WIDTH - left - right) / _WIDTH,
            (_HEIGHT - bottom - top) / _HEIGHT,
        )
    )
    axes.spines["left"].set_visible(False)
    axes.set_xlabel("step", labelpad=2)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True, min_n_ticks=1))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5))
    if percent:
        axes.yaxis.set_major_formatter(FuncFormatter(_percent))
    elif unit:
        axes.set_title(_clean(unit), loc="left", fontsize=_FONT_SIZE, color=_SOFT, x=-0.12)
    return figure, axes


def _margin(labels: Sequence[str]) -> float:
    longest = max((len(_clean(label)) for label in labels), default=0)
    return min(12.0 + longest * _CHAR_WIDTH, 0.55 * _WIDTH)


def _percent(value: float, _: object = None) -> str:
    return f"{100 * value:.0f}%"


def _label_ends(axes: Axes, ends: Sequence[tuple[str, float, int]]) -> None:
    """Write each label beside the end of its line, moved apart where they would touch."""
    if not ends:
        return
    low, high = axes.get_ylim()
    gap = 1.15 * _FONT_SIZE * (high - low) / (axes.get_position().height * _HEIGHT)
    ordered = sorted(ends, key=lambda end: end[1])
    places: list[float] = []
    for _, value, _ in ordered:
        places.append(max(value, places[-1] + gap) if places else max(value, low))
    # Pushed over the top: move down from there.
    ceiling = high
    for i in reversed(range(len(places))):
        places[i] = min(places[i], ceiling)
        ceiling = places[i] - gap
    for (label, _, colour), place in zip(ordered, places, strict=True):
        axes.annotate(
            label,
            (1, place),
            (5, 0),
            xycoords=_BY_AXES,
            textcoords="offset points",
            va="center",
            color=_SERIES[colour % NUM_COLOURS],
            annotation_clip=False,
        )


def _thinned(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return at most `MAX_POINTS` points, each the mean of its neighbours."""
    if len(points) <= MAX_POINTS:
        return list(points)
    edges = [len(points) * i // MAX_POINTS for i in range(MAX_POINTS + 1)]
    parts = [points[edges[i] : edges[i + 1]] for i in range(MAX_POINTS)]
    return [
        (sum(x for x, _ in part) / len(part), sum(y for _, y in part) / len(part)) for part in parts
    ]


def _clean(label: str) -> str:
    """Return a label that any font can draw: reasons may come from a user's own filter."""
    plain = unicodedata.normalize("NFKD", label).encode("ascii", "replace").decode()
    return re.sub(r"[\x00-\x1f\x7f]", "?", plain)[:26]


def _svg(figure: Figure, description: str) -> str:
    """Return the picture as one `<svg>` element with a description and the page's colours."""
    description = one_line(description)
    buffer = io.StringIO()
    nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
    logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)
    # The salt makes the ids the same each time, and others than those of the page's other charts.
    with matplotlib.rc_context({"svg.hashsalt": description}):
        figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<style.*?</style>|<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r'(<g) id="[^"]*"', r"\1", text)
    text = re.sub(r"(font-family: |font: [\d.]+px )[^;\"]*", r"\1system-ui, sans-serif", text)
    text = re.sub(r' xmlns(:xlink)?="[^"]*"| version="[^"]*"', "", text).replace(
        "xlink:href", "href"
    )
    for stand_in, colour in _COLOURS.items():
        text = text.replace(stand_in, colour)
    named = f'<svg role="img" aria-label="{escape(description, quote=True)}"'
    return text.replace("<svg", named, 1).strip()
