"""Numbers as they are written: plain, repeating, rounded."""

import math
import re
from fractions import Fraction

from serl_trl.answers.math.values import Unsettled

# An answer is at most 600 characters long; Python refuses to read numbers of over 4,300 digits.
_MAX_DIGITS = 1_200
_PLAIN_FRACTION = re.compile(r"(?:\{\d+\}|\d(?=\D|\d))(?:\{\d+\}|\d+)")


def plain(text: str) -> Fraction:
    """The value of a number; raises `Unsettled` for one that is too long."""
    if len(text) > _MAX_DIGITS:
        raise Unsettled("a number is too long")
    return Fraction(text)


def repeating(text: str) -> Fraction:
    """The value of `0.1\\overline{6}` or `0.\\dot{1}4\\dot{2}`: a repeating decimal."""
    if len(text) > _MAX_DIGITS:
        raise Unsettled("a number is too long")
    before, _, marked = text.partition("(" if "(" in text else "\\")
    whole, _, digits = before.partition(".")
    cycle = "".join(re.findall(r"\d", marked))
    scale = 10 ** len(digits)
    tail = Fraction(int(cycle), scale * (10 ** len(cycle) - 1))
    return Fraction(int((whole or "0") + digits), scale) + tail


def rounded(text: str) -> Fraction:
    """The value of a number; a long decimal is the plain fraction it is a rounding of.

    From 7 decimals on no two fractions with denominators up to 1,000 have the same ones, so
    0.0833333 can only mean 1/12, while 0.33 may mean itself.
    """
    value, places = Fraction(text), len(text.partition(".")[2])
    if places < 7 or len(text) > 60 or "e" in text.lower():
        return value
    simple = value.limit_denominator(1_000)
    scaled, digits = simple * 10**places, value * 10**places
    return simple if digits in (math.floor(scaled), round(scaled)) else value


def is_plain_fraction(texts: list[str]) -> bool:
    """Whether the arguments of a `\\frac` are two whole numbers, in braces or not."""
    return _PLAIN_FRACTION.match("".join(texts)) is not None
