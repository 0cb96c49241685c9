"""Does a proposal hold its own answer? A marker such as "Answer:", or a solution after the ask.

The words are in `leaks.yaml`.
"""

import re

from serl_trl.common.verdict import KEEP, Verdict
from serl_trl.common.vocabulary import load_patterns
from serl_trl.common.words import VERDICT_LABEL

_WORDS = load_patterns(__file__)
QUOTED, CHOICE = _WORDS["quoted"], _WORDS["choice"]
_NOT_LETTERS = re.compile(r"[\W_]+")
_ARTICLES = re.compile(r" (?:the|an?|its|his|her|their)(?= )")


def check_answer_leak(text: str) -> Verdict:
    """Refuse proposals that hold their own answer: a marker such as "Answer:", or a worked tail.

    A label at the start ("Positive: ...") is a marker, and so are the words of other languages.
    The tail is what follows the last question mark outside quotation marks; an order there
    ("Express your answer as ...") or a remark is part of the problem. After the first order too a
    sentence that concludes ("Therefore"), or states what was asked for, is refused.
    """
    if found := _WORDS["marker"].search(text) or VERDICT_LABEL.search(text):
        return Verdict(False, "answer_leak", {"found": found.group().strip()})
    # Somebody's question inside a story is not the problem's.
    bare = QUOTED.sub(" ", text)
    _, mark, tail = bare.rpartition("?")
    tail = tail.strip().strip("*_").strip()
    if mark and _WORDS["tail"].search(tail) and not CHOICE.search(tail):
        return Verdict(False, "answer_leak", {"found": tail[:80]})
    sentence = _solving_sentence(bare)
    return Verdict(False, "answer_leak", {"found": sentence[:80]}) if sentence else KEEP


def _solving_sentence(text: str) -> str | None:
    """Return the first sentence after the first ask that solves it."""
    sentences = iter(_WORDS["sentence end"].split(text))
    asked = next((sentence for sentence in sentences if _WORDS["ask"].search(sentence)), "")
    unknown = _WORDS["unknown"].search(asked)
    thing = _WORDS["thing"].search(asked)
    whole = _plain(thing[1]) if thing and not _WORDS["changes"].search(asked) else ""
    head = _WORDS["head end"].split(whole, maxsplit=1)[0]
    for sentence in sentences:
        if _WORDS["conclusion"].search(sentence):
            return sentence
        equation = _WORDS["equation"].search(sentence)
        if equation and unknown and equation[1] == unknown[1]:
            return sentence
        stated = _WORDS["stated"].search(sentence)
        subject = _plain(stated[1]) if stated else ""
        # "Find the area of a circle": "The area is", not "The radius is" nor "The area of a disk".
        if subject.strip() and subject in whole and f" {subject.split()[0]} " in head:
            return sentence
    return None


def _plain(words: str) -> str:
    """Return the words in lower case, without articles, with a space on either side of each."""
    return _ARTICLES.sub("", f" {_NOT_LETTERS.sub(' ', words.lower()).strip()} ")
