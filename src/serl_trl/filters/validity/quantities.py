"""Does a text name a quantity that cannot be: half a student, a length below zero, 1 < x < -3?

The words are in `quantities.yaml`.
"""

import re
from collections.abc import Iterator
from fractions import Fraction
from itertools import combinations

from serl_trl.common.vocabulary import load_patterns
from serl_trl.filters.validity.sign import Sign, add_up

_WORDS = load_patterns(__file__)
_SURE, _LIKELY = 0.9, 0.6
_NUMBER = r"(-?\d{1,12}(?:\.\d{1,9})?)(?![\d.!^_{/]|\s?[-+*]|\\(?:cdot|times|pi))"
_LESS, _MORE = r"(?:<|≤|\\leq?q?(?:slant)?\b|\\lt\b)", r"(?:>|≥|\\geq?q?(?:slant)?\b|\\gt\b)"
_CHAIN = re.compile(
    rf"(?<![\w.^}}/+*-]){_NUMBER}\s?({_LESS}|{_MORE})\s?\\?[A-Za-z]\w{{0,6}}\s?({_LESS}|{_MORE})\s?{_NUMBER}"
)
_IS_MORE = re.compile(_MORE)
_CHANCE = re.compile(
    r"(?:\\d?frac\{(\d{1,9})\}\{(\d{1,9})\}|(?<![\d./])(\d{1,9}) ?/ ?(\d{1,9}))"
    r"\$? (?:probability|chance)\b"
)
_SIDE = re.compile(
    r"(?<![A-Za-z\\])([A-Z]) ?([A-Z]) ?= ?(\d{1,9}(?:\.\d{1,9})?)(?![\d.\w\\^/ ]|\$?\s?[-+*:])"
)
_TRIANGLE = re.compile(
    r"triangle\W{1,4}([A-Z]) ?([A-Z]) ?([A-Z])(?![A-Za-z])"
    r"|(?<![A-Za-z])([A-Z]) ?([A-Z]) ?([A-Z])\$? (?:be|is) an? (?:\w{1,12} ){0,3}triangle"
)


_INTERVAL = re.compile(
    rf"(?:interval|random from)\W{{1,3}}[\[(]\s?{_NUMBER}\s?,\s?{_NUMBER}\s?[\])]"
)


def quantities(text: str) -> Sign:
    """Say how likely `text` names a quantity that cannot be."""
    signs = [Sign(_SURE, found) for found in (*_chains(text), *_chances(text), *_triangles(text))]
    for found in _WORDS["fraction"].finditer(text):
        # A mean of 2.5 children is no broken child.
        around = text[max(0, found.start() - 60) : found.end() + 20]
        if not _WORDS["mean"].search(around):
            signs.append(Sign(_LIKELY, found.group()))
    for name in ("negative", "other"):
        if seen := _WORDS[name].search(text):
            signs.append(Sign(_LIKELY, seen.group().strip()))
    return add_up(signs)


def _chains(text: str) -> Iterator[str]:
    """Yield the ranges in which no number lies: 1 < x < -3, 1 > x < 5, the interval (0, 0)."""
    for found in _CHAIN.finditer(text):
        low, left, right, high = found.groups()
        falls = [_IS_MORE.match(sign) is not None for sign in (left, right)]
        rises = Fraction(high) - Fraction(low)
        if falls[0] != falls[1] or (rises > 0 if falls[0] else rises < 0):
            yield found.group()
    for found in _INTERVAL.finditer(text):
        if Fraction(found[1]) >= Fraction(found[2]):
            yield found.group()


def _chances(text: str) -> Iterator[str]:
    """Yield the probabilities above 1."""
    for found in _CHANCE.finditer(text):
        above, below = (int(number) for number in found.groups() if number)
        if above > below:
            yield found.group()


def _triangles(text: str) -> Iterator[str]:
    """Yield the triangles of which one side is as long as the others together, or longer."""
    sides = {
        frozenset((one, other)): Fraction(length) for one, other, length in _SIDE.findall(text)
    }
    for found in _TRIANGLE.finditer(text):
        corners = [corner for corner in found.groups() if corner]
        lengths = [sides.get(frozenset(pair)) for pair in combinations(corners, 2)]
        known = sorted(length for length in lengths if length is not None)
        if len(known) == 3 and known[0] + known[1] <= known[2]:
            yield f"{''.join(corners)}: {', '.join(map(str, known))}"
