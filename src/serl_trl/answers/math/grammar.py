"""Tokens of a mathematical answer to its form: a recursive descent over what answers look like."""

import re
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache

from serl_trl.answers.math import algebra, ranges
from serl_trl.answers.math import lexer as latex
from serl_trl.answers.math.expressions import Expressions
from serl_trl.answers.math.forms import (
    Collection,
    Form,
    Named,
    Row,
    Scalar,
    Words,
    collect,
    name_values,
    with_unit,
)
from serl_trl.answers.math.lexer import END, Token
from serl_trl.answers.math.measures import NO_UNIT, Unit, sense_of
from serl_trl.answers.math.primaries import FUNCTIONS
from serl_trl.answers.math.prose import keep_unread, normal, ratio, read_words
from serl_trl.answers.math.relations import ORDERS, equation, inequality, solved
from serl_trl.answers.math.respelled import exceptions, respell
from serl_trl.answers.math.values import Unsettled
from serl_trl.answers.math.vocabulary import ACCENTS, FONTS, GREEK, RELATIONS, VECTORS

MAX_CHARS = 600
# Most answers are such numbers, and most of a vote's time would go into cutting them up.
_PLAIN = re.compile(r"-?(?:[1-9]\d{0,2}(?:,\d{3}){1,5}|\d{1,20})(?:\.\d{1,6})?")

_SEPARATORS = {",": ",", ";": ",", "\\\\": ",", "and": "and", "or": "or"}
_SEPARATORS |= {"\\land": "\\land", "\\lor": "\\lor"}
_JOINTS = {"\\land": "and", "\\lor": "or"}
_SYSTEMS = {"cases", "dcases", "rcases", "aligned", "align", "align*", "alignedat", "gathered"}
_SYSTEMS |= {"split", "array", "matrix"}
_CONDITIONS = ("if", "for", "when", "where", "provided", "with")
_FUNCTIONS = frozenset("fghFGHpqPQT")
_IN_RATIOS = GREEK | FUNCTIONS | FONTS | ACCENTS | {"\\angle", "\\triangle"}
_PLACES = frozenset({"+", "-", "*", "/", "\\times"})


@dataclass(frozen=True)
class Item:
    """One item of an answer; `sort` is `value`, `named`, `equation` or `inequality`."""

    form: Form
    sort: str = "value"
    name: str = ""
    symbols: frozenset[str] = frozenset()


def parse(answer: str) -> Form:
    """Read an answer; never raises: what is not understood stays words or a formula."""
    if _PLAIN.fullmatch(answer):
        return Scalar(algebra.number(Fraction(answer.replace(",", ""))))
    if len(answer) > MAX_CHARS:
        return Words(" ".join(answer.split()))
    text = respell(latex.clean(answer))
    special = read_words(text)
    if special is not None:
        return special
    tokens = latex.tokens(text)
    try:
        form = _read(tokens)
    # The other errors would be bugs; one on some odd text may cost an answer, but not the run.
    except (Unsettled, ArithmeticError, LookupError, RecursionError):
        return keep_unread(text, tokens)
    currency = latex.currency(answer)
    return with_unit(form, Unit(currency)) if currency else form


@lru_cache(maxsize=8_192)
def read(answer: str) -> Form:
    """Parse an answer, remembering the last ones."""
    return parse(answer)


def _read(tokens: list[Token]) -> Form:
    tokens = exceptions(tokens)
    texts = {token.text for token in tokens}
    if "\\times" in texts and texts & VECTORS:
        raise Unsettled("a product of vectors, in which the order matters")
    if (system := _system(tokens)) is not None:
        return system
    if texts & {"\\pm", "\\mp"}:
        return _either(_Parser(tokens, sign=1).parse(), _Parser(tokens, sign=-1).parse())
    return _Parser(tokens, sign=1).parse()


def _either(plus: Form, minus: Form) -> Form:
    """Both readings of a plus-minus sign, as one set."""
    parts: list[Form] = []
    for form in (plus, minus):
        parts += form.items if isinstance(form, Collection) else [form]
    if not all(isinstance(part, Scalar | Row | Named) for part in parts):
        raise Unsettled("a plus-minus sign outside numbers and tuples")
    return collect(parts)


# Systems: rows between \begin and \end that hold at once


