"""Draw the picture of a report that the README shows: its short answers and three of its charts.

    python tools/report_picture.py RUN docs/report.png

The page itself is HTML, which needs a browser to become a picture; this needs none.
"""

import sys
import textwrap
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator, PercentFormatter

from serl_trl.report.blocks import Question, SideBySide
from serl_trl.report.curves import CURVES, Curve
from serl_trl.report.pages import build_report
from serl_trl.runs.reader import Run, read_run

SHOWN = ("Agreement", "Labels compared with gold", "The commonest answer")
TONES = {"good": "#00694d", "warn": "#a33c00", "": "#c4c8ce"}
SERIES = ("#0069a8", "#b84a00", "#00815c")
SOFT = {"color": "#5c626c", "fontsize": 8}
MAX_CHARS, WIDTH = 270, 47


def draw(run: Run, target: Path) -> None:
    """Write the picture of a run's report to `target`."""
    report = build_report([run])
    first = next(block for block in report.blocks if isinstance(block, SideBySide))
    questions = [block for block in first.columns[0][1] if isinstance(block, Question)][:6]
    figure = Figure(figsize=(10, 6), layout="constrained")
    figure.suptitle(report.title, x=0.01, ha="left", weight="bold", fontsize=14)
    grid = figure.subplots(3, 3, height_ratios=(0.85, 0.85, 1.3))
    for axes, question in zip(grid[:2].flat, questions, strict=True):
        draw_question(axes, question)
    for axes, title in zip(grid[2], SHOWN, strict=True):
        draw_curve(axes, run, next(curve for curve in CURVES if curve.title == title))
    figure.savefig(target, dpi=100, metadata={"Software": None})


def draw_question(axes: Axes, question: Question) -> None:
    """Draw a card with a question and its answer."""
    axes.set_axis_off()
    inside = {"transform": axes.transAxes}
    axes.add_patch(Rectangle((0, 0), 1, 1, facecolor="#f5f6f8", **inside))
    axes.add_patch(Rectangle((0, 0), 0.012, 1, facecolor=TONES[question.tone], **inside))
    axes.text(0.04, 0.95, question.question, va="top", weight="bold", **SOFT, **inside)
    answer = textwrap.fill(
        textwrap.shorten(question.answer, MAX_CHARS, placeholder=" \u2026"), WIDTH
    )
    axes.text(0.04, 0.80, answer, va="top", fontsize=7.5, linespacing=1.3, **inside)


def draw_curve(axes: Axes, run: Run, curve: Curve) -> None:
    """Draw one of the report's charts of rates."""
    for (key, label), colour in zip(curve.lines.items(), SERIES, strict=False):
        axes.plot(*zip(*run.series(key), strict=True), label=label, color=colour)
    axes.set_title(curve.title, loc="left", fontsize=9, weight="bold")
    axes.set_ylim(-0.02, 1.02)
    axes.set_xlabel("step", **SOFT)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    axes.tick_params(labelsize=7, length=0, labelcolor="#5c626c")
    axes.grid(axis="y", color="#e3e5e9")
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.legend(frameon=False, fontsize=7, loc="best")


if __name__ == "__main__":
    with matplotlib.rc_context({"font.family": "DejaVu Sans"}):
        draw(read_run(Path(sys.argv[1])), Path(sys.argv[2]))
