"""Mathematical answers, LaTeX or plain: values, expressions, tuples, sets, intervals, matrices."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from serl_trl.answers import markers
from serl_trl.answers.kinds.marked import MarkedKind
from serl_trl.answers.math.commas import decimals
from serl_trl.answers.math.forms import compare, details
from serl_trl.answers.math.grammar import read

# Bounded: no final answer is so long, and a completion full of unclosed marks stays cheap.
_ANSWER_IS = re.compile(r"answer\s{1,4}(?:is|=)\s{0,4}:?\s{0,4}([^\n]{1,200}?)\.?\s*$", re.I | re.M)
_DOLLARS = re.compile(r"\$([^$\n]{1,200})\$")
_NUMBER = re.compile(r"(?<![\w.])-?\d[\d,]*(?:\.\d+)?(?:/\d+)?%?")


@dataclass(frozen=True)
class MathKind(MarkedKind):
    """Mathematical answers, LaTeX or plain: the last box, or several that are one answer.

    With `lenient`, a completion without a box is searched for "the answer is ...", then for the
    last formula between dollar signs, then for the last number.
    """

    name: str = "math"
    finders = (partial(markers.last_boxes, tuples=True),)
    natural_forms = (_ANSWER_IS, _DOLLARS, _NUMBER)
    several_values = True

    def canonical(self, answer: str) -> str | None:
        """Return the one LaTeX spelling of an exact value, or the normalised text of the rest."""
        return read(answer).text if answer.strip() else None

    def equal(self, left: str, right: str) -> bool | None:
        return compare(read(left), read(right))

    def details(self, answer: str) -> tuple[str, ...]:
        return details(read(answer))

    def decimals(self, answers: Sequence[str | None], gold: str | None) -> dict[str, str]:
        return decimals(answers, gold)
