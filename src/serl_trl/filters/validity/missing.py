"""Does a text lack what its answer needs: a figure, another problem, the letter it asks for?

Figures at which a text only points are found by the filter `figure`. The words are in
`missing.yaml`.
"""

import re

from serl_trl.common.vocabulary import load_patterns
from serl_trl.filters.validity.sign import Sign, add_up
from serl_trl.filters.validity.spelling import known_words

_WORDS = load_patterns(__file__)
_LETTERS = re.compile(r"[A-Za-z]+")
_MAX_LETTERS = 3  # longer runs may be words
_SAID, _ELSEWHERE, _UNDEFINED = 0.8, 0.7, 0.7


def missing(text: str) -> Sign:
    """Say how likely `text` lacks something without which it has no answer."""
    signs = []
    if said := _WORDS["said"].search(text):
        signs.append(Sign(_SAID, said.group()))
    if elsewhere := _WORDS["elsewhere"].search(text):
        signs.append(Sign(_ELSEWHERE, elsewhere.group()))
    if asked := _WORDS["asked"].search(text):
        rest = _LETTERS.findall(text[: asked.start()]) + _LETTERS.findall(text[asked.end() :])
        # A letter stands alone, in a product, or in a name: "2xy", "sinx", "ABCD"; words use none.
        used = "".join(run for run in rest if len(run) <= _MAX_LETTERS or run not in known_words())
        if not set(asked[1].lower()) <= set(used.lower()):
            signs.append(Sign(_UNDEFINED, asked.group()))
    return add_up(signs)
