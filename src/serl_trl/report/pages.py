"""The report of a run: one page and one Markdown file, or of two runs side by side.

The pages go to the private part of the run's folder: they quote what was trained on.
"""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from serl_trl.common.files import PRIVATE_FOLDER
from serl_trl.common.folder import Folder
from serl_trl.report import overview, refusals, texts
from serl_trl.report.blocks import Block, Heading, Report, SideBySide
from serl_trl.report.curves import curves_section, times_section
from serl_trl.report.differences import differences
from serl_trl.report.figures import labels_of
from serl_trl.report.measured import before_and_after
from serl_trl.report.render import render_html, render_markdown
from serl_trl.report.sources import sources_section
from serl_trl.runs.reader import Run, read_run

logger = logging.getLogger(__name__)

Section = Callable[[Run], list[Block]]
FIRST: dict[str, Section] = {
    "What to know before trusting it": overview.warnings_section,
    "Before and after": before_and_after,
    "Is it collapsing?": overview.collapse_section,
    "What was trained on what": overview.inputs_section,
}
LAST: dict[str, Section] = {
    "From proposals to trained groups": refusals.funnel_section,
    "What each source gave": sources_section,
    "Overlap with evaluation sets": texts.contamination_section,
    "Refused as broken questions": texts.validity_section,
    "Accepted instructions": texts.accepted_section,
    "Refused instructions": texts.refused_section,
    "Five groups and their votes": texts.groups_section,
    "Where one instruction came from": texts.lineage_section,
}


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
    # Into the run's own folder files go through its root, so that no link in between is followed.
    target = folders[0] / PRIVATE_FOLDER if target is None else target
    folder, name = Folder(target), stem
    if target == folders[0] / PRIVATE_FOLDER:
        folder, name = Folder(folders[0]), f"{PRIVATE_FOLDER}/{stem}"
    # Both are rendered before either is written, so that a failure leaves no half of a report.
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
    blocks: list[Block] = [Heading("In short"), _side_by_side(runs, overview.in_short)]
    blocks.append(overview.words_used())
    if len(runs) > 1:
        blocks += [Heading("What differs"), *differences(runs)]
    # First what decides whether to trust the run, last what it wrote: few readers get to the end.
    for title, build in FIRST.items():
        blocks += [Heading(title), _side_by_side(runs, build)]
    blocks += [Heading("Curves"), *curves_section(runs), *times_section(runs)]
    for title, build in LAST.items():
        blocks += [Heading(title), _side_by_side(runs, build)]
    subtitle = (
        "Self-play reinforcement learning (SeRL): a model writes problems, answers each of them "
        "many times, and is rewarded for the answers that most of its own completions agree on."
    )
    return Report(f"Report of {' and '.join(labels_of(runs))}", subtitle, tuple(blocks))


def _side_by_side(runs: Sequence[Run], build: Section) -> SideBySide:
    return SideBySide(
        tuple((label, tuple(build(run))) for label, run in zip(labels_of(runs), runs, strict=True))
    )
