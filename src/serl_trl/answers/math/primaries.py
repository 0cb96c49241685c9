"""The smallest parts of expressions: numbers, names, functions, brackets, matrices."""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from fractions import Fraction

from serl_trl.answers.math import algebra, functions
from serl_trl.answers.math.algebra import Value, number
from serl_trl.answers.math.cursor import Cursor
from serl_trl.answers.math.forms import Collection, Form, Interval, Matrix, Row, Scalar, collect
from serl_trl.answers.math.lexer import Token
from serl_trl.answers.math.ranges import INFINITY
from serl_trl.answers.math.values import Unsettled
from serl_trl.answers.math.vocabulary import ACCENTS, FONTS, GREEK, TRIGONOMETRIC

_MAX_DEPTH = 24
_REALS = Row((Scalar(-INFINITY), Scalar(INFINITY)))
_INVERSES = {"\\sin": "\\arcsin", "\\cos": "\\arccos", "\\tan": "\\arctan"}
_EXACT: dict[str, Callable[[Value], Value]] = {
    "\\sin": functions.sine,
    "\\cos": functions.cosine,
    "\\tan": functions.tangent,
    "\\cot": lambda value: functions.cosine(value) / functions.sine(value),
    "\\sec": lambda value: number(1) / functions.cosine(value),
    "\\csc": lambda value: number(1) / functions.sine(value),
    "\\arcsin": lambda value: functions.inverse("\\arcsin", value),
    "\\arccos": lambda value: functions.inverse("\\arccos", value),
    "\\arctan": lambda value: functions.inverse("\\arctan", value),
    "\\exp": lambda value: functions.power(algebra.EULER, value),
    "\\ln": functions.logarithm,
    "\\log": functions.logarithm,
    "\\lg": lambda value: functions.logarithm(value, number(10)),
}
FUNCTIONS = TRIGONOMETRIC | _EXACT.keys() | {"\\sinh", "\\cosh", "\\tanh"}
_MATRICES = {f"{kind}matrix" for kind in ("", "p", "b", "B", "small")} | {"array"}


