"""Free text, compared after normalising, or by the words two answers share."""

from collections import Counter
from dataclasses import dataclass

from serl_trl.answer_kinds import latex, markers


@dataclass(frozen=True)
class TextKind:
    """Free text: case, punctuation, white space and a leading article do not count.

    With `min_f1` (in (0, 1]) two answers are equal from that F1 of their words on. Its own marker
    beside `\\boxed{}` is a line `Answer: ...`. With `lenient`, the last line counts.
    """

    name: str = "text"
    min_f1: float | None = None
    lenient: bool = False

    def __post_init__(self) -> None:
        """Refuse a threshold outside (0, 1]."""
        if self.min_f1 is not None and not 0 < self.min_f1 <= 1:
            raise ValueError(f"min_f1={self.min_f1} must lie in (0, 1]; 0.9 is usual.")

    def extract(self, completion: str) -> str | None:
        """Return the text of the last marker."""
        boxed = markers.last_boxed(completion)
        found = markers.latest(boxed, markers.last_answer_line(completion))
        if found is None and self.lenient:
            lines = completion.strip().splitlines()
            return lines[-1].strip() if lines else None
        return found

    def canonical(self, answer: str) -> str | None:
        """Return the normalised words."""
        return latex.words(latex.clean(answer)) or None

    def equal(self, left: str, right: str) -> bool | None:
        """Compare by the F1 of words, if there is a threshold."""
        if self.min_f1 is None:
            return False
        a, b = (Counter((self.canonical(answer) or "").split()) for answer in (left, right))
        shared = (a & b).total()
        return 2 * shared >= self.min_f1 * (a.total() + b.total())
