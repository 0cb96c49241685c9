"""A report as plain lines in a terminal, over the blocks that its pages are made of."""

from rich import table
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from serl_trl.report.blocks import (
    Block,
    Cell,
    Excerpt,
    Excerpts,
    Heading,
    Paragraph,
    Question,
    Report,
    Table,
    Written,
)

_STYLES = {"good": "green", "warn": "yellow", "note": "dim"}


def show(report: Report, out: Console) -> None:
    """Print a report that holds no chart. No text is read as markup."""
    out.print(Text(f"\n{report.title}", "bold"))
    out.print(Text(report.subtitle))
    for block in report.blocks:
        _show(block, out)


def _show(block: Block, out: Console) -> None:
    match block:
        case Heading():
            out.print(Text(f"\n{block.text}", "bold"))
        case Paragraph():
            text = block.text.lstrip()
            _indented(text, len(block.text) - len(text), out, _STYLES.get(block.tone, ""))
        case Question():
            out.print(Text(f"\n{block.question}", "bold"))
            out.print(Text(block.answer, _STYLES.get(block.tone, "")))
        case Table():
            out.print(_table(block))
        case Excerpt():
            _show_excerpt(block, out)
        case Excerpts():
            for item in block.items:
                _show_excerpt(item, out)
        case _:
            raise AssertionError(f"{type(block).__name__} has no form in a terminal")


def _table(block: Table) -> table.Table:
    shown = table.Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for header, numeric in zip(block.headers, block.numeric, strict=True):
        shown.add_column(Text(header, "dim"), justify="right" if numeric else "left")
    for row in block.rows:
        shown.add_row(*(Text(_plain(cell)) for cell in row))
    return shown


def _show_excerpt(block: Excerpt, out: Console) -> None:
    for note in block.notes:
        out.print(Text(note, "dim"))
    _indented(block.text.text, 2, out)


def _indented(text: str, blanks: int, out: Console, style: str = "") -> None:
    # Broken lines begin below the first.
    out.print(Padding(Text(text, style), (0, 0, 0, blanks), expand=False))


def _plain(cell: Cell) -> str:
    return cell.text if isinstance(cell, Written) else cell
