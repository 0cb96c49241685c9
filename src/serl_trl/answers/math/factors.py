"""Primaries with what belongs to them: arguments of functions, powers, factorials, degrees."""

from collections.abc import Callable

from serl_trl.answers.math import algebra, functions
from serl_trl.answers.math.algebra import Value, number
from serl_trl.answers.math.forms import Form, Scalar
from serl_trl.answers.math.lexer import Token
from serl_trl.answers.math.measures import Unit
from serl_trl.answers.math.primaries import Primaries, value_of
from serl_trl.answers.math.values import Unsettled
from serl_trl.answers.math.vocabulary import ACCENTS, COMPASS, FONTS, GREEK, TRIGONOMETRIC

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
_CHOICES = ("\\gcd", "\\lcm", "\\max", "\\min")
_BEGINNINGS = FUNCTIONS | GREEK | FONTS | ACCENTS
_BEGINNINGS |= {"\\frac", "\\sqrt", "\\pi", "\\binom", "\\infty", "\\lfloor", "\\lceil"}
# A degree sign is set as a power, by people who have no other also as a letter o.
_DEGREES = (("^", "\\circ"), ("^", "{", "\\circ", "}"), ("^", "o"), ("^", "{", "o", "}"))


class Factors(Primaries):
    """Reads what multiplication joins."""

    # Degrees inside a trigonometric function are numbers; elsewhere they are a unit.
    in_angle = False

    def starts_factor(self, token: Token) -> bool:
        """Whether a token begins another factor."""
        if token.text == "|":
            return not self.open_bars
        if token.type in ("number", "repeating", "symbol"):
            # Behind an interval this letter is a union.
            return not (token.text in "Uu" and self.tokens[self.position - 1].text in (")", "]"))
        if token.type == "sign":
            return token.text in ("(", "[", "{")
        return token.type == "command" and (
            token.text in _BEGINNINGS or token.text.startswith("\\begin{")
        )

    def factor(self) -> Form:
        """A primary with what may follow it: factorial, percent, degrees, a power."""
        base = self.primary()
        while (longer := self.suffix(base)) is not None:
            base = longer
        return base

    def suffix(self, base: Form) -> Form | None:
        """One thing that may follow a primary; `None` where nothing does."""
        if self.skip("!"):
            if self.peek().text == "!":
                raise Unsettled("a double factorial")
            return Scalar(functions.factorial(value_of(base)))
        if self.skip("%"):
            return Scalar(value_of(base) / number(100))
        if any(self.skip(*form) for form in _DEGREES) or self.skip("\\circ"):
            return self.degrees(base)
        if not self.skip("^"):
            return None
        exponent = self.exponent()
        if self.skip("^"):
            exponent = functions.power(exponent, self.exponent())
        return Scalar(functions.power(value_of(base), exponent))

    def degrees(self, base: Form) -> Form:
        """Degrees of an angle, or of temperature."""
        if self.in_angle:
            return Scalar(value_of(base) * algebra.PI / number(180))
        if self.peek().text in COMPASS and self.peek(1).type == "end":
            return Scalar(value_of(base), Unit("°", sense=COMPASS[self.next().text]))
        scale = self.next().text if self.peek().text in ("C", "F") else ""
        return Scalar(value_of(base), Unit(f"°{scale}"))

    def exponent(self) -> Value:
        """What stands behind a power sign."""
        sign = self.signs()
        if self.peek().type == "word":
            raise Unsettled("a word in an exponent")
        return value_of(self.primary(lone=self.peek().text not in ("{", "("))) * number(sign)

    def quotient(self, name: str) -> Form:
        """A fraction or a binomial coefficient, each of two arguments."""
        above, below = self.argument(), self.argument()
        return Scalar(above / below if name == "\\frac" else functions.binomial(above, below))

    def root(self, _: str) -> Form:
        """A root with its degree."""
        degree = number(2)
        if self.skip("["):
            degree = value_of(self.expression())
            self.expect("]")
        # Models write \sqrt10 and mean ten; one digit, as LaTeX reads it, is never meant.
        inner = value_of(self.primary(lone=self.peek().text != "("))
        known = degree.rational
        if known is None or known.denominator != 1 or not 1 < known <= functions.MAX_ROOT:
            raise Unsettled("a root of this degree")
        return Scalar(functions.root(inner, int(known)))

    def among(self, name: str) -> Form:
        """The greatest or smallest of a list, its divisor or multiple."""
        self.expect("(", "\\{")
        return Scalar(functions.among(name, [value_of(i) for i in self.listed(")", "\\}")]))

    def function(self, name: str) -> Form:
        """A function with its argument: in brackets, or the factors up to a plus or minus."""
        base = self.argument() if self.skip("_") else None
        degree = self.exponent() if self.skip("^") else None
        # sin^{-1} x is the inverse, sin^2 x the square.
        if degree is not None and degree.text == "-1" and name in _INVERSES:
            name, degree = _INVERSES[name], None
        outer, self.in_angle = self.in_angle, name in TRIGONOMETRIC
        value = self.applied()
        self.in_angle = outer
        if base is not None and name != "\\log":
            raise Unsettled("a function with a subscript")
        if base is not None:
            result = functions.logarithm(value, base)
        else:
            result = _EXACT[name](value) if name in _EXACT else functions.call(name, value)
        return Scalar(result if degree is None else functions.power(result, degree))

    def applied(self) -> Value:
        """The argument of a function."""
        if self.peek().text in ("(", "["):
            return value_of(self.primary())
        sign = self.signs()
        value = value_of(self.factor()) * number(sign)
        # sin 2x cos y: factors belong to the sine up to the next function or bracket.
        while self.starts_factor(self.peek()) and self.peek().text not in {"(", "["} | FUNCTIONS:
            value = value * value_of(self.factor())
        return value


Factors.readers = Primaries.readers | {
    **dict.fromkeys(FUNCTIONS, Factors.function),
    **dict.fromkeys(_CHOICES, Factors.among),
    **dict.fromkeys(("\\frac", "\\binom"), Factors.quotient),
    "\\sqrt": Factors.root,
}