def _system(tokens: list[Token]) -> Form | None:
    """Rows of equations, or of values with their conditions; `None` for what is no system."""
    places = [i for i, token in enumerate(tokens) if token.text.startswith("\\begin{")]
    head = tokens[: places[0]] if places else []
    braced = bool(head) and head[-1].text == "\\{"
    head = head[:-1] if braced else head
    # What is defined by cases may have its name before them.
    if head and (head[-1].text != "=" or not _is_name(head[:-1], [t.text for t in head[:-1]])):
        return None
    begin = places[0] if places else 0
    name = tokens[begin].text.removeprefix("\\begin{").removesuffix("}")
    if not tokens[begin].text.startswith("\\begin{") or name not in _SYSTEMS:
        return None
    if tokens[-2].text != f"\\end{{{name}}}":
        raise Unsettled("something behind a system")
    inner = tokens[begin + 1 : -2]
    if name == "array" and "}" in (texts := [token.text for token in inner]):
        inner = inner[texts.index("}") + 1 :]
    rows = [_split(row, "&") for row in _split(inner, "\\\\") if row]
    related = RELATIONS | {"\\in"}
    whole = all(any(token.text in related for cell in row for token in cell) for row in rows)
    if not braced and name in ("array", "matrix") and not whole:
        return None
    if any(len(row) > 1 for row in rows) and not _aligned(rows):
        return Words("cases " + " ; ".join(sorted(_piece(row) for row in rows)))
    return hold_at_once([_row_item([token for cell in row for token in cell]) for row in rows])


def _split(tokens: list[Token], mark: str) -> list[list[Token]]:
    parts: list[list[Token]] = [[]]
    for token in tokens:
        if token.text == mark:
            parts.append([])
        else:
            parts[-1].append(token)
    return parts


def _aligned(rows: list[list[list[Token]]]) -> bool:
    """Whether cells only put relation signs below each other."""
    return all(cell[0].text in RELATIONS for row in rows for cell in row[1:] if cell)


def _piece(cells: list[list[Token]]) -> str:
    """A value and its condition, in one spelling."""
    texts = []
    for cell in cells:
        while cell and (cell[0].text.lower() in _CONDITIONS or cell[0].text == ","):
            cell = cell[1:]
        while cell and cell[-1].text in (",", ";", "."):
            cell = cell[:-1]
        if cell:
            item = _row_item(cell)
            texts.append(" ".join([*sorted(item.symbols), item.form.text]))
    return " if ".join(texts)


def _row_item(tokens: list[Token]) -> Item:
    while tokens and tokens[-1].text in (",", ";", "."):
        tokens = tokens[:-1]
    parser = _Parser([*tokens, END], sign=1)
    try:
        item = parser.item()
        parser.expect("")
    except (Unsettled, ArithmeticError, LookupError):
        return Item(Words(normal(tokens)), "equation")
    return item


def hold_at_once(items: list[Item]) -> Form:
    """Relations that hold together: named values where each gives a name its value."""
    pairs = []
    for item in items:
        name = item.name
        if item.sort == "equation" and len(item.symbols) == 1 and isinstance(item.form, Scalar):
            (name,) = item.symbols
        if not name or (isinstance(item.form, Scalar) and item.form.value.symbols):
            break
        pairs.append((name, item.form))
    if len(pairs) == len(items) and len({name for name, _ in pairs}) == len(pairs):
        return name_values(pairs)
    return Words("all " + " ; ".join(sorted(_relation(item) for item in items)))


def _relation(item: Item) -> str:
    form, symbols = item.form, set(item.symbols)
    if item.name and isinstance(form, Scalar):
        symbols |= {item.name, *form.value.symbols}
        form = equation([algebra.symbol(item.name), form.value])
    return " ".join([*sorted(symbols), form.text])


