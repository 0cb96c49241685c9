"""Markdown that stays harmless whatever a model wrote into it."""

import re
import textwrap
from collections.abc import Iterable, Sequence

from serl_trl.common.text import harmless

# A model may write one line of 100,000 characters; these keep a page readable.
WIDTH = 100
MAX_CHARS = 1200
MAX_CELL = 120


def plain(text: str, *, max_chars: int = MAX_CHARS) -> str:
    """Return `text` harmless, and cut at `max_chars`, saying so; line feeds stay."""
    shown = harmless(text)
    if len(shown) <= max_chars:
        return shown
    return f"{shown[:max_chars]} [... {len(shown) - max_chars:,} more characters]"


def fenced(text: str, *, max_chars: int = MAX_CHARS) -> str:
    """Return `text` as a code block that it cannot leave; long lines and words are broken."""
    shown = plain(text, max_chars=max_chars)
    lines = [
        part
        for line in shown.split("\n")
        for part in textwrap.wrap(line, WIDTH, drop_whitespace=False) or [""]
    ]
    # Of what is shown: cleaning can join ticks that stood apart.
    fence = "`" * max(3, _longest_run(shown) + 1)
    return "\n".join([f"{fence}text", *lines, fence])


def code(text: str, *, max_chars: int = MAX_CELL) -> str:
    """Return `text` on one line as code, fit for a table's cell; a dash for nothing.

    A bar becomes a broken one: a backslash before it would decide whether it ends the cell.
    """
    shown = " ".join(plain(text, max_chars=max_chars).split()).replace("|", "¦")
    if not shown:
        return "-"
    ticks = "`" * (_longest_run(shown) + 1)
    pad = " " if "`" in shown else ""
    return f"{ticks}{pad}{shown}{pad}{ticks}"


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; the cells are Markdown already and hold no line feed and no bare bar."""
    lines = [" | ".join(headings), " | ".join("---" for _ in headings)]
    lines += [" | ".join(row) for row in rows]
    return "\n".join(f"| {line} |" for line in lines)


def _longest_run(text: str) -> int:
    return max((len(run) for run in re.findall("`+", text)), default=0)
