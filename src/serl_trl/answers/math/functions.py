"""Functions of exact values: exact where the result is, otherwise calls with their arguments."""

import math
from collections.abc import Sequence
from fractions import Fraction

from serl_trl.answers.math.algebra import (
    PI,
    UNIT_I,
    Value,
    from_atom,
    number,
    same_value,
)
from serl_trl.answers.math.values import (
    CALL,
    CONSTANT,
    MAX_BITS,
    MAX_POWER,
    ONE,
    PRIME,
    SYMBOL,
    UNIT,
    Atom,
    Polynomial,
    Unsettled,
    factorise,
    leading,
    multiply,
    reduce,
    scale,
)

# Beyond these the exact number is longer than any answer, and the call stays as written.
_MAX_FACTORIAL = 200
_MAX_BINOMIAL = 1_000
# Roots of a higher degree are kept as calls: nobody simplifies them.
MAX_ROOT = 12
_TEXTS = {
    "pow": "({0})^{{{1}}}",
    "root": "\\sqrt[{1}]{{{0}}}",
    "abs": "\\left|{0}\\right|",
    "!": "({0})!",
    "\\log": "\\log_{{{1}}}({0})",
    "\\binom": "\\binom{{{0}}}{{{1}}}",
    "\\floor": "\\lfloor{0}\\rfloor",
    "\\ceil": "\\lceil{0}\\rceil",
}


def call(name: str, *args: Value) -> Value:
    """A function without an exact value here; `name` is a LaTeX command or a key of `_TEXTS`."""
    texts = [arg.text for arg in args]
    if name == "root" and texts[1] == "2":
        text = f"\\sqrt{{{texts[0]}}}"
    elif name in _TEXTS:
        text = _TEXTS[name].format(*texts)
    else:
        text = f"{name}({', '.join(texts)})"
    return from_atom(Atom(CALL, text, name, args))


def power(base: Value, exponent: Value) -> Value:
    """Raise to a power; a call when the result has no exact form."""
    degree = exponent.rational
    if degree is not None and degree.denominator == 1:
        return _integer_power(base, int(degree))
    if degree is not None and (known := _rational_power(base, degree)) is not None:
        return known
    if base.text == "e" and (known := _exponential(exponent)) is not None:
        return known
    # Euler: e to the power of i times an angle.
    turn = (exponent / (UNIT_I * PI)).rational if base.text == "e" else None
    if turn is not None and (12 * turn).denominator == 1:
        return _cosine(12 * turn) + UNIT_I * _sine(12 * turn)
    return call("pow", base, exponent)


def _rational_power(base: Value, degree: Fraction) -> Value | None:
    """A power of an exact root; `None` where there is none."""
    known = base.rational
    if len(base.num) != 1 or base.den != ONE or degree.denominator > MAX_ROOT:
        return None
    if known is not None and known <= 0:
        return None
    rooted = root(base, degree.denominator)
    return _integer_power(rooted, degree.numerator) if rooted.exact else None


def _exponential(exponent: Value) -> Value | None:
    """Euler's number to the power of a sum of logarithms of primes; `None` for other exponents."""
    result = number(1)
    for mono, factor in exponent.num.items():
        if exponent.den != ONE or len(mono) != 1 or mono[0][0].call != "\\ln" or mono[0][1] != 1:
            return None
        result = result * power(mono[0][0].args[0], number(factor))
    return result


def _integer_power(base: Value, degree: int) -> Value:
    if degree == 0:
        return number(1)
    if degree < 0:
        return number(1) / _integer_power(base, -degree)
    known = base.rational
    if known is not None and abs(known) in (0, 1):
        return number(known**degree)
    # Raised in one go where there is one term, by multiplication where there are more.
    is_term = len(base.num) == 1 and base.den == ONE
    bits = max(n.bit_length() for f in base.num.values() for n in (f.numerator, f.denominator))
    # A power of a sum has more and more terms, one of a number more and more digits.
    most = MAX_POWER if not is_term else 10 * MAX_POWER if known is None else MAX_BITS
    if degree > most or (is_term and degree > 1 and bits * degree > MAX_BITS):
        return call("pow", base, number(degree))
    if is_term:
        ((mono, factor),) = base.num.items()
        raised, extra = reduce({atom: exponent * degree for atom, exponent in mono})
        return Value({raised: factor**degree * extra})
    result = base
    for _ in range(degree - 1):
        result = result * base
    return result


