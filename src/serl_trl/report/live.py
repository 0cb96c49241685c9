"""A run that trains, as a terminal shows it: where it stands, warnings, curves, the last texts."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from serl_trl.common.text import shortened
from serl_trl.report.blocks import Block, Heading, Paragraph, Table, quoted
from serl_trl.report.curves import COURSE, CURVES, courses
from serl_trl.report.figures import labels_of
from serl_trl.report.sentences import say
from serl_trl.report.warnings import warnings_while_running
from serl_trl.runs.life import FINISHED_RUN
from serl_trl.runs.reader import Run, number_in

_NUM_TEXTS = 3
_MAX_CHARS = 160  # of a text, so that the last ones fit below the curves
_MAX_WARNINGS, _NUM_ANSWERS = 5, 5


def standing(run: Run, life: str) -> str:
    """Return in one sentence where a run stands; `life` is what `life_of` says."""
    planned = number_in(run.config, "max_steps") or 0
    step = run.ledger.starved[0] if run.ledger.starved else run.num_steps
    said = say("standing", life=life, step=step, planned=max(planned, 0))
    if run.ledger.ended is None:
        return said
    # Quoted: the ledger that it comes from may be anyone's.
    why = quoted(run.ledger.ended.sentence)
    return f"{said} {why[:1].upper()}{why[1:]}."


def live_blocks(run: Run, life: str) -> list[Block]:
    """Return what a terminal shows of a run, the most important first: the end may be cut off."""
    collapsed = run.ledger.ended is not None and run.ledger.ended.collapsed
    tone = "warn" if collapsed else "good" if life == FINISHED_RUN else ""
    blocks: list[Block] = [Heading(labels_of([run])[0]), Paragraph(standing(run, life), tone)]
    warnings = [quoted(text) for text in warnings_while_running(run)]
    blocks += [Paragraph(text, "warn") for text in warnings[:_MAX_WARNINGS]]
    rows = [
        (f"{curve.title}: {label}", *course)
        for curve in CURVES
        if curve.live
        for label, *course in courses(run, curve)
    ]
    blocks.append(Table(COURSE, tuple(rows)) if rows else Paragraph("No step was logged yet."))
    texts = tuple(_last_texts(run))
    return [*blocks, Table(("last texts", ""), texts)] if texts else blocks


def _last_texts(run: Run) -> Iterator[tuple[str, str]]:
    """Yield the last proposals with their fate, and the last group with its votes."""
    ledger = run.ledger
    for place in ledger.proposals.places[-_NUM_TEXTS:]:
        record = _record(run, place)
        yield _fate(record, "accepted"), _cut(record.get("text"))
    for place in ledger.groups.places[-1:]:
        record = _record(run, place)
        yield f"group: {_fate(record, 'kept')}", _cut(record.get("instruction"))
        answers: Any = record.get("answers")
        answers = answers if isinstance(answers, dict) else {}
        votes = [(number_in(answers, answer) or 0.0, answer) for answer in answers]
        most = sorted(votes, key=lambda vote: -vote[0])[:_NUM_ANSWERS]
        yield "votes", ", ".join(f"{_cut(answer, 24)} x {n:.0f}" for n, answer in most)


def _record(run: Run, place: int) -> dict[str, Any]:
    try:
        record = run.ledger.read(place)
    except ValueError:
        # Resuming cut the ledger back since it was read.
        return {}
    return record if isinstance(record, dict) else {}


def _fate(record: Mapping[str, Any], good: str) -> str:
    return good if record.get("keep") else _cut(record.get("reason"), 24)


def _cut(text: object, most: int = _MAX_CHARS) -> str:
    return shortened(quoted(str(text)), most)


def step_lines(run: Run, after: int) -> Iterator[tuple[int, str]]:
    """Yield one line for each step after `after` that logged any of the curves, with the step."""
    for row in run.metrics:
        if row["step"] <= after:
            continue
        parts = []
        for curve in CURVES:
            found = [
                f"{label} {curve.write(row[key])}"
                for key, label in curve.lines.items()
                if curve.live and key in row
            ]
            if found:
                parts.append(f"{curve.title.lower()}: {', '.join(found)}")
        if parts:
            yield int(row["step"]), f"step {row['step']:.0f}  {'; '.join(parts)}"


def alike(text: str) -> str:
    """Return a warning without its numbers, which change while the run trains."""
    return re.sub(r"[\d.,]+", "#", text)
