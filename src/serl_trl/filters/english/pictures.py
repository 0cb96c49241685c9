"""Does a problem need a figure or a file that is not there? Judged by context, not by bare words.

"Draw a card" and "the graph of f" are good mathematics; "the graph below" is not, in a text. The
words are in `pictures.yaml`.
"""

import re

from serl_trl.common.verdict import KEEP, Verdict
from serl_trl.common.vocabulary import load_patterns

_WORDS = load_patterns(__file__)
_NUMBER = re.compile(r"\d+")
_SPACES = re.compile(r"\s+")
_MIN_NUMBERS = 4  # a table written out in words holds at least so many


def check_figure(text: str) -> Verdict:
    """Refuse proposals that need, hold or ask for a figure or a file; the detail has the words."""
    # A phrase may be broken over two lines; source code may not.
    flat = _SPACES.sub(" ", text)
    found = (
        _WORDS["source"].search(text)
        or _WORDS["file"].search(flat)
        or _points_away(flat)
        or _lacks_shading(flat)
    )
    if found is None and not _WORDS["asks else"].search(flat):
        found = _WORDS["asks drawing"].search(flat)
    return Verdict(False, "figure", {"found": found.group().strip()}) if found else KEEP


def _points_away(text: str) -> re.Match[str] | None:
    """Find the words that point at a picture, table or chart which the text does not hold."""
    holds_data = _WORDS["inline data"].search(text) is not None
    introduced = _WORDS["introduced"].search(text)
    for found in _WORDS["points at picture"].finditer(text):
        if _WORDS["near"].search(found.group()):
            # "The lattice shown" may be a table in the text; a diagram never is.
            drawn = _WORDS["picture word"].search(found.group())
            # A stem-and-leaf plot is a table.
            if not holds_data or (drawn and not _WORDS["plotted data"].search(text)):
                return found
        # "A spinner has ... On the spinner ...": the text describes the picture it brings in.
        elif introduced is None or introduced.start() > found.start():
            return found
    written_out = holds_data or len(_NUMBER.findall(text)) >= _MIN_NUMBERS
    return None if written_out else _WORDS["points at data"].search(text)


def _lacks_shading(text: str) -> re.Match[str] | None:
    """Find a shaded part of which the text does not say what is shaded."""
    shaded = _WORDS["shaded"]
    found = shaded.search(text)
    return None if found and _WORDS["shading"].search(shaded.sub(" ", text)) else found
