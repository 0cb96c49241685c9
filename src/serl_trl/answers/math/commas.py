"""Decimal commas: what a comma between digits means when all answers of a group write it so."""

import re
from collections.abc import Sequence

from serl_trl.answers.math.forms import Formula, Scalar, Words
from serl_trl.answers.math.grammar import read

# A sign, digits, a comma, digits; then a unit, but no bracket and no other comma.
_COMMA = re.compile(r"[$\s]*[-+−]?\s?(\d{1,40}),(\d{1,40})([^,.;()\[\]|]*)")
_POINT = re.compile(r"\.\d")
_THOUSANDS = re.compile(r"[1-9]\d{0,2},\d{3}")


def decimals(answers: Sequence[str | None], gold: str | None = None) -> dict[str, str]:
    """Map the decimal commas of a group to their spelling with a point; empty where a doubt is.

    At least two answers (or all) must write so, and none may be a list, have a decimal point, or
    hold another comma. A gold answer may have a point, and gives no evidence of its own.
    """
    given = [answer for answer in answers if answer is not None]
    # One answer among many that writes 3,5 may mean a pair.
    written = [answer for answer in given if "," in answer]
    if not written or 1 == len(written) < len(given):
        return {}
    if any(_POINT.search(answer) for answer in given):
        return {}
    known = {*given} if gold is None else {*given, gold}
    points: dict[str, str] = {}
    digits: set[tuple[str, str]] = set()
    for answer in known:
        if "," not in answer:
            if not isinstance(read(answer), Scalar | Words | Formula):
                return {}
            continue
        # 1,234 is a thousand and more, also in this group.
        match = _COMMA.fullmatch(answer)
        if match is None or _THOUSANDS.match(f"{match[1]},{match[2]}"):
            return {}
        points[answer] = f"{answer[: match.end(1)]}.{answer[match.end(1) + 1 :]}"
        digits.add((match[1], match[2]))
    # The same two numbers the other way round are a list.
    swapped = any((low, high) in digits for high, low in digits if high != low)
    return {} if swapped or not all(map(_is_number, points.values())) else points


def _is_number(answer: str) -> bool:
    form = read(answer)
    return isinstance(form, Scalar) and form.value.rational is not None
