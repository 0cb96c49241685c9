"""Expressions: primaries joined by operators, and units behind them."""

import math
from fractions import Fraction

from serl_trl.answers.math import algebra, functions, ranges
from serl_trl.answers.math.algebra import Value, number
from serl_trl.answers.math.forms import Form, Matrix, Scalar
from serl_trl.answers.math.lexer import Token
from serl_trl.answers.math.measures import NO_UNIT, Unit
from serl_trl.answers.math.primaries import FUNCTIONS, Primaries, value_of
from serl_trl.answers.math.values import Unsettled
from serl_trl.answers.math.vocabulary import ACCENTS, COMPASS, FONTS, GREEK

_NO_FACTORS = ("number", "symbol")


class Expressions(Primaries):
    """Reads values, sets and matrices."""

    def expression(self) -> Form:
        """Terms joined by plus and minus, or sets joined by unions and gaps."""
        sign, begin = self.signs(), self.position
        left = self.term()
        if not isinstance(left, Scalar):
            if sign != 1:
                raise Unsettled("a sign before a set")
            return self.sets(left)
        total, unit = left.value * number(sign), left.unit
        while self.peek().text in ("+", "-", "\\pm", "\\mp"):
            sign, unit = self.signs(), NO_UNIT
            total = total + value_of(self.term()) * number(sign)
        written = self.tokens[begin]
        if self.position == begin + 1 and written.type == "number":
            total = number(rounded(written.text)) * number(sign)
        return Scalar(total, unit)

    def sets(self, left: Form) -> Form:
        """Sets of numbers, joined, met or with gaps."""
        while (sign := self.peek().text) in ("\\cup", "U", "u", "\\cap", "\\setminus", "-"):
            self.next()
            if sign == "-" and self.peek().text != "\\{":
                raise Unsettled("a number taken from a set")
            left = ranges.combine(left, sign, self.term())
        return left

    def term(self) -> Form:
        """Factors, written with or without an operator between them, and a unit at the end."""
        left = self.factor()
        while True:
            token = self.peek()
            if token.text in ("*", "\\times", "/") and self.peek(1).type != "word":
                operator = self.next().text
                sign = self.signs()
                right = value_of(self.factor()) * number(sign)
                left = value_of(left)
                left = Scalar(left / right if operator == "/" else left * right)
            elif token.text in ("and", "or"):
                return left
            elif token.type == "word" or self.at_unit_fraction() or self.at_bracketed_unit():
                before = left.unit if isinstance(left, Scalar) else NO_UNIT
                factor, unit = self.unit(before)
                return Scalar(value_of(left) * number(factor), unit)
            elif self.starts_factor(token):
                if token.type == "number" and self.tokens[self.position - 1].type in _NO_FACTORS:
                    raise Unsettled("a number behind a number or a name")
                left = _product(value_of(left), self.factor())
            else:
                return left

    def starts_factor(self, token: Token) -> bool:
        """Whether a token begins another factor."""
        if token.text == "|":
            return not self.open_bars
        if token.type in ("number", "repeating", "symbol"):
            return not (token.text in "Uu" and self.tokens[self.position - 1].text in (")", "]"))
        if token.type == "sign":
            return token.text in ("(", "[", "{")
        return token.type == "command" and (
            token.text in FUNCTIONS
            or token.text in GREEK
            or token.text in FONTS
            or token.text in ACCENTS
            or token.text in ("\\frac", "\\sqrt", "\\pi", "\\binom", "\\infty", "\\lfloor")
            or token.text == "\\lceil"
            or token.text.startswith("\\begin{")
        )

    def factor(self) -> Form:
        """A primary with what may follow it: factorial, percent, degrees, a power."""
        base = self.primary()
        while True:
            text = self.peek().text
            if text == "!":
                self.next()
                if self.peek().text == "!":
                    raise Unsettled("a double factorial")
                base = Scalar(functions.factorial(value_of(base)))
            elif text == "%":
                self.next()
                base = Scalar(value_of(base) / number(100))
            elif text == "^" and self.skip_degree():
                base = self.degrees(base)
            elif text == "\\circ":
                self.next()
                base = self.degrees(base)
            elif text == "^":
                self.next()
                exponent = self.exponent()
                if self.peek().text == "^":
                    self.next()
                    exponent = functions.power(exponent, self.exponent())
                base = Scalar(functions.power(value_of(base), exponent))
            else:
                return base

    def skip_degree(self) -> bool:
        """Skip a degree sign."""
        for form in (["^", "\\circ"], ["^", "{", "\\circ", "}"], ["^", "o"], ["^", "{", "o", "}"]):
            found = self.tokens[self.position : self.position + len(form)]
            if [token.text for token in found] == form:
                self.position += len(form)
                return True
        return False

    def degrees(self, base: Form) -> Form:
        """Degrees of an angle, or of temperature."""
        if self.in_angle:
            return Scalar(value_of(base) * algebra.PI / number(180))
        if self.peek().text in COMPASS and self.peek(1).type == "end":
            return Scalar(value_of(base), Unit("°", sense=COMPASS[self.next().text]))
        scale = self.next().text if self.peek().text in ("C", "F") else ""
        return Scalar(value_of(base), Unit(f"°{scale}"))


def rounded(text: str) -> Fraction:
    """The value of a number; a long decimal is the plain fraction it is a rounding of.

    From 7 decimals on no two fractions with denominators up to 1,000 have the same ones, so
    0.0833333 can only mean 1/12, while 0.33 may mean itself.
    """
    value, places = Fraction(text), len(text.partition(".")[2])
    if places < 7 or len(text) > 60 or "e" in text.lower():
        return value
    plain = value.limit_denominator(1_000)
    scaled, digits = plain * 10**places, value * 10**places
    return plain if digits in (math.floor(scaled), round(scaled)) else value


def _product(factor: Value, form: Form) -> Form:
    """A factor times a value, or times every entry of a matrix."""
    if isinstance(form, Matrix):
        return Matrix(
            tuple(tuple(Scalar(factor * value_of(item)) for item in row) for row in form.rows)
        )
    return Scalar(factor * value_of(form))
