"""Tokens of a mathematical answer to its form: a recursive descent over what answers look like."""

import re
from collections.abc import Sequence
from dataclasses import replace
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
    with_unit,
)
from serl_trl.answers.math.items import Item, join_items
from serl_trl.answers.math.lexer import END, Token
from serl_trl.answers.math.measures import NO_UNIT, Unit
from serl_trl.answers.math.names import SEPARATORS, mentions, read_name
from serl_trl.answers.math.prose import keep_unread, normal, ratio, read_words
from serl_trl.answers.math.relations import ORDERS, equation, inequality, solved
from serl_trl.answers.math.respelled import exceptions, respell
from serl_trl.answers.math.systems import read_system
from serl_trl.answers.math.values import Unsettled
from serl_trl.answers.math.vocabulary import RELATIONS, SENSES, VECTORS

# Longer answers are compared as they stand: no final answer that is mathematics is so long.
MAX_CHARS = 600
# Most answers are such numbers, and most of a vote's time would go into cutting them up.
_PLAIN = re.compile(r"-?(?:[1-9]\d{0,2}(?:,\d{3}){1,5}|\d{1,20})(?:\.\d{1,6})?")
# The other errors would be bugs; one on some odd text may cost an answer, but not the run.
_NOT_READ = (ValueError, ArithmeticError, LookupError, RecursionError)


def parse(answer: str) -> Form:
    """Read an answer; never raises: what is not understood stays words or a formula."""
    if _PLAIN.fullmatch(answer):
        return Scalar(algebra.number(Fraction(answer.replace(",", ""))))
    # White space aside, so that a line break costs no vote.
    if len(answer) > MAX_CHARS:
        return Words(" ".join(answer.split()))
    text = respell(latex.clean(answer))
    # Words first: "3 in 4" would be read as 3 inches 4.
    special = read_words(text)
    if special is not None:
        return special
    tokens = latex.tokens(text)
    try:
        form = _read(tokens)
    except _NOT_READ:
        return keep_unread(text, tokens)
    currency = latex.currency(answer)
    return with_unit(form, Unit(currency)) if currency else form


# A vote reads an answer again for each answer that it is compared with.
@lru_cache(maxsize=8_192)
def read(answer: str) -> Form:
    """Parse an answer, remembering the last ones."""
    return parse(answer)


def _read(tokens: list[Token]) -> Form:
    tokens = exceptions(tokens)
    texts = {token.text for token in tokens}
    # Numbers commute, vectors under a cross do not.
    if "\\times" in texts and texts & VECTORS:
        raise Unsettled("a product of vectors, in which the order matters")
    if (system := read_system(tokens, _read_item)) is not None:
        return system
    plus = _Parser(tokens, sign=1).parse()
    if not texts & {"\\pm", "\\mp"}:
        return plus
    # Both readings of a plus-minus sign, as one set.
    parts: list[Form] = []
    for form in (plus, _Parser(tokens, sign=-1).parse()):
        parts += form.items if isinstance(form, Collection) else [form]
    if not all(isinstance(part, Scalar | Row | Named) for part in parts):
        raise Unsettled("a plus-minus sign outside numbers and tuples")
    return collect(parts)


def _read_item(tokens: Sequence[Token]) -> Item:
    """Read a row or a cell of a system; one that is not read stays as it is written."""
    parser = _Parser([*tokens, END], sign=1)
    try:
        item = parser.item()
        parser.expect("")
    except _NOT_READ:
        return Item(Words(normal(tokens)), "equation")
    return item