class Primaries(Cursor, ABC):
    """What stands between operators; `sign` says which reading of a plus-minus sign this is."""

    def __init__(self, tokens: list[Token], *, sign: int) -> None:
        super().__init__(tokens)
        self.sign = sign
        self.depth = 0
        self.open_bars = 0
        self.in_angle = False
        self.separators: list[str] = []

    @abstractmethod
    def expression(self) -> Form:
        """Terms joined by plus and minus."""

    @abstractmethod
    def factor(self) -> Form:
        """A primary with what may follow it."""

    @abstractmethod
    def listed(self, *closers: str) -> tuple[Form, ...]:
        """Items up to one of the closing tokens."""

    @abstractmethod
    def braces(self) -> Form:
        """A set in braces, the first of which is read."""

    @abstractmethod
    def starts_factor(self, token: Token) -> bool:
        """Whether a token begins another factor."""

    def signs(self) -> int:
        """Skip plus and minus signs, and multiply them."""
        sign = 1
        while self.peek().text in ("+", "-", "\\pm", "\\mp"):
            sign *= {"+": 1, "-": -1, "\\pm": self.sign, "\\mp": -self.sign}[self.next().text]
        return sign

    def exponent(self) -> Value:
        """What stands behind a power sign."""
        sign = self.signs()
        if self.peek().text in ("{", "("):
            return value_of(self.primary()) * number(sign)
        if self.peek().type == "word":
            raise Unsettled("a word in an exponent")
        return value_of(self.primary(lone=True)) * number(sign)

    def primary(self, *, lone: bool = False) -> Form:
        """The smallest expression; `lone` reads one token only, as LaTeX does after `\\frac`."""
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise Unsettled("nested too deeply")
        form = self.open_primary(lone)
        self.depth -= 1
        return form

    def open_primary(self, lone: bool) -> Form:
        """The smallest expression, one level deeper."""
        token = self.next()
        if token.type == "number":
            return Scalar(self.mixed(token, lone))
        if token.type == "repeating":
            return Scalar(number(_repeating(token.text)))
        if token.type == "symbol" or (token.type == "word" and len(token.text) == 1):
            return Scalar(self.symbol(token.text))
        match token.text:
            case "(" | "[":
                return self.brackets(token.text)
            case "\\langle":
                return Row(self.listed("\\rangle"))
            case "\\{":
                return self.braces()
            case "{":
                items = self.listed("}", "\\over", "\\choose")
                closed = self.tokens[self.position - 1].text
                if closed != "}":
                    above, below = value_of(items[0]), value_of(self.listed("}")[0])
                    return Scalar(
                        above / below if closed == "\\over" else functions.binomial(above, below)
                    )
                return items[0] if len(items) == 1 else collect(items)
            case "|":
                self.open_bars += 1
                inner = value_of(self.expression())
                self.expect("|")
                self.open_bars -= 1
                return Scalar(functions.absolute(inner))
            case "\\lfloor" | "\\lceil":
                inner = value_of(self.expression())
                self.expect("\\r" + token.text[2:])
                return Scalar(functions.round_down(inner, up=token.text == "\\lceil"))
        if token.type == "command":
            return self.command(token.text)
        raise Unsettled(f"{token.text!r} starts no expression")

    def command(self, name: str) -> Form:
        """What a command begins."""
        if name in GREEK:
            return Scalar(self.symbol(name))
        if name in FUNCTIONS:
            return Scalar(self.function(name))
        if name in FONTS | ACCENTS:
            return Scalar(self.dressed(name))
        if name in ("\\gcd", "\\lcm", "\\max", "\\min"):
            self.expect("(", "\\{")
            values = [value_of(item) for item in self.listed(")", "\\}")]
            return Scalar(functions.among(name, values))
        match name:
            case "\\frac":
                above, below = self.argument(), self.argument()
                return Scalar(above / below)
            case "\\binom":
                above, below = self.argument(), self.argument()
                return Scalar(functions.binomial(above, below))
            case "\\sqrt":
                return Scalar(self.root())
            case "\\pi":
                return Scalar(algebra.PI)
            case "\\infty":
                return Scalar(INFINITY)
            case "\\emptyset":
                return Collection(())
            case "\\R":
                return _REALS
            case "\\mathbb" if [t.text for t in self.tokens[self.position :][:3]] == list("{R}"):
                self.position += 3
                return _REALS
        if name.startswith("\\begin{") and name[7:-1] in _MATRICES:
            return self.matrix(name[7:-1])
        raise Unsettled(f"{name} is not read here")

    def dressed(self, name: str) -> Value:
        """A symbol in some font or with an accent; unit vectors are one however they are set."""
        letters = [token.text for token in self.tokens[self.position :][:9]]
        inner = self.argument()
        unit = inner.text.removeprefix("\\mathbf{").removesuffix("}")
        if unit in ("i", "j", "k") and name not in ("\\bar", "\\overline"):
            return algebra.symbol(f"\\mathbf{{{unit}}}")
        if name in ("\\vec", "\\overrightarrow") and letters[0] == "{" and letters[2] != "}":
            # From A to B is not from B to A.
            return algebra.symbol(f"\\vec{{{''.join(letters[1 : letters.index('}')])}}}")
        return inner if name in FONTS else algebra.symbol(f"{name}{{{inner.text}}}")

    def symbol(self, name: str) -> Value:
        """A name with its subscript or primes."""
        if self.peek().text == "_":
            self.next()
            opened = self.peek().text == "{"
            parts = []
            if opened:
                self.next()
                while self.peek().text != "}":
                    parts.append(self.next().text)
                    if parts[-1] in ("", "{") or len(parts) > 6:
                        raise Unsettled("a subscript without an end")
                self.next()
            else:
                parts.append(self.next().text)
            return algebra.symbol(f"{name}_{{{' '.join(parts)}}}")
        while self.peek().text == "'":
            name += self.next().text
        if name == "e":
            return algebra.EULER
        return algebra.UNIT_I if name == "i" else algebra.symbol(name)

    def mixed(self, token: Token, lone: bool) -> Value:
        """A number; directly before a fraction of integers it is the whole part of both."""
        value = number(_decimal(token.text))
        following = self.tokens[self.position : self.position + 8]
        texts = [t.text for t in following]
        if lone or not token.text.isdecimal():
            return value
        if texts[0] == "\\frac" and _is_plain_fraction(texts[1:]):
            self.next()
            return value + self.argument() / self.argument()
        if (
            len(texts) > 2
            and texts[1] == "/"
            and following[0].spaced
            and texts[0].isdecimal()
            and texts[2].isdecimal()
        ):
            self.position += 3
            return value + number(_decimal(texts[0])) / number(_decimal(texts[2]))
        return value

    def argument(self) -> Value:
        """An argument in braces, or a single token; of `\\frac43` each digit is one."""
        token = self.peek()
        if token.type == "number" and len(token.text) > 1 and token.text.isdecimal():
            self.tokens[self.position] = Token("number", token.text[1:])
            return number(int(token.text[0]))
        if token.text == "-":
            raise Unsettled("a sign as an argument")
        return value_of(self.primary(lone=True))

    def root(self) -> Value:
        """A root with its degree."""
        degree = number(2)
        if self.peek().text == "[":
            self.next()
            degree = value_of(self.expression())
            self.expect("]")
        if self.peek().text == "(":
            inner = value_of(self.primary())
        else:
            # Models write \sqrt10 and mean ten; one digit, as LaTeX reads it, is never meant.
            inner = value_of(self.primary(lone=True))
        known = degree.rational
        if known is None or known.denominator != 1 or not 1 < known <= 12:
            raise Unsettled("a root of this degree")
        return functions.root(inner, int(known))

    def function(self, name: str) -> Value:
        """A function with its argument: in brackets, or the factors up to a plus or minus."""
        base, degree = None, None
        if self.peek().text == "_":
            self.next()
            base = self.argument()
        if self.peek().text == "^":
            self.next()
            degree = self.exponent()
        if degree is not None and degree.text == "-1" and name in _INVERSES:
            name, degree = _INVERSES[name], None
        outer, self.in_angle = self.in_angle, name in TRIGONOMETRIC
        value = self.applied()
        self.in_angle = outer
        if name == "\\log" and base is not None:
            result = functions.logarithm(value, base)
        elif base is not None:
            raise Unsettled("a function with a subscript")
        else:
            result = _EXACT[name](value) if name in _EXACT else functions.call(name, value)
        return result if degree is None else functions.power(result, degree)

    def applied(self) -> Value:
        """The argument of a function."""
        if self.peek().text in ("(", "["):
            return value_of(self.primary())
        sign = self.signs()
        value = value_of(self.factor()) * number(sign)
        while self.starts_factor(self.peek()) and self.peek().text not in FUNCTIONS:
            if self.peek().text in ("(", "["):
                break
            value = value * value_of(self.factor())
        return value

    def brackets(self, opened: str) -> Form:
        """A value, a tuple or an interval in brackets."""
        bars, self.open_bars = self.open_bars, 0
        nested = opened == "[" and self.peek().text == "["
        items = self.listed(")", "]")
        self.open_bars = bars
        closed = self.tokens[self.position - 1].text
        matching = (opened, closed) in (("(", ")"), ("[", "]"))
        if len(items) == 1 and matching:
            return items[0]
        if nested and (rows := _rows(items)) is not None:
            return Matrix(rows)
        if len(items) == 2 and (opened, closed) != ("(", ")"):
            return Interval(items[0], items[1], opened == "[", closed == "]")
        if len(items) > 1 and matching:
            return Row(items)
        raise Unsettled("brackets that do not match")

    def matrix(self, environment: str) -> Form:
        """The rows of a matrix."""
        if environment == "array":
            self.expect("{")
            while self.next().text not in ("}", ""):
                pass
        rows: list[list[Form]] = [[]]
        while True:
            rows[-1].append(self.expression())
            text = self.next().text
            if text == "\\\\" and self.peek().text != f"\\end{{{environment}}}":
                rows.append([])
            elif text in (f"\\end{{{environment}}}", "\\\\"):
                if text == "\\\\":
                    self.next()
                return Matrix(tuple(tuple(row) for row in rows))
            elif text not in ("&", "\\\\"):
                raise Unsettled("a matrix without an end")


