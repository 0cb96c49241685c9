"""Multiple choice: one letter or several."""

import re
from dataclasses import dataclass
from itertools import pairwise
from string import ascii_uppercase

from serl_trl.answers.kinds.marked import MarkedKind
from serl_trl.common.text import compose

_WRAPPERS = re.compile(
    r"\\(?:text\w*|mathrm|mathbf|mbox|f?boxed|operatorname)\s?|[{}$*`\"~_]|\\[,;:! ]|\\q?quad\b"
)
_BRACKETS = str.maketrans("【】「」", "()()")
# What models write before the letter.
_LEAD = re.compile(
    r"(?:(?:so|thus|hence|therefore),? )?(?:the )?(?:correct |right |best |final )?"
    r"(?:answers?|options?|choices?)(?: is| are)?[\s:]+",
    re.IGNORECASE,
)
# What follows one of these is what was not chosen.
_NOT = re.compile(r"\b(?:not|rather than|instead of|except|neither)\b", re.IGNORECASE)
_IS = re.compile(r"\W*[A-Za-z]\W*\s(?:is|are)\s*", re.IGNORECASE)
_SEPARATORS = re.compile(r"[\s,;&/+]+")
_BETWEEN = frozenset({"and", "or", "both", "only", "option", "options", "choice", "choices"})
# ACD names three letters, BAD as well, and "A" one; a repeated letter is a word.
_COMPACT = re.compile(r"[A-Z]{2,26}")
# Three ways of writing a letter before the words of its option, the plainest first.
_BRACKETED = re.compile(r"(?<![A-Za-z0-9])[(\[]([A-Za-z])[)\]]")
_CLOSED = re.compile(r"(?<![A-Za-z0-9(])([A-Za-z])[)\]](?=\s|$)")
_STOPPED = re.compile(r"(?<![A-Za-z0-9(])([A-Za-z])(?:[.:](?=\s|$)|,(?=\s)|\s[-–—](?=\s))")
# With `lenient`: a letter in brackets, behind "option", or alone on its line.
_NATURAL = re.compile(
    r"\(([A-Z])\)"
    r"|\b(?:[Oo]ption|[Cc]hoice|[Aa]nswer)(?: is)?:? \(?([A-Z])\b"
    r"|^\W{0,3}([A-Z])\W{0,3}$",
    re.MULTILINE,
)


@dataclass(frozen=True)
class ChoiceKind(MarkedKind):
    """Letters of options: `B`, `(B)`, `option B`, `B. 12`, `12 (B)`, `A and C`, `ACD`.

    Its own marker beside `\\boxed{}` is a line `Answer: B`. With `lenient`, the last letter in
    brackets, after "option", or alone on a line counts. Without `several`, what names more than one
    letter is not an answer. With `num_choices`, neither are letters behind that many, and the
    difficulty band knows what chance agrees on.
    """

    name: str = "choice"
    several: bool = True
    num_choices: int | None = None
    natural_forms = (_NATURAL,)

    def __post_init__(self) -> None:
        if self.num_choices is not None and not 2 <= self.num_choices <= len(ascii_uppercase):
            raise ValueError(f"num_choices={self.num_choices} must be from 2 to 26.")

    @property
    def known_labels(self) -> tuple[str, ...] | None:
        """The letters that can be chosen, or `None` where their number is not given."""
        return None if self.num_choices is None else tuple(ascii_uppercase[: self.num_choices])

    def canonical(self, answer: str) -> str | None:
        """Return the letters in order, as in `A, C`; `None` when none is named."""
        letters = sorted({letter.upper() for letter in _letters(_plain(answer))})
        if not letters or (len(letters) > 1 and not self.several):
            return None
        if self.known_labels and letters[-1] not in self.known_labels:
            return None
        return ", ".join(letters)


def _plain(answer: str) -> str:
    """The answer without layout, without "the answer is", and without what was not chosen."""
    text = compose(answer, "NFKC").translate(_BRACKETS)
    text = _LEAD.sub("", _WRAPPERS.sub("", text).strip(), count=1).strip()
    chosen = _NOT.split(text, maxsplit=1)[0]
    if chosen != text:
        # "(A) is not right, (B) is" chooses what comes behind.
        text = "" if _IS.fullmatch(chosen) else chosen.removesuffix("but ").rstrip(" ,;")
    text = text.removesuffix(".").strip()
    whole = text.startswith("(") and text.endswith(")") and text.count("(") == 1
    return text[1:-1].strip() if whole else text


def _letters(text: str) -> list[str]:
    """The letters that `text` names, each perhaps more than once."""
    words = [word.strip("()[]") for word in _SEPARATORS.split(text)]
    words = [word for word in words if word and word.lower() not in _BETWEEN]
    if all(len(word) == 1 and word.isascii() and word.isalpha() for word in words):
        return words
    if _COMPACT.fullmatch(text) and len(set(text)) == len(text):
        return list(text)
    for pattern in (_BRACKETED, _CLOSED, _STOPPED):
        if pattern.match(text):
            return _chain(text, list(pattern.finditer(text)), place=-1)
    # "12 (B)", but not "f (x) = 2".
    marks = [mark for mark in _BRACKETED.finditer(text) if mark[1].isupper()]
    if marks and marks[-1].end() == len(text):
        return _chain(text, marks, place=0)
    return []


def _chain(text: str, marks: list[re.Match[str]], *, place: int) -> list[str]:
    """The first letter, and those that a comma, "and" or "or" joins to it.

    `place` says which word of those between two letters joins them: the last one (-1) where letters
    stand before their options, the first one (0) where they stand behind. A letter that is not
    joined is part of an explanation: "(B), because (A) is odd".
    """
    letters = [marks[0][1]]
    for before, mark in pairwise(marks):
        words = text[before.end() : mark.start()].split()
        if place == -1 and words[-1:] in (["option"], ["choice"]):
            words.pop()
        joint = words[place] if words else " "
        is_joined = joint in ("and", "or", " ") or joint[place] in ",;&/"
        if not is_joined or mark[1].isupper() != letters[0].isupper():
            break
        letters.append(mark[1])
    return letters
