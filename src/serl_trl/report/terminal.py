"""A report as plain lines in a terminal, over the blocks that its pages are made of."""

from collections.abc import Iterable, Iterator

from rich import table
from rich.console import Console, RenderableType
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
    for each in rendered(report.blocks):
        out.print(each)


def rendered(blocks: Iterable[Block]) -> Iterator[RenderableType]:
    """Yield what rich prints for each block; no text in it is read as markup."""
    for block in blocks:
        yield from _rendered(block)


def _rendered(block: Block) -> Iterator[RenderableType]:
    match block:
        case Heading():
            yield Text(f"\n{block.text}", "bold")
        case Paragraph():
            text = block.text.lstrip()
            yield _indented(text, len(block.text) - len(text), _STYLES.get(block.tone, ""))
        case Question():
            yield Text(f"\n{block.question}", "bold")
            yield Text(block.answer, _STYLES.get(block.tone, ""))
        case Table():
            yield _table(block)
        case Excerpt():
            yield from _excerpt(block)
        case Excerpts():
            for item in block.items:
                yield from _excerpt(item)
        case _:
            raise AssertionError(f"{type(block).__name__} has no form in a terminal")


def _table(block: Table) -> table.Table:
    shown = table.Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for header, numeric in zip(block.headers, block.numeric, strict=True):
        shown.add_column(Text(header, "dim"), justify="right" if numeric else "left")
    for row in block.rows:
        shown.add_row(*(Text(_plain(cell)) for cell in row))
    return shown


def _excerpt(block: Excerpt) -> Iterator[RenderableType]:
    for note in block.notes:
        yield Text(note, "dim")
    yield _indented(block.text.text, 2)


def _indented(text: str, blanks: int, style: str = "") -> Padding:
    # Broken lines begin below the first.
    return Padding(Text(text, style), (0, 0, 0, blanks), expand=False)


def _plain(cell: Cell) -> str:
    return cell.text if isinstance(cell, Written) else cell
