"""Does a text hold what is no part of a problem: frames, markup, an order of another kind?

The words are in `stray.yaml`.
"""

import re

from serl_trl.common.vocabulary import load_patterns
from serl_trl.common.words import ASKS
from serl_trl.filters.validity.sign import Sign, add_up

_WORDS = load_patterns(__file__)
_SENTENCE = re.compile(r"\W{0,9}([^.!?\n]{8,250})[.!\n]\s{1,9}(?=\S)")
# Geometry translates and transforms, too: by formulas and coordinates.
_FORMULA = re.compile(r"[$\\=(]")
_CONTENT = re.compile(r"[^\W\d_]{5,}")
_PLAIN = frozenset(_WORDS["plain"].pattern.split("|"))
_FRAME, _MARKUP, _TALK, _ORDER = 0.6, 0.6, 0.6, 0.8


def stray(text: str) -> Sign:
    """Say how likely `text` holds words that are no part of a problem."""
    scores = {"frame": _FRAME, "source": _FRAME, "markup": _MARKUP, "talk": _TALK}
    found = {name: _WORDS[name].search(text) for name in scores}
    signs = [Sign(scores[name], mark.group().strip()) for name, mark in found.items() if mark]
    if order := _other_order(text):
        signs.append(Sign(_ORDER, order))
    return add_up(signs)


def _other_order(text: str) -> str:
    """Return the order in the first sentence when the rest asks something and shares no word."""
    first = _SENTENCE.match(text)
    if not first or _FORMULA.search(first[1]) or not _WORDS["order"].search(first[1]):
        return ""
    rest = text[first.end() :]
    shared = set(_CONTENT.findall(first[1].lower())) & set(_CONTENT.findall(rest.lower()))
    return "" if shared - _PLAIN or not ASKS.search(rest) else first[1]
