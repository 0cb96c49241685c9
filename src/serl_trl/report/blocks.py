"""What a report is made of, before it becomes HTML or Markdown: plain text, never markup.

Whoever builds a report writes strings; whoever renders one escapes every string. What the model
(or the user's data) wrote is a `Written`, which a renderer also sets apart.
"""

import re
from dataclasses import dataclass
from typing import ClassVar

from serl_trl.common.text import harmless

# A degenerate model writes thousands of characters without end; this much shows what it does.
MAX_CHARS = 600
MAX_LINES = 12
# What the report itself writes into a cell of numbers: a value, its unit, or a dash for none.
_NUMBER = re.compile(r"[-+\u2212]?[\d,.]+( ?(%|s|points|steps?|tokens))?|\u2013|")


@dataclass(frozen=True)
class Written:
    """A text that the model or the user's data holds, made safe to show; see `written`."""

    text: str


Cell = str | Written


@dataclass(frozen=True)
class Heading:
    """The beginning of a section."""

    text: str


@dataclass(frozen=True)
class Paragraph:
    """One paragraph; `tone` is "", "good", "warn" or "note"."""

    text: str
    tone: str = ""


@dataclass(frozen=True)
class Question:
    """A question that a reader has, answered; the tones are those of a paragraph."""

    grid: ClassVar = "cards"
    question: str
    answer: str
    tone: str = ""


@dataclass(frozen=True)
class Table:
    """A table; `numeric` says which columns hold numbers only, which are set to the right."""

    headers: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]

    @property
    def numeric(self) -> list[bool]:
        """One value for each column."""
        # A table without rows has columns all the same.
        columns = list(zip(*self.rows, strict=True)) or [()] * len(self.headers)
        return [
            all(isinstance(cell, str) and _NUMBER.fullmatch(cell) for cell in column)
            for column in columns
        ]


@dataclass(frozen=True)
class Chart:
    """A picture with its title and caption, and a table of its values where there is no picture.

    `wide` gives it a row of its own.
    """

    grid: ClassVar = "charts"
    svg: str
    title: str
    caption: str
    table: Table
    wide: bool = False


@dataclass(frozen=True)
class Excerpt:
    """A text with what there is to say about it: plain notes, and other texts with their labels."""

    text: Written
    notes: tuple[str, ...] = ()
    related: tuple[tuple[str, Written], ...] = ()


@dataclass(frozen=True)
class Excerpts:
    """A list of texts."""

    items: tuple[Excerpt, ...]


@dataclass(frozen=True)
class SideBySide:
    """One column per run, each with its label; one run alone needs no label."""

    columns: tuple[tuple[str, tuple["Block", ...]], ...]


Block = Heading | Paragraph | Question | Table | Chart | Excerpt | Excerpts | SideBySide


@dataclass(frozen=True)
class Report:
    """A whole report, in the order in which it is read."""

    title: str
    subtitle: str
    blocks: tuple[Block, ...]


def written(text: object, *, max_chars: int = MAX_CHARS) -> Written:
    """Return `text` harmless and short enough to be read; what is left out is said."""
    whole = str(text)
    # One character more than is shown, so that cleaning does a bounded piece of work.
    lines = harmless(whole[: max_chars + 1])[:max_chars].strip().split("\n")
    cut = len(whole) > max_chars or len(lines) > MAX_LINES
    ending = f" \u2026 ({len(whole):,} characters in all)" if cut else ""
    return Written("\n".join(lines[:MAX_LINES]) + ending)


def quoted(text: str) -> str:
    """Return `text` harmless and on one line, for a sentence of our own that quotes it."""
    return written(text, max_chars=1000).text.replace("\n", " ")
