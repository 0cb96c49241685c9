"""A report as Markdown that GitHub shows: tables, fenced texts, no HTML.

What the model wrote stands in a fence or between back-ticks longer than any run inside it, where
nothing is interpreted.
"""

import re

from serl_trl.common.markdown import code, fenced, table
from serl_trl.report.blocks import (
    Block,
    Cell,
    Chart,
    Excerpt,
    Excerpts,
    Heading,
    Paragraph,
    Question,
    Report,
    SideBySide,
    Table,
    Written,
)

_MARKS = re.compile(r"([\\`*_\[\]<>|~#$&])")
_TONES = {"good": "**Good.** ", "warn": "**Warning.** "}


def render_markdown(report: Report) -> str:
    """Return the text of the file; the same report always gives the same bytes."""
    parts = [f"# {_text(report.title)}", _text(report.subtitle)]
    parts += [_block(block) for block in report.blocks]
    return "\n\n".join(parts) + "\n"


def _block(block: Block, depth: int = 2) -> str:
    match block:
        case Heading(text):
            return "#" * depth + f" {_text(text)}"
        case Paragraph(text, tone):
            return _TONES.get(tone, "") + _text(text)
        case Question(question, answer, _):
            return f"**{_text(question)}** {_text(answer)}"
        case Table():
            return _table(block)
        case Chart(_, title, caption, values, _):
            return f"**{_text(title)}.** {_text(caption)}\n\n{_table(values)}"
        case Excerpt():
            return _excerpt(block)
        case Excerpts(items):
            return "\n\n".join(f"{i}\\. {_excerpt(item)}" for i, item in enumerate(items, start=1))
        case SideBySide(columns):
            parts = []
            for label, blocks in columns:
                title = [f"### {_text(label)}"] if len(columns) > 1 else []
                parts += title + [_block(each, depth + 1 + len(title)) for each in blocks]
            return "\n\n".join(parts)


def _excerpt(excerpt: Excerpt) -> str:
    parts = [_text(" ".join(excerpt.notes))] if excerpt.notes else []
    parts.append(_fence(excerpt.text))
    for label, text in excerpt.related:
        parts += [_text(label), _fence(text)]
    return "\n\n".join(parts)


def _table(block: Table) -> str:
    headings = [_text(name) for name in block.headers]
    return table(headings, ([_cell(cell) for cell in row] for row in block.rows))


def _cell(cell: Cell) -> str:
    # What is left out was decided where the text was made safe.
    return code(cell.text, max_chars=len(cell.text)) if isinstance(cell, Written) else _text(cell)


def _fence(written: Written) -> str:
    return fenced(written.text, max_chars=len(written.text))


def _text(text: str) -> str:
    """Escape what Markdown would interpret; a text is one line."""
    plain = " ".join(text.encode("utf-8", "replace").decode("utf-8").split())
    return _MARKS.sub(r"\\\1", plain).replace("://", ":\\//")
