"""The report of a run, or of two side by side: one HTML page and one Markdown file.

It reads run folders and nothing else. The same folders give the same bytes.
"""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from serl_trl.common.files import PRIVATE_FOLDER
from serl_trl.common.folder import Folder
from serl_trl.report.blocks import Block, Heading, Report, SideBySide
from serl_trl.report.curves import curves_section, funnel_section, times_section
from serl_trl.report.findings import labels_of
from serl_trl.report.overview import (
    before_and_after,
    collapse_section,
    differences,
    in_short,
    inputs_section,
    warnings_section,
    words_used,
)
from serl_trl.report.render import render_html, render_markdown
from serl_trl.report.texts import (
    accepted_section,
    contamination_section,
    groups_section,
    lineage_section,
    refused_section,
)
from serl_trl.runs.reader import Run, read_run

logger = logging.getLogger(__name__)


def write_reports(
    folders: Sequence[Path], target: Path | None = None, *, evaluation: Path | None = None
) -> list[Path]:
    """Write the report of one run folder, or of two side by side, and return the files.

    They are `report.html` and `report.md`, or `comparison.html` and `comparison.md` for two, in
    `target`, by default the private part of the (first) run's folder. `evaluation` is a folder
    into which `serl eval --compare` wrote about the one run.

    Raises `ValueError` where a folder holds no run, or no comparison.
    """
    runs = [read_run(folder, evaluation=evaluation) for folder in folders]
    report = build_report(runs)
    stem = "report" if len(runs) == 1 else "comparison"
    target = folders[0] / PRIVATE_FOLDER if target is None else target
    folder, name = Folder(target), stem
    if target == folders[0] / PRIVATE_FOLDER:
        folder, name = Folder(folders[0]), f"{PRIVATE_FOLDER}/{stem}"
    pages = (("html", render_html(report)), ("md", render_markdown(report)))
    return [folder.write(f"{name}.{ending}", text) for ending, text in pages]


def report_after_training(folder: Path) -> list[Path]:
    """Write the report of a run that just ended; whatever goes wrong is a warning, no failure."""
    try:
        return write_reports([folder])
    except Exception as error:  # noqa: BLE001 - the run is done; no fault of its report undoes it
        logger.warning(
            "The report of %s was not written (%s: %s); try serl report %s.",
            folder,
            type(error).__name__,
            error,
            folder,
        )
        return []


def build_report(runs: Sequence[Run]) -> Report:
    """Build the report of one run, or of two side by side."""
    labels = labels_of(runs)
    blocks: list[Block] = [Heading("In short"), _side_by_side(runs, in_short), words_used()]
    if len(runs) > 1:
        blocks += [Heading("What differs"), *differences(runs)]
    first = [
        ("What to know before trusting it", warnings_section),
        ("Before and after", before_and_after),
        ("Is it collapsing?", collapse_section),
        ("What was trained on what", inputs_section),
    ]
    for title, build in first:
        blocks += [Heading(title), _side_by_side(runs, build)]
    blocks += [Heading("Curves"), *curves_section(runs), *times_section(runs)]
    last = [
        ("From proposals to trained groups", funnel_section),
        ("Overlap with evaluation sets", contamination_section),
        ("Accepted instructions", accepted_section),
        ("Refused instructions", refused_section),
        ("Five groups and their votes", groups_section),
        ("Where one instruction came from", lineage_section),
    ]
    for title, build in last:
        blocks += [Heading(title), _side_by_side(runs, build)]
    names = " and ".join(labels)
    subtitle = (
        "Self-play reinforcement learning (SeRL): a model writes problems, answers each of them "
        "many times, and is rewarded for the answers that most of its own completions agree on."
    )
    return Report(f"Report of {names}", subtitle, tuple(blocks))


def _side_by_side(runs: Sequence[Run], build: Callable[[Run], list[Block]]) -> SideBySide:
    return SideBySide(
        tuple((label, tuple(build(run))) for label, run in zip(labels_of(runs), runs, strict=True))
    )
