"""Exact values: quotients of polynomials, compared exactly or, where calls are involved, nearly."""

import cmath
import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property

from serl_trl.answers.math.values import (
    CALL,
    CONSTANT,
    ONE,
    PRIME,
    SYMBOL,
    UNIT,
    Atom,
    Monomial,
    Polynomial,
    Unsettled,
    add,
    cancel,
    check_bits,
    multiply,
    rationalise,
    reduce,
    scale,
    text_of,
)

_PI_ATOM = Atom(CONSTANT, "\\pi")
_E_ATOM = Atom(CONSTANT, "e")


# Compared by `same_value`, which may leave it open; `==` would claim to know.
@dataclass(frozen=True, eq=False)
class Value:
    """A quotient of polynomials; make one with the functions of this module."""

    num: Polynomial
    den: Polynomial = field(default_factory=lambda: ONE)

    def __add__(self, other: "Value") -> "Value":
        if self.den == other.den:
            return _quotient(add(self.num, other.num), self.den)
        num = add(multiply(self.num, other.den), multiply(other.num, self.den))
        return _quotient(num, multiply(self.den, other.den))

    def __neg__(self) -> "Value":
        return Value(scale(self.num, Fraction(-1)), self.den)

    def __sub__(self, other: "Value") -> "Value":
        return self + -other

    def __mul__(self, other: "Value") -> "Value":
        return _quotient(multiply(self.num, other.num), multiply(self.den, other.den))

    def __truediv__(self, other: "Value") -> "Value":
        """Quotient; raises `Unsettled` when `other` is zero."""
        return _quotient(multiply(self.num, other.den), multiply(self.den, other.num))

    @cached_property
    def text(self) -> str:
        """LaTeX; equal text means equal values."""
        if self.den == ONE:
            return text_of(self.num)
        return f"\\frac{{{text_of(self.num)}}}{{{text_of(self.den)}}}"

    @cached_property
    def atoms(self) -> frozenset[Atom]:
        """The atoms of numerator and denominator, arguments of calls not included."""
        return frozenset(atom for poly in (self.num, self.den) for mono in poly for atom, _ in mono)

    @cached_property
    def symbols(self) -> frozenset[str]:
        """The free symbols, also those inside calls."""
        own = {atom.text for atom in self.atoms if atom.rank == SYMBOL}
        return frozenset(own.union(*(arg.symbols for atom in self.atoms for arg in atom.args)))

    @cached_property
    def exact(self) -> bool:
        """Whether different polynomials mean different values: no calls are involved."""
        return all(atom.rank != CALL for atom in self.atoms)

    @cached_property
    def unique(self) -> bool:
        """Whether the text is the only one this value can have."""
        return self.exact and self.den == ONE

    @property
    def rational(self) -> Fraction | None:
        """The value as a fraction, or `None` when it is not a rational number."""
        if not self.num:
            return Fraction(0)
        return self.num[()] if self.den == ONE and self.num.keys() == {()} else None

    def evaluate(self, point: int) -> complex | None:
        """Approximate at a fixed positive point of the symbols; `None` when that is impossible."""
        try:
            value = _evaluate(self.num, point) / _evaluate(self.den, point)
        except (ArithmeticError, ValueError):
            return None
        return value if cmath.isfinite(value) else None


def same_value(left: Value, right: Value) -> bool | None:
    """Compare exactly; `None` when calls keep it open."""
    # Cross-multiplied: quotients need no common denominator to be compared.
    try:
        if multiply(left.num, right.den) == multiply(right.num, left.den):
            return True
    except Unsettled:
        return None
    # Without calls different polynomials are different values. With them sin(x) and cos(y) differ
    # by their symbols alone, the rest by their values at two points.
    if (left.exact and right.exact) or left.symbols != right.symbols:
        return False
    return False if _far_apart(left, right) else None