class _Parser(Expressions):
    """Reads an answer as a whole."""

    def parse(self) -> Form:
        """Read everything; raises `Unsettled`."""
        items = self.items()
        self.expect("")
        return join_items(items, self.separators)

    def items(self) -> list[Item]:
        """Items up to a closing token."""
        items = []
        while True:
            items.append(self.item())
            separator = ""
            while self.peek().text in SEPARATORS:
                separator = SEPARATORS[self.next().text]
            form = items[-1].form
            # 5 feet 3 inches: a number behind a unit begins another item.
            has_unit = isinstance(form, Scalar) and form.unit != NO_UNIT
            if not separator and not (has_unit and self.peek().type == "number"):
                return items
            self.separators.append(separator or "and")

    def item(self) -> Item:
        """An expression, an assignment to a name, an equation or an inequality."""
        name = read_name(self)
        sides, operators = [self.side()], []
        if not name and self.peek().text == ":":
            sides = [self.ratio(sides[0])]
        while self.peek().text in RELATIONS or self.peek().text == "\\in":
            operators.append(self.next().text)
            sides.append(self.side())
        if name and ":" in name and self.peek().text == ":" and not operators:
            return Item(self.ratio(sides[0]), "named", name)
        if name:
            return self.assignment(name, sides, operators)
        return self.relation(sides, operators) if operators else Item(sides[0])

    def assignment(self, name: str, sides: list[Form], operators: list[str]) -> Item:
        """A value with its name, or an equation that looked like one."""
        if set(operators) - {"=", "\\approx"}:
            raise Unsettled("a name in an inequality")
        if mentions(name, sides):
            if "(" in name:
                raise Unsettled("a function that is defined by itself")
            return self.relation([Scalar(algebra.symbol(name)), *sides], ["=", *operators])
        value = sides[0] if operators[-1:] == ["\\approx"] else sides[-1]
        if (sense := SENSES.get(name.lower())) is not None:  # increase = 5
            return Item(with_unit(value, Unit(sense=sense)))
        return Item(solved(name, value), "named", name, frozenset({name}))

    def side(self) -> Form:
        """One side of a relation; none before a sign that begins an item, as in `> 5`."""
        begins = self.peek().text in ORDERS or self.peek().text == "\\ne"
        return Scalar(algebra.symbol("\\square")) if begins else self.expression()

    def ratio(self, first: Form) -> Form:
        """Numbers with colons between them."""
        begin, parts = self.position - 1, [first]
        while self.skip(":"):
            parts.append(self.expression())
        written = [t.text for t in self.tokens[begin : self.position] if t.text != ":"]
        return ratio(parts, written)

    def relation(self, sides: list[Form], operators: list[str]) -> Item:
        """An equation, an inequality, or a value that is only said to be near or within another."""
        scalars = [side for side in sides if isinstance(side, Scalar)]
        symbols = frozenset(name for side in scalars for name in side.value.symbols)
        if operators == ["\\in"] or operators[0] == "\\approx":
            return _loose_relation(sides, operators[0], symbols)
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

    def listed(self, *closers: str) -> tuple[Form, ...]:
        """Items up to one of the closing tokens."""
        # Separators inside brackets say nothing about those outside.
        outer, self.separators = self.separators, []
        items = self.items()
        if any(item.sort in ("named", "inequality") for item in items):
            raise Unsettled("a relation inside brackets")
        if set(self.separators) - {","}:
            raise Unsettled("words inside brackets")
        self.separators = outer
        self.expect(*closers)
        return tuple(item.form for item in items)

    def braces(self, _: str) -> Form:
        """A set in braces, the first of which is read."""
        if self.skip("\\}"):
            return Collection(())
        if not self.skip_condition():
            return collect(self.listed("\\}"))
        item = self.item()
        self.expect("\\}")
        if item.sort != "inequality":
            raise Unsettled("a set of all numbers with some property")
        return item.form

    def skip_condition(self) -> bool:
        """Skip the `x |` of a set of all x with a property."""
        for middle in ([], ["\\in", "\\R"], ["\\in", "\\mathbb", "{", "R", "}"]):
            texts = self.texts(len(middle) + 2)[1:]
            if self.peek().type == "symbol" and texts in ([*middle, "|"], [*middle, ":"]):
                self.position += len(texts) + 1
                return True
        return False


_Parser.readers = Expressions.readers | {"\\{": _Parser.braces}


def _loose_relation(sides: Sequence[Form], operator: str, symbols: frozenset[str]) -> Item:
    """What is about a value, or an element of a set."""
    left, right = sides[:2]
    lone = isinstance(left, Scalar) and left.text in symbols
    if operator == "\\approx":
        if isinstance(right, Scalar) and right.value.symbols:
            raise Unsettled("something like an expression")
        return Item(right if lone else left)
    if not lone or isinstance(right, Scalar):
        raise Unsettled("an element of a set")
    return Item(right, "inequality" if _is_range(right) else "value", "", symbols)


def _is_range(form: Form) -> bool:
    try:
        return bool(ranges.spans_of(form))
    except Unsettled:
        return False