def root(base: Value, degree: int) -> Value:
    """The real root where there is one, `i` times it for square roots of negative numbers."""
    if degree < 1:
        return call("pow", base, number(1) / number(degree))
    if not base.num:
        return base
    if len(base.num) > 1 or base.den != ONE:
        return call("root", base, number(degree))
    ((mono, factor),) = base.num.items()
    opened = [(atom, exponent) for atom, exponent in mono if atom.rank not in (PRIME, CONSTANT)]
    # sqrt(x^2) is |x| and sqrt(xy) need not be sqrt(x) sqrt(y): only a lone symbol is taken apart.
    is_lone = len(opened) == 1 and opened[0][0].rank == SYMBOL and opened[0][1] == 1 and factor > 0
    real = factor > 0 or degree % 2
    if (opened and not is_lone) or not (real or degree == 2):
        return call("root", base, number(degree))
    try:
        powers = {prime: Fraction(count, degree) for prime, count in factorise(abs(factor))}
    except Unsettled:
        return call("root", base, number(degree))
    for atom, exponent in mono:
        powers[atom] = powers.get(atom, Fraction(0)) + exponent / degree
    raised, extra = reduce(powers)
    sign = number(1) if factor > 0 else number(-1) if real else UNIT_I
    return sign * Value({raised: extra})


def logarithm(value: Value, base: Value | None = None) -> Value:
    """Logarithm, natural without a base; of positive rationals a sum over logarithms of primes."""
    if base is not None:
        if base.rational in (Fraction(0), Fraction(1)):
            raise Unsettled("a logarithm needs a base other than 0 and 1")
        above, below = logarithm(value), logarithm(base)
        exact = above.exact and below.exact and below.num
        return above / below if exact else call("\\log", value, base)
    known = value.rational
    if known is not None and known > 0:
        return _rational_logarithm(known)
    if len(value.num) == 1 and value.den == ONE:
        ((mono, factor),) = value.num.items()
        if factor == 1 and len(mono) == 1 and mono[0][0].text == "e":
            return number(mono[0][1])
    return call("\\ln", value)


def _rational_logarithm(known: Fraction) -> Value:
    try:
        factors = list(factorise(known))
    except Unsettled:
        return call("\\ln", number(known))
    total = number(0)
    for prime, count in factors:
        log = Atom(CONSTANT, f"\\ln({prime.text})", "\\ln", (number(int(prime.text)),))
        total = total + number(count) * from_atom(log)
    return total


def factorial(value: Value) -> Value:
    """Factorial of a small natural number, otherwise a call."""
    known = value.rational
    if known is None or known.denominator != 1 or not 0 <= known <= _MAX_FACTORIAL:
        return call("!", value)
    return number(math.factorial(int(known)))


def binomial(above: Value, below: Value) -> Value:
    """Binomial coefficient of small natural numbers, otherwise a call."""
    n, k = above.rational, below.rational
    if (
        n is None
        or k is None
        or n.denominator != 1
        or k.denominator != 1
        or not 0 <= n <= _MAX_BINOMIAL
    ):
        return call("\\binom", above, below)
    return number(math.comb(int(n), int(k)) if k >= 0 else 0)


def among(name: str, values: Sequence[Value]) -> Value:
    """The greatest or smallest of some numbers, their greatest divisor or least multiple."""
    known = [value.rational for value in values]
    numbers = [fraction for fraction in known if fraction is not None]
    if len(numbers) == len(values) and name in ("\\max", "\\min"):
        return number(max(numbers) if name == "\\max" else min(numbers))
    if len(numbers) == len(values) and all(n.denominator == 1 for n in numbers):
        whole = [n.numerator for n in numbers]
        return number(math.gcd(*whole) if name == "\\gcd" else math.lcm(*whole))
    # The order of a list changes neither its greatest nor its divisor.
    return call(name, *sorted(values, key=lambda value: value.text))


def absolute(value: Value) -> Value:
    """Absolute value of a number, otherwise a call."""
    if value.rational is not None:
        return number(abs(value.rational))
    if value.symbols or not value.exact or value.den != ONE:
        return call("abs", value)
    # A real value equals its conjugate, which tells the two cases below apart.
    conjugate = {m: -c if any(a.rank == UNIT for a, _ in m) else c for m, c in value.num.items()}
    squared, size = (value * Value(conjugate)).rational, value.evaluate(1)
    # |a + bi| is the root of (a + bi)(a - bi).
    if squared is not None:
        return root(number(squared), 2)
    # A number so close to zero may have either sign.
    if conjugate != value.num or size is None or abs(size) < 1e-9:
        return call("abs", value)
    return value if size.real > 0 else -value