def _far_apart(left: Value, right: Value) -> bool:
    """Whether the values differ by more than any rounding at one of two points."""
    # Two points, because functions that differ may cross at one.
    for point in (1, 2):
        a, b = left.evaluate(point), right.evaluate(point)
        if a is not None and b is not None and abs(a - b) > 1e-6 * max(1.0, abs(a), abs(b)):
            return True
    return False


def place_of(symbol: str, point: int) -> float:
    """Where a symbol is evaluated: a fixed positive number for each name."""
    # Positive, so that roots and logarithms are real; by crc32, because `hash` differs between
    # processes; with surrogates, because a model may write half a character.
    return 0.5 + zlib.crc32(f"{point}:{symbol}".encode("utf-8", "surrogatepass")) / 2**32


def number(value: Fraction | int) -> Value:
    """A rational number."""
    value = Fraction(value)
    check_bits(value)
    return Value({(): value} if value else {})


def symbol(name: str) -> Value:
    """A free symbol."""
    return from_atom(Atom(SYMBOL, name))


def constant(name: str) -> Value:
    """A real constant without further structure, such as `\\infty`."""
    return from_atom(Atom(CONSTANT, name))


def from_atom(atom: Atom) -> Value:
    """The value of one atom."""
    return Value({((atom, Fraction(1)),): Fraction(1)})


PI = from_atom(_PI_ATOM)
EULER = from_atom(_E_ATOM)
UNIT_I = from_atom(Atom(UNIT, "i"))


def _quotient(num: Polynomial, den: Polynomial) -> Value:
    if not den:
        raise Unsettled("division by zero")
    if den == ONE or not num:
        return Value(num)
    # Roots leave the denominator, then common factors leave both.
    if len(den) > 1:
        num, den = rationalise(num, den)
    if len(den) > 1:
        num, den = cancel(num, den)
    if len(den) == 1:
        ((mono, factor),) = den.items()
        inverted, extra = reduce({atom: -exponent for atom, exponent in mono})
        return Value(multiply(num, {inverted: extra / factor}))
    return Value(num, den)


def _evaluate(poly: Polynomial, point: int) -> complex:
    return sum((_term(mono, factor, point) for mono, factor in poly.items()), 0j)


def _term(mono: Monomial, factor: Fraction, point: int) -> complex:
    result = complex(factor)
    for atom, exponent in mono:
        result *= _evaluate_atom(atom, point) ** float(exponent)
    return result


def _evaluate_atom(atom: Atom, point: int) -> complex:
    if atom.rank == PRIME:
        return complex(int(atom.text))
    if atom.rank == UNIT:
        return 1j
    if atom == _PI_ATOM:
        return complex(math.pi)
    if atom == _E_ATOM:
        return complex(math.e)
    if atom.rank == SYMBOL:
        return complex(place_of(atom.text, point))
    args = [value for arg in atom.args if (value := arg.evaluate(point)) is not None]
    if atom.call not in _FUNCTIONS or len(args) < len(atom.args):
        raise ValueError(f"{atom.text} has no approximate value")
    return complex(_FUNCTIONS[atom.call](*args))


def _raise(base: complex, exponent: complex) -> complex:
    if abs(exponent) > 1e4:
        raise ValueError("the exponent is too large")
    return base**exponent


# By these the values of calls are told apart; what is missing here is left to math-verify.
_FUNCTIONS: dict[str, Callable[..., complex]] = {
    "pow": _raise,
    "root": lambda value, degree: value ** (1 / degree),
    "abs": abs,
    "\\ln": cmath.log,
    "\\log": lambda value, base: cmath.log(value) / cmath.log(base),
    "\\sin": cmath.sin,
    "\\cos": cmath.cos,
    "\\tan": cmath.tan,
    "\\cot": lambda value: 1 / cmath.tan(value),
    "\\sec": lambda value: 1 / cmath.cos(value),
    "\\csc": lambda value: 1 / cmath.sin(value),
    "\\sinh": cmath.sinh,
    "\\cosh": cmath.cosh,
    "\\tanh": cmath.tanh,
    "\\arcsin": cmath.asin,
    "\\arccos": cmath.acos,
    "\\arctan": cmath.atan,
}
