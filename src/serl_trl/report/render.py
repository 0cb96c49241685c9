"""A report as one HTML page and as Markdown: one template for each, over the same blocks.

In both a text is escaped unless it is `Markup`: a template that forgets a text cannot open a hole.
The page holds no script and asks for nothing. In the Markdown, what the model wrote stands in a
fence or between back-ticks longer than any run inside it, where nothing is interpreted.
"""

import re
from collections.abc import Callable, Sequence
from functools import cache
from importlib.resources import files
from itertools import groupby
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from serl_trl.common import markdown
from serl_trl.report.blocks import Block, Cell, Report, Table, Written

# Whatever slipped through the escaping would still be no script and no request.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
_MARKS = re.compile(r"([\\`*_\[\]<>|~#$&])")


def render_html(report: Report) -> str:
    """Return the page as text; the same report always gives the same bytes."""
    style = files("serl_trl.report").joinpath("report.css").read_text(encoding="utf-8")
    return _render("html.jinja", None, report, policy=POLICY, style=style)


def render_markdown(report: Report) -> str:
    """Return the text of the file, which GitHub shows; the same report gives the same bytes."""
    return _render("md.jinja", _escaped, report)


def _render(template: str, finalize: Any, report: Report, **more: str) -> str:
    page = _environment(finalize).get_template(template).render(report=report, **more)
    # No file can hold a lone surrogate, which JSON of a model's text can.
    return page.strip().encode("utf-8", "replace").decode("utf-8") + "\n"


@cache
def _environment(finalize: Callable[[Any], Any] | None) -> Environment:
    """Return the templates; what `finalize` makes of a value is written in its place."""
    # StrictUndefined: a name that a template misspells is an error, not an empty place on the page.
    found = Environment(
        loader=PackageLoader("serl_trl", "report"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=finalize,
        trim_blocks=True,
    )
    found.filters |= {
        "kind": lambda block: type(block).__name__,
        "anchor": lambda heading: re.sub(r"\W+", "-", heading.text.lower()).strip("-"),
        "in_grids": _in_grids,
        "fence": lambda text: Markup(markdown.fenced(text.text, max_chars=len(text.text))),
        "table": _table,
    }
    return found


def _in_grids(blocks: Sequence[Block]) -> list[tuple[str, list[Block]]]:
    """Gather neighbouring charts, and neighbouring questions, which share a grid."""
    groups = groupby(blocks, lambda block: getattr(block, "grid", ""))
    return [(grid, list(group)) for grid, group in groups]


def _escaped(value: Any) -> Any:
    """Escape what Markdown would interpret; a text is one line."""
    if isinstance(value, Markup):
        return value
    plain = " ".join(str(value).split())
    # GitHub makes a link of a bare address, whatever stands before it.
    return Markup(_MARKS.sub(r"\\\1", plain).replace("://", ":\\//"))


def _table(block: Table) -> Markup:
    headings = [_escaped(name) for name in block.headers]
    return Markup(markdown.table(headings, ([_cell(cell) for cell in row] for row in block.rows)))


def _cell(cell: Cell) -> str:
    if isinstance(cell, Written):
        # What is left out was decided where the text was made safe.
        return markdown.code(cell.text, max_chars=len(cell.text))
    return _escaped(cell)
