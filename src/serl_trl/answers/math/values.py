"""Polynomials with rational coefficients over roots of primes, constants, symbols, i and calls.

Products of roots of different primes are linearly independent over the rationals, so two
polynomials without calls have the same value only when they are the same.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

PRIME, CONSTANT, SYMBOL, CALL, UNIT = range(5)

# Answers of people and models stay far below these; beyond them an expression is kept as written.
MAX_BITS = 4_096
# Powers are multiplied out up to here; the time of a product grows with the square.
MAX_POWER = 64
# Bounds the time of one multiplication to some milliseconds.
_MAX_TERM_PRODUCTS = 1_000
# Trial division finds all factors of numbers below the square of this, nine million.
_MAX_TRIAL_DIVISOR = 3_000


class Unsettled(ValueError):
    """An expression that has no exact value within the limits of this package."""


@dataclass(frozen=True, order=True)
class Atom:
    """An indivisible factor; `call` and `args` (values) say how to evaluate a function."""

    rank: int
    text: str
    call: str = field(default="", compare=False)
    args: tuple[Any, ...] = field(default=(), compare=False)


Monomial = tuple[tuple[Atom, Fraction], ...]
Polynomial = dict[Monomial, Fraction]

ONE: Polynomial = {(): Fraction(1)}


def check_bits(value: Fraction) -> None:
    """Raise `Unsettled` when a number is longer than any honest answer."""
    if max(value.numerator.bit_length(), value.denominator.bit_length()) > MAX_BITS:
        raise Unsettled("a number is too large")


def add(left: Polynomial, right: Polynomial) -> Polynomial:
    """Sum."""
    total = dict(left)
    for mono, factor in right.items():
        value = total.get(mono, 0) + factor
        if value:
            total[mono] = value
        else:
            del total[mono]
    return total


def scale(poly: Polynomial, factor: Fraction) -> Polynomial:
    """Multiply every coefficient."""
    return {mono: value * factor for mono, value in poly.items()}


def multiply(left: Polynomial, right: Polynomial) -> Polynomial:
    """Product; raises `Unsettled` when it grows too large."""
    if right == ONE:
        return left
    if left == ONE:
        return right
    if len(left) * len(right) > _MAX_TERM_PRODUCTS:
        raise Unsettled("a product has too many terms")
    total: Polynomial = {}
    for mono_l, factor_l in left.items():
        for mono_r, factor_r in right.items():
            powers = dict(mono_l)
            for atom, exponent in mono_r:
                powers[atom] = powers.get(atom, 0) + exponent
            mono, extra = reduce(powers)
            value = total.get(mono, 0) + factor_l * factor_r * extra
            check_bits(value)
            total[mono] = value
    return {mono: value for mono, value in total.items() if value}


def reduce(powers: dict[Atom, Fraction]) -> tuple[Monomial, Fraction]:
    """Bring exponents of primes into [0, 1) and of i into {0, 1}; the rest is a rational factor."""
    factor = Fraction(1)
    kept = []
    for atom, exponent in powers.items():
        if atom.rank == PRIME:
            whole = math.floor(exponent)
            # Before it is computed; a decimal digit has less than 4 bits.
            if abs(whole) * len(atom.text) * 4 > MAX_BITS:
                raise Unsettled("a number is too large")
            factor *= Fraction(int(atom.text)) ** whole
            exponent -= whole
        elif atom.rank == UNIT:
            if exponent.denominator != 1:
                raise Unsettled("a root of i")
            turns = int(exponent) % 4
            factor *= -1 if turns >= 2 else 1
            exponent = Fraction(turns % 2)
        if exponent:
            kept.append((atom, exponent))
    return tuple(sorted(kept)), factor


def rationalise(num: Polynomial, den: Polynomial) -> tuple[Polynomial, Polynomial]:
    """Remove square roots of primes and i from a denominator that is a number."""
    half = Fraction(1, 2)
    # Each round removes one root or i; no final answer has more of them below the line.
    for _ in range(6):
        pairs = {pair for mono in den for pair in mono}
        if any(rank not in (PRIME, UNIT) for rank in (pair[0].rank for pair in pairs)):
            break
        if len(den) == 1 or any(p[1] != half for p in pairs if p[0].rank == PRIME):
            break
        pair = min(pairs)
        # One root or i after the other goes, each by the third binomial formula.
        conjugate = {mono: -value if pair in mono else value for mono, value in den.items()}
        num, den = multiply(num, conjugate), multiply(den, conjugate)
    return num, den


def cancel(num: Polynomial, den: Polynomial) -> tuple[Polynomial, Polynomial]:
    """Make the denominator monic without a common monomial; cancel it where division is exact."""
    shared = dict.fromkeys((atom for mono in den for atom, _ in mono), Fraction(0))
    for atom in shared:
        if atom.rank not in (PRIME, UNIT):
            shared[atom] = min(dict(mono).get(atom, Fraction(0)) for mono in den)
    inverted, factor = reduce({atom: -exponent for atom, exponent in shared.items()})
    scale = {inverted: factor / den[leading(den)]}
    num, den = multiply(num, scale), multiply(den, scale)
    if any(atom.rank in (PRIME, UNIT) for mono in den for atom, _ in mono):
        return num, den
    quotient = divide(num, den)
    if quotient is not None:
        return quotient, ONE
    quotient = divide(den, num)
    return (num, den) if quotient is None else (ONE, quotient)


def leading(poly: Polynomial) -> Monomial:
    """The monomial that comes first in a fixed order."""
    order = sorted({atom for mono in poly for atom, _ in mono})
    return max(poly, key=lambda mono: [dict(mono).get(atom, Fraction(0)) for atom in order])


def divide(num: Polynomial, den: Polynomial) -> Polynomial | None:
    """Exact quotient of two polynomials, or `None` when there is a remainder."""
    order = sorted({atom for poly in (num, den) for mono in poly for atom, _ in mono})
    if any(atom.rank in (PRIME, UNIT) for mono in den for atom, _ in mono):
        return None

    def key(mono: Monomial) -> list[Fraction]:
        return [dict(mono).get(atom, Fraction(0)) for atom in order]

    lead = max(den, key=key)
    quotient: Polynomial = {}
    rest = dict(num)
    # Each step removes the leading term; a quotient of more terms than this is not worth its time.
    for _ in range(MAX_POWER):
        if not rest:
            return quotient
        top = max(rest, key=key)
        powers = dict(top)
        for atom, exponent in lead:
            powers[atom] = powers.get(atom, Fraction(0)) - exponent
        if any(exponent < 0 for atom, exponent in powers.items() if dict(lead).get(atom)):
            return None
        mono, extra = reduce(powers)
        term = {mono: rest[top] / den[lead] * extra}
        quotient = add(quotient, term)
        rest = add(rest, scale(multiply(den, term), Fraction(-1)))
    return None


def factorise(value: Fraction) -> Iterator[tuple[Atom, int]]:
    """Prime factors of a positive rational, those of the denominator with negative counts."""
    for part, sign in ((value.numerator, 1), (value.denominator, -1)):
        divisor = 2
        while divisor * divisor <= part and divisor <= _MAX_TRIAL_DIVISOR:
            count = 0
            while part % divisor == 0:
                part //= divisor
                count += 1
            if count:
                yield Atom(PRIME, str(divisor)), sign * count
            divisor += 1 if divisor == 2 else 2
        if part == 1:
            continue
        repeat = 1
        if part > _MAX_TRIAL_DIVISOR**2:
            # The square of a large prime occurs under roots.
            side = math.isqrt(part)
            if side * side != part or side > _MAX_TRIAL_DIVISOR**2:
                raise Unsettled("a number has too large prime factors")
            part, repeat = side, 2
        yield Atom(PRIME, str(part)), sign * repeat


def text_of(poly: Polynomial) -> str:
    """LaTeX in a fixed order of terms."""
    if not poly:
        return "0"
    text = " + ".join(_term_text(mono, poly[mono]) for mono in sorted(poly, reverse=True))
    return text.replace("+ -", "- ")


def _term_text(mono: Monomial, factor: Fraction) -> str:
    sign = "-" if factor < 0 else ""
    factors = [_rational_text(abs(factor))] if abs(factor) != 1 or not mono else []
    return sign + " \\cdot ".join(factors + list(_power_texts(mono)))


def _power_texts(mono: Monomial) -> Iterable[str]:
    roots: dict[Fraction, int] = {}
    for atom, exponent in mono:
        if atom.rank == PRIME:
            roots[exponent] = roots.get(exponent, 1) * int(atom.text)
    yield from (_power_text(str(base), exponent) for exponent, base in sorted(roots.items()))
    for atom, exponent in mono:
        if atom.rank != PRIME:
            bracketed = exponent != 1 and (atom.rank == CALL or atom.call)
            yield _power_text(f"({atom.text})" if bracketed else atom.text, exponent)


def _power_text(base: str, exponent: Fraction) -> str:
    if exponent == 1:
        return base
    if exponent == Fraction(1, 2):
        return f"\\sqrt{{{base}}}"
    return f"{base}^{{{_rational_text(exponent)}}}"


def _rational_text(value: Fraction) -> str:
    if value.denominator == 1:
        return str(value.numerator)
    sign = "-" if value < 0 else ""
    return f"{sign}\\frac{{{abs(value.numerator)}}}{{{value.denominator}}}"