class _Parser(Expressions):
    """Reads an answer as a whole."""

    def parse(self) -> Form:
        """Read everything; raises `Unsettled`."""
        items = self.items()
        self.expect("")
        if len(items) == 1:
            return _alone(items[0])
        joints = {_JOINTS.get(separator, separator) for separator in self.separators}
        sorts = {item.sort for item in items}
        symbols = frozenset[str]().union(*(item.symbols for item in items))
        if "value" in sorts and _JOINTS.keys() & set(self.separators):
            raise Unsettled("logic, no list")
        if sorts == {"inequality"} and len(symbols) == 1:
            return _joined([item.form for item in items], joints)
        if "or" not in joints and sorts - {"value", "named"} and len(symbols) > 1:
            if "value" in sorts:
                raise Unsettled("relations beside values")
            return hold_at_once(items)
        if "inequality" in sorts:
            raise Unsettled("inequalities that are not alternatives")
        return _listed(items)

    def items(self) -> list[Item]:
        """Items up to a closing token."""
        items = []
        while True:
            items.append(self.item())
            separator = ""
            while self.peek().text in _SEPARATORS:
                separator = _SEPARATORS[self.next().text]
            if not separator and self.peek().type == "number" and _has_unit(items[-1].form):
                separator = "and"
            if not separator:
                return items
            self.separators.append(separator)

    def item(self) -> Item:
        """An expression, an assignment to a name, an equation or an inequality."""
        name = self.name()
        sides, operators = [self.side()], []
        if not name and self.peek().text == ":":
            sides = [self.ratio(sides[0])]
        while self.peek().text in RELATIONS or self.peek().text == "\\in":
            operators.append(self.next().text)
            sides.append(self.side())
        if name and ":" in name and self.peek().text == ":" and not operators:
            return Item(self.ratio(sides[0]), "named", name)
        if name:
            if set(operators) - {"=", "\\approx"}:
                raise Unsettled("a name in an inequality")
            if not _mentions(name, sides):
                value = sides[0] if operators[-1:] == ["\\approx"] else sides[-1]
                if (sense := sense_of(name)) is not None:
                    return Item(with_unit(value, Unit(sense=sense)))
                return Item(solved(name, value), "named", name, frozenset({name}))
            if "(" in name:
                raise Unsettled("a function that is defined by itself")
            sides, operators = [Scalar(algebra.symbol(name)), *sides], ["=", *operators]
        return Item(sides[0]) if not operators else self.relation(sides, operators)

    def side(self) -> Form:
        """One side of a relation; none before a sign that begins an item, as in `> 5`."""
        begins = self.peek().text in ORDERS or self.peek().text == "\\ne"
        return Scalar(algebra.symbol("\\square")) if begins else self.expression()

    def ratio(self, first: Form) -> Form:
        """Numbers with colons between them."""
        begin, parts = self.position - 1, [first]
        while self.peek().text == ":":
            self.next()
            parts.append(self.expression())
        written = [t.text for t in self.tokens[begin : self.position] if t.text != ":"]
        return ratio(parts, written)

    def relation(self, sides: list[Form], operators: list[str]) -> Item:
        """An equation, an inequality, or a value that is only said to be near or within another."""
        scalars = [side for side in sides if isinstance(side, Scalar)]
        symbols = frozenset(name for side in scalars for name in side.value.symbols)
        if operators == ["\\in"] or operators[0] == "\\approx":
            lone = isinstance(sides[0], Scalar) and sides[0].text in symbols
            if operators[0] == "\\approx":
                if isinstance(sides[1], Scalar) and sides[1].value.symbols:
                    raise Unsettled("something like an expression")
                return Item(sides[1] if lone else sides[0])
            if not lone or isinstance(sides[1], Scalar):
                raise Unsettled("an element of a set")
            return Item(sides[1], "inequality" if _is_range(sides[1]) else "value", "", symbols)
        if len(scalars) < len(sides):
            raise Unsettled("a relation between sets")
        values = [side.value for side in scalars]
        units = {side.unit for side in scalars if side.unit.text}
        if len(units) > 1:
            raise Unsettled("a relation between several units")
        if set(operators) <= {"=", "\\approx"}:
            item = Item(equation(values), "equation" if symbols else "value", "", symbols)
        else:
            item = Item(inequality(values, operators), "inequality", "", symbols)
        return replace(item, form=with_unit(item.form, *units)) if units else item

    def name(self) -> str:
        """Skip the left side of an assignment such as `x =`, `f(x) =`, `AB =`, and return it."""
        if self.peek().text == "\\approx" and self.peek(1).text not in ("\\neg", "("):
            if self.peek(1).type == "symbol":
                raise Unsettled("not, or like")
            self.next()
        end, depth = self.position, 0
        while depth or self.tokens[end].text not in ("=", "\\approx", *_SEPARATORS):
            depth += {"(": 1, ")": -1}.get(self.tokens[end].text, 0)
            if self.tokens[end].type == "end":
                return ""
            end += 1
        if self.tokens[end].text not in ("=", "\\approx") or end == self.position:
            return ""
        left = self.tokens[self.position : end]
        texts = [token.text for token in left]
        if not _is_name(left, texts) or texts in (["e"], ["i"]):
            return ""
        if len(texts) > 2 and texts[1] == "_" and ":" not in texts:
            if _PLACES & set(texts):
                return ""
            self.position = end + 1
            return f"{texts[0]}_{{{' '.join(texts[2:]).strip('{ }')}}}"
        self.position = end + 1
        return "".join(texts)

    def listed(self, *closers: str) -> tuple[Form, ...]:
        """Items up to one of the closing tokens."""
        outer, self.separators = self.separators, []
        items = self.items()
        if any(item.sort in ("named", "inequality") for item in items):
            raise Unsettled("a relation inside brackets")
        if set(self.separators) - {","}:
            raise Unsettled("words inside brackets")
        self.separators = outer
        self.expect(*closers)
        return tuple(item.form for item in items)

    def braces(self) -> Form:
        """A set in braces, the first of which is read."""
        if self.peek().text == "\\}":
            self.next()
            return Collection(())
        if self.skip_condition():
            item = self.item()
            self.expect("\\}")
            if item.sort != "inequality":
                raise Unsettled("a set of all numbers with some property")
            return item.form
        return collect(self.listed("\\}"))

    def skip_condition(self) -> bool:
        """Skip the `x |` of a set of all x with a property."""
        for middle in ([], ["\\in", "\\R"], ["\\in", "\\mathbb", "{", "R", "}"]):
            texts = [t.text for t in self.tokens[self.position + 1 :][: len(middle) + 1]]
            if self.peek().type == "symbol" and texts in ([*middle, "|"], [*middle, ":"]):
                self.position += len(texts) + 1
                return True
        return False


