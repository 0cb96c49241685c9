"""Multiple choice: one letter or several."""

import re
from dataclasses import dataclass

from serl_trl.answer_kinds import markers

_WRAPPERS = re.compile(
    r"\\(?:text\w*|mathrm|mathbf|mbox|boxed|operatorname)\s?|[{}$*`\"~_]|\\[,;:! ]"
)
_LEAD = re.compile(
    r"(?:the )?(?:correct |right |best |final )?(?:answers?|options?|choices?)(?: is| are)?[\s:]+",
    re.IGNORECASE,
)
_ONE = re.compile(r"[(\[]?([A-Za-z])(?:[)\]](?:\s.*|[.:,].*)?|[.:]|[.:]\s.*)?", re.DOTALL)
_SEVERAL = re.compile(r"[(\[]?[A-Za-z][)\]]?(?:(?:\s*(?:,|;|&|/|and|or)\s*)+[(\[]?[A-Za-z][)\]]?)*")
_COMPACT = re.compile(r"[A-Z]{2,26}")
_NATURAL = re.compile(
    r"\(([A-Z])\)"
    r"|\b(?:[Oo]ption|[Cc]hoice|[Aa]nswer)(?: is)?:? \(?([A-Z])\b"
    r"|^\W{0,3}([A-Z])\W{0,3}$",
    re.MULTILINE,
)


@dataclass(frozen=True)
class ChoiceKind:
    """Letters of options, any number of them: `B`, `(B)`, `option B`, `B. 12`, `A and C`, `ACD`.

    Its own marker beside `\\boxed{}` is a line `Answer: B`. With `lenient`, the last letter in
    brackets, after "option", or alone on a line counts.
    """

    name: str = "choice"
    lenient: bool = False

    def extract(self, completion: str) -> str | None:
        """Return the text of the last marker."""
        boxed = markers.last_boxed(completion)
        found = markers.latest(boxed, markers.last_answer_line(completion))
        if found is None and self.lenient:
            matches = _NATURAL.findall(completion)
            return "".join(matches[-1]) if matches else None
        return found

    def canonical(self, answer: str) -> str | None:
        """Return the letters in order, as in `A, C`; `None` when none is named."""
        text = _LEAD.sub("", _WRAPPERS.sub("", answer[:2_000]).strip(), count=1).strip()
        text = text.removesuffix(".").strip()
        if text.startswith("(") and text.endswith(")") and text.count("(") == 1:
            text = text[1:-1]
        if _SEVERAL.fullmatch(text):
            letters = re.findall(r"(?<![A-Za-z])[A-Za-z](?![A-Za-z])", text)
        elif _COMPACT.fullmatch(text) and len(set(text)) == len(text):
            letters = list(text)
        elif match := _ONE.fullmatch(text):
            letters = [match[1]]
        else:
            return None
        return ", ".join(sorted({letter.upper() for letter in letters}))

    def equal(self, left: str, right: str) -> bool | None:
        """Different letters are different answers."""
        return False
