"""Numbers, compared with a tolerance."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from serl_trl.answers import markers
from serl_trl.answers.kinds.marked import MarkedKind
from serl_trl.answers.math.commas import decimals
from serl_trl.answers.math.forms import Scalar
from serl_trl.answers.math.grammar import read

_NUMBER = re.compile(r"(?<![\w.])-?[$€£]?\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?%?", re.IGNORECASE)


@dataclass(frozen=True)
class NumberKind(MarkedKind):
    """Real numbers, equal within `abs_tol` or `rel_tol` (of the larger one); integers exactly.

    Its own marker beside `\\boxed{}` is a line `#### 18`. With `lenient`, the last number counts.
    """

    name: str = "number"
    abs_tol: float = 1e-9
    rel_tol: float = 1e-6
    finders = (markers.last_boxed, markers.last_hashes)
    natural_forms = (_NUMBER,)

    def __post_init__(self) -> None:
        if min(self.abs_tol, self.rel_tol) < 0:
            raise ValueError(
                f"abs_tol={self.abs_tol} and rel_tol={self.rel_tol} must not be negative."
            )

    def canonical(self, answer: str) -> str | None:
        """Return the exact value as LaTeX; `None` for what is not a real number."""
        form = read(answer)
        return form.value.text if _real(answer) is not None and isinstance(form, Scalar) else None

    def equal(self, left: str, right: str) -> bool | None:
        a, b = _real(left), _real(right)
        if a is None or b is None:
            return False
        # A tolerance is for roundings; integers are counted, not measured.
        if a.denominator == b.denominator == 1:
            return a == b
        allowed = max(Fraction(self.abs_tol), Fraction(self.rel_tol) * max(abs(a), abs(b)))
        return abs(a - b) <= allowed

    def decimals(self, answers: Sequence[str | None], gold: str | None) -> dict[str, str]:
        return decimals(answers, gold)


def _real(answer: str) -> Fraction | None:
    form = read(answer)
    if not isinstance(form, Scalar) or form.value.symbols:
        return None
    if form.value.rational is not None:
        return form.value.rational
    # A root or a logarithm: compared by its float, if that is real.
    # Rounding may leave a trace of an imaginary part.
    approximate = form.value.evaluate(1)
    if approximate is None or abs(approximate.imag) > 1e-12 * abs(approximate):
        return None
    return Fraction(approximate.real) if math.isfinite(approximate.real) else None
