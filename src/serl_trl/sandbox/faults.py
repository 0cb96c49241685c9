"""Why a problem of the domain has no valid answer, told exactly out of its phrasing."""

import re
from collections.abc import Sequence
from functools import cache

from serl_trl.common.verdict import KEEP, Verdict
from serl_trl.sandbox.domain import calculate
from serl_trl.sandbox.phrasings import KINDS, Kind
from serl_trl.sandbox.solver import MAX_CHARS, NUMBER, compile_phrasing, readings, solve

FAULTS = ("not_whole", "negative", "missing", "contradiction")
# What stands for a number that the problem does not give.
UNKNOWN = ("some", "several", "many")
# A last sentence that takes a number back: {e} is another one than {a}, which the problem gives.
DISPUTES = (
    "But a list says {e}, not {a}.",
    "Later it was {e} and not {a}.",
    "The other count is {e} instead of {a}.",
)


def fault_of(text: str) -> str | None:
    """Return why a text has no valid answer: one of `FAULTS`, or "other"; None where it has one.

    "negative" and "not_whole" name the first step without a result among the whole numbers from 0
    up, "missing" a number that the text does not give, "contradiction" two values for one number,
    and "other" a text that follows no phrasing of the domain, or two with different answers.
    """
    text = text.strip()
    if solve(text) is not None:
        return None
    if faults := {step_fault(kind, numbers) for kind, numbers in readings(text)}:
        # Two readings without a fault have different answers, or there would be a solution.
        return (faults.pop() if len(faults) == 1 else None) or "other"
    if len(text) > MAX_CHARS:
        return "other"
    if _is_disputed(text):
        return "contradiction"
    return "missing" if any(p.fullmatch(text) for p in _open_patterns()) else "other"


def check_sound(text: str) -> Verdict:
    """Refuse a text without a valid answer, for the reason "unsound": an oracle's filter."""
    fault = fault_of(text)
    return KEEP if fault is None else Verdict(keep=False, reason="unsound", detail={"fault": fault})


def step_fault(kind: Kind, numbers: Sequence[int]) -> str | None:
    """Return the fault of the first step without a result; None where every step has one."""
    values = dict(zip("abcd", numbers, strict=False))
    for step in kind.steps:
        left, operator, right, _, name = step.split()
        result = calculate(operator, values[left], values[right])
        if result is None:
            return "negative" if operator == "-" else "not_whole"
        values[name] = result
    return None


def _is_disputed(text: str) -> bool:
    matches = filter(None, (pattern.search(text) for pattern in _dispute_patterns()))
    return any(
        match.end() == len(text)
        and match["e"] != match["a"]
        and any(int(match["a"]) in numbers for _, numbers in readings(text[: match.start()]))
        for match in matches
    )


@cache
def _dispute_patterns() -> tuple[re.Pattern[str], ...]:
    return tuple(compile_phrasing(f" {text}") for text in DISPUTES)


@cache
def _open_patterns() -> tuple[re.Pattern[str], ...]:
    """Return the phrasings with a word in place of any number; those with none were read before."""
    number = "|".join((NUMBER, *UNKNOWN))
    return tuple(compile_phrasing(text, number) for kind in KINDS for text in kind.phrasings)
