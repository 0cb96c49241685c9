"""Is a text cut off, or caught in a loop? Both are seen in any language."""

import re

from serl_trl.filters.validity.sign import Sign, add_up

_LOOP = re.compile(r"(\S.{0,40}?)\1{11,}", re.DOTALL)
_MIN_LOOP_CHARS = 60  # shorter ones may be a number, or a pattern that is asked about
_ENDS = frozenset(".?!:;)]}\"'”’»。？！…*_|$")
_DOLLAR = re.compile(r"\\\$|\$(?=\s?\d[\d,.]*(?:\s(?![\\=<>+*^-])|[,.;:?!)]|$))")
_PAIRS = (("\\(", "\\)"), ("\\[", "\\]"), ("\\begin{", "\\end{"))
_COPIED = 12
_LOOPED, _BROKEN_OFF, _OPEN_END = 0.9, 0.6, 0.3


def unfinished(text: str) -> Sign:
    """Say how likely `text` ends in a loop, or before its end."""
    signs = []
    for loop in _LOOP.finditer(text):
        # A ruled line and blank space are layout.
        if len(loop.group()) > _MIN_LOOP_CHARS and any(map(str.isalnum, loop[1])):
            signs.append(Sign(_LOOPED, loop[1]))
            break
    end = text.rstrip()[-20:]
    if end and end[-1] not in _ENDS:
        is_open = any(text.count(left) > text.count(right) for left, right in _PAIRS)
        # Prices have a dollar alone; an open formula leaves an odd one that is none.
        is_open = is_open or _DOLLAR.sub("", text).count("$") % 2 == 1
        # What was written once before is the second round of a whole problem.
        is_open = is_open and text.count(end[-_COPIED:]) == 1
        signs.append(Sign(_BROKEN_OFF if is_open else _OPEN_END, end))
    return add_up(signs)