def _alone(item: Item) -> Form:
    """The only item of an answer; a name counts where it says which value is which."""
    form, name = item.form, item.name
    if name.startswith("(") and isinstance(form, Row):
        names = name[1:-1].split(",")
        if len(names) == len(form.items) and len(set(names)) == len(names):
            return name_values(list(zip(names, form.items, strict=True)))
    return Named((name,), (form,)) if ":" in name else form


def _joined(forms: list[Form], joints: set[str]) -> Form:
    """Several inequalities in one unknown; those listed hold at once, if they can."""
    if joints >= {"and", "or"}:
        raise Unsettled("and beside or")
    sets = [ranges.spans_of(form) for form in forms]
    every = [span for spans in sets for span in spans]
    if "or" in joints:
        return ranges.form_of(ranges.unite(every))
    shared = ranges.REALS
    for spans in sets:
        shared = ranges.intersect(shared, spans)
    return ranges.form_of(shared or (() if "and" in joints else ranges.unite(every)))


def _listed(items: list[Item]) -> Form:
    """Values in a list: named, of several things, or a set."""
    forms = [item.form for item in items]
    # x_1 = 2, x_2 = 3 are two values of x.
    names = [item.name.partition("_")[0] for item in items]
    if "" not in names and len(set(names)) == len(names):
        return name_values([(item.name, item.form) for item in items])
    if len(set(names) - {""}) > 1 or (not names[0] and set(names) != {""}):
        raise Unsettled("values of several unknowns")
    things = [form.unit.name if isinstance(form, Scalar) else "" for form in forms]
    if len(set(things) - {""}) > 1:
        if "" in things or len(set(things)) < len(things):
            raise Unsettled("quantities of which some are alike")
        return name_values(list(zip(things, forms, strict=True)))
    return collect(forms)


def _has_unit(form: Form) -> bool:
    return isinstance(form, Scalar) and form.unit != NO_UNIT


def _is_range(form: Form) -> bool:
    try:
        return bool(ranges.spans_of(form))
    except Unsettled:
        return False


def _mentions(name: str, sides: list[Form]) -> bool:
    """Whether a side is about what is being defined: a_n of a_{n-1}, f(x) of f(x-1)."""
    symbols = {
        symbol for side in sides if isinstance(side, Scalar) for symbol in side.value.symbols
    }
    if name in symbols:
        return True
    if "_" in name:
        head = name.partition("_")[0]
        return any(symbol.partition("_")[0] == head and "_" in symbol for symbol in symbols)
    return name[1:2] == "(" and name[0] in symbols


def _is_name(left: list[Token], texts: list[str]) -> bool:
    """Whether the tokens before an equals sign only name what follows."""
    plain = not _PLACES & set(texts)
    if ":" in texts:
        if any(token.type == "command" and token.text not in _IN_RATIOS for token in left):
            return False
        numbers = [i for i, token in enumerate(left) if token.type == "number"]
        return plain and all(texts[i - 1] in ("_", "{") for i in numbers if i) and 0 not in numbers
    if len(left) == 1:
        return left[0].type in ("symbol", "word") or texts[0] in GREEK
    called = left[0].type == "symbol" and texts[1] == "(" and texts[-1] == ")"
    head = called and (texts[0] in _FUNCTIONS or (len(texts) == 4 and texts[2] != texts[0]))
    inside = any(token.type == "symbol" for token in left[2:])
    joined = "".join(texts)
    if head and inside and not plain:
        raise Unsettled("a function at some place beside its argument")
    return (
        all(token.type == "word" for token in left)
        or all(token.type == "symbol" and token.text.isupper() for token in left)
        or (texts[0] in ("\\angle", "\\triangle", "\\overline") and plain)
        or (len(texts) == 4 and texts[0] in FONTS | ACCENTS)
        or (texts[1] == "_" and _is_subscript(texts[2:]))
        or (len(texts) > 3 and head)
        or (len(texts) > 3 and texts[:2] == ["m", "\\angle"] and plain)
        or joined.startswith(("f^{-1}(", "g^{-1}(", "h^{-1}(", "f'(", "f''("))
        or (len(texts) > 4 and texts[0] == "(" and texts[2] == "," and texts[-1] == ")")
    )


def _is_subscript(texts: list[str]) -> bool:
    return len(texts) == 1 or (texts[:1] == ["{"] and texts[-1] == "}" and texts.count("}") == 1)
