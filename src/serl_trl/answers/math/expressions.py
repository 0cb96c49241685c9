"""Expressions: factors joined by operators, units behind them, and sets joined by unions."""

from serl_trl.answers.math import ranges
from serl_trl.answers.math.algebra import Value, number
from serl_trl.answers.math.factors import Factors
from serl_trl.answers.math.forms import Form, Matrix, Scalar
from serl_trl.answers.math.measures import NO_UNIT
from serl_trl.answers.math.numbers import rounded
from serl_trl.answers.math.primaries import value_of
from serl_trl.answers.math.units import at_unit, read_unit
from serl_trl.answers.math.values import Unsettled


class Expressions(Factors):
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
        # Only a decimal that stands alone may be a rounding; in 0.3333333x it is a coefficient.
        written = self.tokens[begin]
        if self.position == begin + 1 and written.type == "number":
            total = number(rounded(written.text)) * number(sign)
        return Scalar(total, unit)

    def sets(self, left: Form) -> Form:
        """Sets of numbers, joined, met or with gaps."""
        while (sign := self.peek().text) in ("\\cup", "U", "u", "\\cap", "\\setminus", "-"):
            self.next()
            # R - {0} is a set without a point, R - 1 is nothing.
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
                right = number(self.signs()) * value_of(self.factor())
                left = value_of(left)
                left = Scalar(left / right if operator == "/" else left * right)
            elif token.text in ("and", "or"):
                return left
            elif at_unit(self):
                before = left.unit if isinstance(left, Scalar) else NO_UNIT
                factor, unit = read_unit(self, before)
                return Scalar(value_of(left) * number(factor), unit)
            elif self.starts_factor(token):
                before_it = self.tokens[self.position - 1].type
                # "3 4" and "x2" are ambiguous: two answers, a missing sign, a lost subscript.
                if token.type == "number" and before_it in ("number", "symbol"):
                    raise Unsettled("a number behind a number or a name")
                left = _product(value_of(left), self.factor())
            else:
                return left


def _product(factor: Value, form: Form) -> Form:
    """A factor times a value, or times every entry of a matrix."""
    if isinstance(form, Matrix):
        return Matrix(
            tuple(tuple(Scalar(factor * value_of(item)) for item in row) for row in form.rows)
        )
    return Scalar(factor * value_of(form))
