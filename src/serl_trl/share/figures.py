"""A few small pictures of a run for its card."""

import io
from pathlib import Path
from typing import Any

from serl_trl.common.folder import Folder
from serl_trl.runs.reader import Run

# File, what it shows, and its lines: metric and label. Colours are those of Okabe and Ito.
FIGURES = (
    (
        "agreement.png",
        "Agreement: majority ratio of all groups and of the kept ones, and how many labels of kept "
        "groups were right where gold is known",
        (
            ("serl/majority_ratio", "majority ratio"),
            ("serl/kept_majority_ratio", "majority ratio, kept"),
            ("serl/kept_label_accuracy", "kept labels right"),
            ("serl/probe/pass@1", "probe pass@1"),
        ),
    ),
    (
        "selection.png",
        "Selection: share of proposals that passed the filters, and of groups that were kept",
        (
            ("serl/accepted_ratio", "proposals accepted"),
            ("serl/kept_ratio", "groups kept"),
            ("serl/template_ratio", "different templates"),
        ),
    ),
    ("entropy.png", "Entropy of the completions' tokens", (("entropy", "entropy"),)),
    (
        "length.png",
        "Mean length of the completions in tokens",
        (("completions/mean_length", "mean length"),),
    ),
)
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")


def draw_curves(run: Run, folder: Path) -> dict[str, str]:
    """Draw what was logged at two steps or more; return what each file in `folder` shows.

    What lies in `folder` from earlier is replaced.
    """
    drawn, files = {}, Folder(folder.parent)
    for file, what, lines in FIGURES:
        series = [(label, run.series(metric)) for metric, label in lines]
        series = [(label, points) for label, points in series if len(points) > 1]
        if series:
            files.write(f"{folder.name}/{file}", _draw(series))
            drawn[file] = what
        else:
            files.remove(f"{folder.name}/{file}")
    return drawn


def _draw(series: list[tuple[str, list[tuple[float, float]]]]) -> bytes:
    # Imported here: a trainer imports this file, and draws nothing before its end.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(6, 3), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes: Any = figure.add_subplot()
    for (label, points), colour in zip(series, _COLOURS, strict=False):
        steps, values = zip(*points, strict=True)
        marker = "." if len(points) < 30 else ""
        axes.plot(steps, values, label=label, color=colour, marker=marker, linewidth=1.6)
    axes.set_xlabel("optimizer step")
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.legend(loc="outside upper center", ncols=len(series), fontsize=8, frameon=False)
    # Without a date or a version in it the same run gives the same bytes.
    content = io.BytesIO()
    figure.savefig(content, format="png", metadata={"Software": None})
    return content.getvalue()
