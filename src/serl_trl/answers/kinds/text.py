"""Free text, compared after normalising, or by the words two answers share."""

import re
from collections import Counter
from dataclasses import dataclass

from serl_trl.answers.kinds.marked import MarkedKind
from serl_trl.answers.math import lexer as latex

_WRAPPERS = re.compile(r"\\(?:text\w{0,8}|mbox|mathrm|mathbf|ce)\b|\\[,;:! ]|[{}_^$~]")
_SCRIPTED = re.compile(r"\\(?:text\w{0,8}|mbox|mathrm|mathbf)\s?\{([^{}]*)\}(?=[_^])")
# H 2 O loses its blanks, 10 000 keeps them.
_BLANK = re.compile(r"(?<!\d)\s+|\s+(?!\d)")
# Elements with their counts, groups, a hydrate's dot, a charge; by itself "NaCl" is a word.
_CHEMICAL = re.compile(r"(?:\*?\d*+(?:[A-Z][a-z]?|[()\[\]])\d*+)++[+-]?")
_SCRIPT = re.compile(r"(?<=[A-Za-z)\]])[_^]\s?(?:\{(\d{1,3}[+-]?|[+-])\}|(\d|[+-](?!\w)))")
# "well-known" and "well known" are one text, "3-4" is none.
_HYPHEN = re.compile(r"(?<=[^\W\d_])-(?=[^\W\d_])")


@dataclass(frozen=True)
class TextKind(MarkedKind):
    """Free text: case, punctuation, white space and a leading article do not count.

    Nor do hyphens between letters, and how subscripts and superscripts are written: H2O, `H_2O`.

    With `min_f1` (in (0, 1]) two answers are equal from that F1 of their words on. Its own marker
    beside `\\boxed{}` is a line `Answer: ...`. With `lenient`, the last line counts.
    """

    name: str = "text"
    min_f1: float | None = None

    def __post_init__(self) -> None:
        if self.min_f1 is not None and not 0 < self.min_f1 <= 1:
            raise ValueError(f"min_f1={self.min_f1} must lie in (0, 1]; 0.9 is usual.")

    def natural(self, completion: str) -> str | None:
        lines = completion.strip().splitlines()
        return lines[-1].strip() if lines else None

    def canonical(self, answer: str) -> str | None:
        # A formula is compared without blanks and layout, words word by word.
        text = latex.clean(answer)
        compact = _BLANK.sub("", _WRAPPERS.sub("", text.replace("\\cdot", "*")))
        if _CHEMICAL.fullmatch(compact) and not compact.isalpha():
            return compact.casefold()
        flat = _SCRIPT.sub(lambda found: found[1] or found[2], _SCRIPTED.sub(r"\1", text))
        return latex.words(_HYPHEN.sub(" ", flat)) or None

    def equal(self, left: str, right: str) -> bool | None:
        if self.min_f1 is None:
            return False
        a, b = (Counter((self.canonical(answer) or "").split()) for answer in (left, right))
        shared = (a & b).total()
        # F1 multiplied out, since answers without words have no length to divide by.
        return 2 * shared >= self.min_f1 * (a.total() + b.total())