def round_down(value: Value, *, up: bool = False) -> Value:
    """Floor (ceiling with `up`) of a rational number, otherwise a call."""
    known = value.rational
    if known is None:
        return call("\\ceil" if up else "\\floor", value)
    return number(math.ceil(known) if up else math.floor(known))


def linear_parts(value: Value, unknown: str) -> tuple[Value, Value] | None:
    """Split a value that is a + b * unknown into (a, b) with b not zero; `None` for other values.

    Of a quotient only the numerator is looked at, as for an equation with zero.
    """
    parts: tuple[Polynomial, Polynomial] = ({}, {})
    for mono, factor in value.num.items():
        powers = {atom.text: exponent for atom, exponent in mono if atom.rank == SYMBOL}
        inside = any(unknown in arg.symbols for atom, _ in mono for arg in atom.args)
        degree = powers.get(unknown, Fraction(0))
        if inside or degree not in (0, 1):
            return None
        rest = tuple(pair for pair in mono if pair[0] != Atom(SYMBOL, unknown))
        parts[int(degree)][rest] = factor
    return (Value(parts[0]), Value(parts[1])) if parts[1] else None


def monic(value: Value, *, keep_sign: bool = False) -> Value:
    """Scale an expression that is compared with zero, so that its first coefficient is 1 (or -1).

    Without `keep_sign` (equations) denominators are dropped as well.
    """
    if not value.num:
        return value
    num = value.num
    # An equation may be multiplied by its unknowns, an inequality may not: their signs are open.
    if not keep_sign:
        shared = {atom: Fraction(0) for mono in num for atom, _ in mono if atom.rank == SYMBOL}
        for atom in shared:
            shared[atom] = max(-min(dict(mono).get(atom, Fraction(0)) for mono in num), Fraction(0))
        num = multiply(num, {reduce(shared)[0]: Fraction(1)})
    factor = num[leading(num)]
    scaled = scale(num, 1 / (abs(factor) if keep_sign else factor))
    return Value(scaled, value.den if keep_sign else ONE)


# Trigonometry: exact at multiples of 15 degrees


def sine(angle: Value) -> Value:
    """Sine."""
    steps = _steps(angle)
    return call("\\sin", angle) if steps is None else _sine(steps)


def cosine(angle: Value) -> Value:
    """Cosine."""
    steps = _steps(angle)
    return call("\\cos", angle) if steps is None else _cosine(steps)


def tangent(angle: Value) -> Value:
    """Tangent; raises `Unsettled` where it is infinite."""
    return sine(angle) / cosine(angle)


def inverse(name: str, value: Value) -> Value:
    """Inverse sine, cosine or tangent, exact at the values of multiples of 15 degrees."""
    forward = {"\\arcsin": _sine, "\\arccos": _cosine, "\\arctan": None}[name]
    # In steps of 15 degrees over the principal values; at its ends a tangent is infinite.
    low, high = {"\\arcsin": (-6, 6), "\\arccos": (0, 12), "\\arctan": (-5, 5)}[name]
    if value.exact and not value.symbols:
        for steps in range(low, high + 1):
            exact = forward(steps) if forward else _sine(steps) / _cosine(steps)
            if same_value(exact, value):
                return number(Fraction(steps, 12)) * PI
    return call(name, value)


def _steps(angle: Value) -> int | None:
    """The angle as a multiple of 15 degrees, if it is one."""
    turn = (angle / PI).rational
    return int(12 * turn) if turn is not None and (12 * turn).denominator == 1 else None


def _sine(steps: Fraction | int) -> Value:
    steps = int(steps) % 24
    if steps > 12:
        return -_sine(steps - 12)
    two, three, six = (root(number(n), 2) for n in (2, 3, 6))
    quarter = number(Fraction(1, 4))
    table = (
        number(0),
        (six - two) * quarter,
        number(Fraction(1, 2)),
        two * number(Fraction(1, 2)),
        three * number(Fraction(1, 2)),
        (six + two) * quarter,
        number(1),
    )
    return table[min(steps, 12 - steps)]


def _cosine(steps: Fraction | int) -> Value:
    return _sine(int(steps) + 6)
