"""Exact answers to the sandbox's problems, model-written ones too, out of the phrasings."""

import re
from collections.abc import Iterable
from functools import cache

from serl_trl.sandbox.domain import SLOT, family_of, is_number_slot, work_out
from serl_trl.sandbox.lexicon import CLOSED_FAMILIES, FAMILIES, MEANING_WORDS
from serl_trl.sandbox.phrasings import KINDS, Kind

# Far above any problem of the domain (about 250 characters): longer text is not read at all.
MAX_CHARS = 600
# No pattern below repeats a group, and words hold no spaces: matching takes linear time.
NUMBER = "[0-9]{1,4}"
_WORD = "[A-Za-z]{1,24}"


def solve(text: str) -> str | None:
    """Return the exact answer of a problem in any phrasing of the domain, or None.

    Any word may stand in a slot, and any number of up to four digits. None when the text follows no
    phrasing, when one word stands for two people, places or things, or when the result is not a
    count: below zero, or a division that does not come out.
    """
    worked = [work_out(kind, numbers) for kind, numbers in readings(text)]
    # A text may follow two phrasings; its answer is known where both lead to the same one.
    answers = {str(steps[-1][1]) if steps else None for steps in worked}
    return answers.pop() if len(answers) == 1 else None


def kind_of(text: str) -> str | None:
    """Return the kind of a problem, also of one without an answer, or None for any other text."""
    kinds = {kind.name for kind, _ in readings(text)}
    return kinds.pop() if len(kinds) == 1 else None


def num_phrasings(texts: Iterable[str]) -> int:
    """Count the phrasings of the domain that `texts` are written in; other texts count for none."""
    read = {text.strip() for text in texts if len(text) <= MAX_CHARS}
    return sum(any(map(pattern.fullmatch, read)) for _, pattern in _patterns())


def readings(text: str) -> list[tuple[Kind, tuple[int, ...]]]:
    """Return the kinds whose phrasing a text follows, each with the numbers in its slots."""
    if len(text) > MAX_CHARS:
        return []
    text = text.strip()
    matches = ((kind, pattern.fullmatch(text)) for kind, pattern in _patterns())
    return [
        (kind, tuple(int(match[name]) for name in kind.ranges))
        for kind, match in matches
        if match and _is_coherent(match.groupdict())
    ]


def _is_coherent(groups: dict[str, str]) -> bool:
    """Tell whether slots of a family hold different words, and no slot a word for a number.

    Only a verb may occur twice: two people can both have found something.
    """
    words = [
        (family_of(slot), word.lower())
        for slot, word in groups.items()
        if not is_number_slot(slot) and family_of(slot) not in CLOSED_FAMILIES
    ]
    return len(set(words)) == len(words) and not any(word in MEANING_WORDS for _, word in words)


# Compiled at the first use, which most commands never make.
@cache
def _patterns() -> tuple[tuple[Kind, re.Pattern[str]], ...]:
    return tuple(
        (kind, compile_phrasing(phrasing)) for kind in KINDS for phrasing in kind.phrasings
    )


def compile_phrasing(phrasing: str, number: str = NUMBER) -> re.Pattern[str]:
    """Turn a phrasing, text and slots by turns, into a pattern with one group per slot."""
    pieces = SLOT.split(phrasing)
    pieces[::2] = map(re.escape, pieces[::2])
    pieces[1::2] = [f"(?P<{slot}>{_slot_pattern(slot, number)})" for slot in pieces[1::2]]
    return re.compile("".join(pieces))


def _slot_pattern(slot: str, number: str) -> str:
    if is_number_slot(slot):
        return number
    family = family_of(slot)
    return "|".join(FAMILIES[family]) if family in CLOSED_FAMILIES else _WORD
