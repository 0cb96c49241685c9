"""What the answers to the seeds look like, and whether another answer looks like them.

Learnt from the votes on the seeds, without a label: where every seed has a positive whole number, a
majority for -1 or 7.5 is a sign that the question is broken.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from serl_trl.filters.validity.sign import NO_SIGN, Sign

# "1,234", "-7.5", "\frac{3}{4}", "3/4", behind a currency or before a unit. Bounded: answers are
# short, and longer ones are no numbers.
_NUMBER = re.compile(
    r"\\?[$€£]?\s?(?P<sign>[-−]?)\s?(?:"
    r"(?P<whole>\d{1,3}(?:,\d{3}){1,6}|\d{1,40})(?P<part>\.\d{1,20})?(?P<over>/[1-9]\d{0,20})?"
    r"|\\[dt]?frac\{(?P<above>\d{1,20})\}\{[1-9]\d{0,20}\})"
    r"\s?(?P<unit>\\?%|(?:\\text\{\s?)?[A-Za-z°][^\d{}]{0,30}\}?)?"
)
_LETTER = re.compile(r"\(?([A-Z])\)?\.?")
_ZEROS = re.compile(r"[0.,]*")
_MAX_CHARS = 200
# More different answers than this are no labels, and fewer votes on each tell nothing.
_MAX_LABELS, _MIN_REPEATS = 12, 3


@dataclass(frozen=True)
class AnswerDomain:
    """What `num` answers had in common: how many have each property, and their extent.

    `have` counts the properties of `properties_of`, `max_digits` the digits before the point of
    the longest number, `labels` the answers in small letters with their numbers. A domain of no
    answers says nothing.
    """

    num: int = 0
    have: Mapping[str, int] = field(default_factory=dict)
    max_digits: int = 0
    labels: Mapping[str, int] = field(default_factory=dict)

    def learn(self, answers: Iterable[str]) -> "AnswerDomain":
        """Return the domain of these answers and all that were learnt before."""
        answers = [answer.strip() for answer in answers]
        have = Counter(self.have)
        for answer in answers:
            have.update(properties_of(answer))
        return AnswerDomain(
            num=self.num + len(answers),
            have=dict(have),
            max_digits=max([self.max_digits, *map(num_digits, answers)]),
            # Only so many can be labels; counting on would keep every number of a long run.
            labels=dict(
                (Counter(self.labels) + Counter(a.lower() for a in answers)).most_common(40)
            ),
        )

    def sign(self, answer: str, *, offered: Collection[str] = ()) -> Sign:
        """Say how likely a question with this majority answer is broken.

        For a property that the answer lacks, the score is how much oftener the next seed would
        have it than not (rule of succession: 62 of 62 seeds give 63/64 - 1/64). The strongest such
        property decides. `offered` are the letters to choose from in the question, if any. An empty
        answer says nothing.
        """
        answer = answer.strip()
        if not answer:
            return NO_SIGN
        letter = _LETTER.fullmatch(answer)
        if offered and letter and letter[1] not in offered:
            return Sign(1.0, f"{letter[1]} is not offered")
        lacks = {name: n for name, n in self.have.items() if name not in properties_of(answer)}
        if "number" in self.have and num_digits(answer) > self.max_digits:
            lacks[f"at most {self.max_digits} digits"] = self.have["number"]
        if self._has_labels() and answer.lower() not in self.labels:
            lacks["one of few labels"] = self.num
        signs = [
            Sign(max(0.0, 2 * (n + 1) / (self.num + 2) - 1), f"{answer[:40]} (seeds: {name})")
            for name, n in lacks.items()
        ]
        best = max(signs, key=lambda sign: sign.score, default=NO_SIGN)
        return best if best.score else NO_SIGN

    def _has_labels(self) -> bool:
        few = 0 < len(self.labels) <= _MAX_LABELS
        are_words = not {"number", "letter"} & self.have.keys()
        return few and are_words and self.num >= _MIN_REPEATS * len(self.labels)


def properties_of(answer: str) -> frozenset[str]:
    """Return the properties of an answer by name, such as "whole"; none for what is no number."""
    if len(answer) > _MAX_CHARS:
        return frozenset()
    if _LETTER.fullmatch(answer):
        return frozenset({"letter"})
    found = _NUMBER.fullmatch(answer)
    if not found:
        return frozenset()
    is_zero = _ZEROS.fullmatch(found["whole"] or found["above"]) and not (
        found["part"] or ""
    ).strip(".0")
    have = {
        "number": True,
        "whole": not (found["part"] or "").strip(".0") and not found["over"] and not found["above"],
        "positive": not found["sign"] and not is_zero,
        "not negative": not found["sign"] or bool(is_zero),
        "with a unit": bool(found["unit"]),
        "without a unit": not found["unit"],
    }
    return frozenset(name for name, has in have.items() if has)


def num_digits(answer: str) -> int:
    """Return how many digits stand before the point of a number; 0 for what is none."""
    found = _NUMBER.fullmatch(answer) if len(answer) <= _MAX_CHARS else None
    return sum(map(str.isdigit, found["whole"] or found["above"])) if found else 0