def _rows(items: tuple[Form, ...]) -> tuple[tuple[Form, ...], ...] | None:
    """Lists in square brackets as rows of a matrix."""
    rows = [
        (i.low, i.high) if isinstance(i, Interval) else i.items if isinstance(i, Row) else ()
        for i in items
    ]
    return tuple(rows) if len({len(row) for row in rows}) == 1 and rows[0] else None


def value_of(form: Form) -> Value:
    """The value of a number or an expression; raises `Unsettled` for other forms."""
    if not isinstance(form, Scalar):
        raise Unsettled("arithmetic with sets or tuples")
    return form.value


def _decimal(text: str) -> Fraction:
    if len(text) > 1_200:
        raise Unsettled("a number is too long")
    return Fraction(text)


def _repeating(text: str) -> Fraction:
    """The value of `0.1\\overline{6}` or `0.\\dot{1}4\\dot{2}`: a repeating decimal."""
    plain, _, marked = text.partition("(" if "(" in text else "\\")
    whole, _, digits = plain.partition(".")
    cycle = "".join(re.findall(r"\d", marked))
    if len(text) > 1_200:
        raise Unsettled("a number is too long")
    scale = 10 ** len(digits)
    tail = Fraction(int(cycle), scale * (10 ** len(cycle) - 1))
    return Fraction(int((whole or "0") + digits), scale) + tail


def _is_plain_fraction(texts: list[str]) -> bool:
    """Whether the arguments of a `\\frac` are two whole numbers, in braces or not."""
    return bool(re.match(r"(?:\{\d+\}|\d(?=\D|\d))(?:\{\d+\}|\d+)", "".join(texts)))
