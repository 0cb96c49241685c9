"""A few small pictures of a run for its card."""

from importlib.resources import files
from pathlib import Path

import yaml

from serl_trl.common.folder import Folder
from serl_trl.report.charts import Line, line_picture
from serl_trl.runs.reader import Run

_FIGURES = yaml.safe_load(files("serl_trl.share").joinpath("figures.yaml").read_text("utf-8"))


def draw_curves(run: Run, folder: Path) -> dict[str, str]:
    """Draw what was logged at two steps or more; return what each file in `folder` shows.

    What lies in `folder` from earlier is replaced.
    """
    drawn, inside = {}, Folder(folder.parent)
    for file, figure in _FIGURES.items():
        series = {label: run.series(metric) for metric, label in figure["lines"].items()}
        # One point is no curve.
        logged = [(label, points) for label, points in series.items() if len(points) > 1]
        lines = [Line(*each, colour) for colour, each in enumerate(logged)]
        if lines:
            inside.write(f"{folder.name}/{file}", line_picture(lines))
            drawn[file] = figure["shows"]
        else:
            inside.remove(f"{folder.name}/{file}")
    return drawn
