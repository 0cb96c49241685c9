"""The smallest parts of expressions: numbers, names, brackets, matrices.

The reader of an answer is one object in four layers, because each layer reads parts by the ones
above it: `Primaries`, `Factors`, `Expressions` and the parser in `grammar.py`. A token that begins
a primary is a row of `readers`, so that another command is another row.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from serl_trl.answers.math import algebra, functions, numbers
from serl_trl.answers.math.algebra import Value, number
from serl_trl.answers.math.cursor import Cursor
from serl_trl.answers.math.forms import Collection, Form, Interval, Matrix, Row, Scalar, collect
from serl_trl.answers.math.lexer import Token
from serl_trl.answers.math.ranges import INFINITY
from serl_trl.answers.math.values import Unsettled
from serl_trl.answers.math.vocabulary import ACCENTS, FONTS, GREEK

# Deeper than answers are, and far from Python's own limit.
_MAX_DEPTH = 24
_MAX_SUBSCRIPT = 6
_SIGNS = ("+", "-", "\\pm", "\\mp")
_REALS = Row((Scalar(-INFINITY), Scalar(INFINITY)))
_CONSTANTS: dict[str, Form] = {
    "\\pi": Scalar(algebra.PI),
    "\\infty": Scalar(INFINITY),
    "\\emptyset": Collection(()),
    "\\R": _REALS,
}
_LETTERS = {"e": algebra.EULER, "i": algebra.UNIT_I}
_MATRICES = [f"\\begin{{{kind}matrix}}" for kind in ("", "p", "b", "B", "small")]


class Primaries(Cursor, ABC):
    """What stands between operators; `sign` says which reading of a plus-minus sign this is."""

    readers: ClassVar[dict[str, Callable[[Any, str], Form]]]

    def __init__(self, tokens: Sequence[Token], *, sign: int) -> None:
        super().__init__(tokens)
        self.sign = sign
        self.depth = 0
        self.open_bars = 0
        self.separators: list[str] = []

    @abstractmethod
    def expression(self) -> Form:
        """Terms joined by plus and minus."""

    @abstractmethod
    def listed(self, *closers: str) -> tuple[Form, ...]:
        """Items up to one of the closing tokens."""

    def signs(self) -> int:
        """Skip plus and minus signs, and multiply them."""
        sign = 1
        while self.peek().text in _SIGNS:
            sign *= dict(zip(_SIGNS, (1, -1, self.sign, -self.sign), strict=True))[self.next().text]
        return sign

    def primary(self, *, lone: bool = False) -> Form:
        """The smallest expression; `lone` reads one token only, as LaTeX does after `\\frac`."""
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise Unsettled("nested too deeply")
        token = self.next()
        if token.type == "number":
            form: Form = Scalar(self.mixed(token, lone=lone))
        elif token.type == "repeating":
            form = Scalar(number(numbers.repeating(token.text)))
        elif token.type == "symbol" or (token.type == "word" and len(token.text) == 1):
            form = self.symbol(token.text)
        elif token.text in self.readers:
            form = self.readers[token.text](self, token.text)
        else:
            raise Unsettled(f"no expression begins with {token.text!r}")
        self.depth -= 1
        return form

    def argument(self) -> Value:
        """An argument in braces, or a single token; of `\\frac43` each digit is one."""
        token = self.peek()
        if token.type == "number" and len(token.text) > 1 and token.text.isdecimal():
            # LaTeX reads \frac43 as 4/3: one digit for each argument.
            self.tokens[self.position] = Token("number", token.text[1:])
            return number(int(token.text[0]))
        if token.text == "-":
            raise Unsettled("a sign as an argument")
        return value_of(self.primary(lone=True))

    def mixed(self, token: Token, *, lone: bool) -> Value:
        """A number; directly before a fraction of integers it is the whole part of both."""
        value = number(numbers.plain(token.text))
        # As many as a fraction in braces has: \frac{1}{2}.
        texts = self.texts(8)
        # 2 1/2 and 2\frac12 are mixed numbers, 2.5 1/2 and x 1/2 are products.
        if lone or not token.text.isdecimal():
            return value
        if texts[:1] == ["\\frac"] and numbers.is_plain_fraction(texts[1:]):
            self.next()
            return value + self.argument() / self.argument()
        slashed = texts[1:2] == ["/"] and texts[0].isdecimal() and "".join(texts[2:3]).isdecimal()
        if slashed and self.peek().spaced:
            self.position += 3
            return value + number(numbers.plain(texts[0])) / number(numbers.plain(texts[2]))
        return value

    def symbol(self, name: str) -> Form:
        """A name with its subscript or primes."""
        if self.skip("_"):
            return Scalar(algebra.symbol(f"{name}_{{{' '.join(self.subscript())}}}"))
        while self.skip("'"):
            name += "'"
        return Scalar(_LETTERS.get(name) or algebra.symbol(name))

    def subscript(self) -> list[str]:
        """The texts of a subscript: one token, or those in braces."""
        if not self.skip("{"):
            return [self.next().text]
        parts: list[str] = []
        while not self.skip("}"):
            parts.append(self.next().text)
            if parts[-1] in ("", "{") or len(parts) > _MAX_SUBSCRIPT:
                raise Unsettled("a subscript without an end")
        return parts

    def dressed(self, name: str) -> Form:
        """A symbol in some font or with an accent; unit vectors are one however they are set."""
        letters = self.texts(9)
        inner = self.argument()
        unit = inner.text.removeprefix("\\mathbf{").removesuffix("}")
        if unit in ("i", "j", "k") and name not in ("\\bar", "\\overline"):
            return Scalar(algebra.symbol(f"\\mathbf{{{unit}}}"))
        if name in ("\\vec", "\\overrightarrow") and letters[0] == "{" and letters[2] != "}":
            # From A to B is not from B to A.
            between = "".join(letters[1 : letters.index("}")])
            return Scalar(algebra.symbol(f"\\vec{{{between}}}"))
        return Scalar(inner if name in FONTS else algebra.symbol(f"{name}{{{inner.text}}}"))

    def group(self, _: str) -> Form:
        """What braces hold together; `\\over` and `\\choose` stand inside them."""
        items = self.listed("}", "\\over", "\\choose")
        closed = self.tokens[self.position - 1].text
        if closed == "}":
            return items[0] if len(items) == 1 else collect(items)
        above, below = value_of(items[0]), value_of(self.listed("}")[0])
        return Scalar(above / below if closed == "\\over" else functions.binomial(above, below))

    def brackets(self, opened: str) -> Form:
        """A value, a tuple or an interval in brackets."""
        # Inside brackets a bar opens again: |(|x|)|.
        bars, self.open_bars = self.open_bars, 0
        nested = opened == "[" and self.peek().text == "["
        items = self.listed(")", "]")
        self.open_bars = bars
        closed = self.tokens[self.position - 1].text
        matching = opened + closed in ("()", "[]")
        if len(items) == 1 and matching:
            return items[0]
        # [[1, 2], [3, 4]] is how programs write a matrix.
        if nested and (rows := _rows(items)) is not None:
            return Matrix(rows)
        # (a, b) is a pair, which is also how an open interval is written.
        if len(items) == 2 and opened + closed != "()":
            return Interval(items[0], items[1], opened == "[", closed == "]")
        if len(items) > 1 and matching:
            return Row(items)
        raise Unsettled("brackets that do not match")

    def between(self, opened: str) -> Form:
        """An absolute value, or a number rounded down or up."""
        self.open_bars += opened == "|"
        inner = value_of(self.expression())
        self.expect("|" if opened == "|" else f"\\r{opened[2:]}")
        self.open_bars -= opened == "|"
        if opened == "|":
            return Scalar(functions.absolute(inner))
        return Scalar(functions.round_down(inner, up=opened == "\\lceil"))

    def matrix(self, begin: str) -> Form:
        """The rows of a matrix."""
        end = begin.replace("begin", "end")
        if begin == "\\begin{array}":  # the columns come first
            self.expect("{")
            while self.next().text not in ("}", ""):
                pass
        rows: list[list[Form]] = [[]]
        while True:
            rows[-1].append(self.expression())
            text = self.next().text
            if text == end or (text == "\\\\" and self.skip(end)):
                return Matrix(tuple(map(tuple, rows)))
            if text == "\\\\":
                rows.append([])
            elif text != "&":
                raise Unsettled("a matrix without an end")

    def real_numbers(self, _: str) -> Form:
        """The set R in its own font."""
        if self.skip("{", "R", "}"):
            return _REALS
        raise Unsettled("another set in this font")


Primaries.readers = {
    **dict.fromkeys(GREEK, Primaries.symbol),
    **dict.fromkeys(FONTS | ACCENTS, Primaries.dressed),
    **dict.fromkeys(_CONSTANTS, lambda _, name: _CONSTANTS[name]),
    **dict.fromkeys(("(", "["), Primaries.brackets),
    **dict.fromkeys(("|", "\\lfloor", "\\lceil"), Primaries.between),
    **dict.fromkeys((*_MATRICES, "\\begin{array}"), Primaries.matrix),
    "{": Primaries.group,
    "\\langle": lambda self, _: Row(self.listed("\\rangle")),
    "\\mathbb": Primaries.real_numbers,
}


def value_of(form: Form) -> Value:
    """The value of a number or an expression; raises `Unsettled` for other forms."""
    if not isinstance(form, Scalar):
        raise Unsettled("arithmetic with sets or tuples")
    return form.value


def _rows(items: tuple[Form, ...]) -> tuple[tuple[Form, ...], ...] | None:
    """Lists in square brackets as rows of a matrix."""
    rows = [
        (i.low, i.high) if isinstance(i, Interval) else i.items if isinstance(i, Row) else ()
        for i in items
    ]
    return tuple(rows) if len({len(row) for row in rows}) == 1 and rows[0] else None
