"""Systems: rows between `\\begin` and `\\end` that hold at once, or values with conditions."""

from collections.abc import Callable, Sequence

from serl_trl.answers.math.forms import Form, Words
from serl_trl.answers.math.items import Item, hold_at_once
from serl_trl.answers.math.lexer import Token
from serl_trl.answers.math.names import is_name
from serl_trl.answers.math.values import Unsettled
from serl_trl.answers.math.vocabulary import RELATIONS

_SYSTEMS = {"cases", "dcases", "rcases", "aligned", "align", "align*", "alignedat", "gathered"}
_SYSTEMS |= {"split", "array", "matrix"}
_CONDITIONS = ("if", "for", "when", "where", "provided", "with", ",")
_STOPS = (",", ";", ".")

ReadItem = Callable[[Sequence[Token]], Item]
_Rows = list[list[list[Token]]]


def read_system(tokens: Sequence[Token], read_item: ReadItem) -> Form | None:
    """Rows of equations, or of values with their conditions; `None` for what is not a system."""
    begin = next((i for i, t in enumerate(tokens) if t.text.startswith("\\begin{")), None)
    if begin is None:
        return None
    # \left\{ before an array makes it a system, whatever its name.
    braced = begin > 0 and tokens[begin - 1].text == "\\{"
    head = tokens[: begin - braced]
    # What is defined by cases may have its name before them.
    if head and (head[-1].text != "=" or not is_name(head[:-1])):
        return None
    name = tokens[begin].text.removeprefix("\\begin{").removesuffix("}")
    if name not in _SYSTEMS:
        return None
    if tokens[-2].text != f"\\end{{{name}}}":
        raise Unsettled("something behind a system")
    rows = _rows_of(tokens[begin + 1 : -2], name)
    related = RELATIONS | {"\\in"}
    whole = all(any(token.text in related for cell in row for token in cell) for row in rows)
    if not braced and name in ("array", "matrix") and not whole:
        return None
    # Cells may only put relation signs below each other; otherwise they are values and conditions.
    aligned = all(cell[0].text in RELATIONS for row in rows for cell in row[1:] if cell)
    if any(len(row) > 1 for row in rows) and not aligned:
        return Words("cases " + " ; ".join(sorted(_piece(row, read_item) for row in rows)))
    joined = [[token for cell in row for token in cell] for row in rows]
    return hold_at_once([read_item(_strip(row)) for row in joined])


def _rows_of(inner: Sequence[Token], name: str) -> _Rows:
    texts = [token.text for token in inner]
    if name == "array" and "}" in texts:  # the columns come first
        inner = inner[texts.index("}") + 1 :]
    return [_split(row, "&") for row in _split(inner, "\\\\") if row]


def _split(tokens: Sequence[Token], mark: str) -> list[list[Token]]:
    parts: list[list[Token]] = [[]]
    for token in tokens:
        if token.text == mark:
            parts.append([])
        else:
            parts[-1].append(token)
    return parts


def _piece(cells: list[list[Token]], read_item: ReadItem) -> str:
    """A value and its condition, in one spelling."""
    texts = []
    for cell in cells:
        # "if x > 0" and "x > 0" are one condition.
        while cell and cell[0].text.lower() in _CONDITIONS:
            cell = cell[1:]
        if cell := _strip(cell):
            item = read_item(cell)
            texts.append(" ".join([*sorted(item.symbols), item.form.text]))
    return " if ".join(texts)


def _strip(tokens: list[Token]) -> list[Token]:
    while tokens and tokens[-1].text in _STOPS:
        tokens = tokens[:-1]
    return tokens
