"""A question in other words, by the model itself: asked for, read, and checked against the first.

A restatement is kept only if it keeps every number and name, so that both ask the same.
"""

import re
from collections.abc import Sequence

from serl_trl.answers.math.prose import NUMBER_WORDS
from serl_trl.common.completion import Complete, Completion, Messages
from serl_trl.common.words import ASKS, FUNCTION_WORDS
from serl_trl.filters.english.leaks import check_answer_leak
from serl_trl.filters.english.quality import check_language
from serl_trl.filters.validity.asked import complete_each
from serl_trl.filters.validity.spelling import known_words
from serl_trl.propose.parsing.proposals import parse_proposals
from serl_trl.propose.prompts import PromptStyle, restate_messages, with_instruction

_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_WORD = re.compile(r"[^\W\d_]+")
# A letter alone is a quantity, but not behind an apostrophe (Ann's) or where it is a word.
_LETTER = re.compile(r"(?<![\w'’])[b-df-hj-np-tvxz](?![\w'’])")
_BEGIN = re.compile(r"(?:^|[.?!:;\n])\W*$")
_LOOK_BACK = 8  # from a word to the end of the sentence before it: blanks, quotation marks
# Other words take more room, or less; what is much longer tells more than was asked.
_MAX_TIMES_LONGER = 3


def restate(
    instructions: Sequence[str],
    complete: Complete,
    *,
    text: str = PromptStyle.restate_instruction,
    tries: int = 1,
    keep_names: bool = True,
) -> list[str | None]:
    """Return each instruction in other words, or `None` where none of `tries` keeps its sense.

    The first that does counts. All are asked for in one call; `text` asks for it. `keep_names`
    false allows other names, where only numbers decide the answer.
    """
    prompts = [restate_messages(each, text) for each in instructions]
    return [
        next(
            filter(None, (read_restatement(instruction, each, keep_names) for each in written)),
            None,
        )
        for instruction, written in zip(
            instructions, complete_each(complete, prompts, tries), strict=True
        )
    ]


def restated_prompts(
    questions: Sequence[tuple[str, Messages]],
    complete: Complete,
    *,
    text: str = PromptStyle.restate_instruction,
    tries: int = 1,
    keep_names: bool = True,
) -> list[Messages | None]:
    """Return the prompt of each question in other words; `None` where no restatement is kept.

    A question is an instruction and the prompt that asks it; the options are those of `restate`.
    """
    texts = [instruction for instruction, _ in questions]
    found = restate(texts, complete, text=text, tries=tries, keep_names=keep_names)
    return [
        None if other is None else with_instruction(prompt, instruction, other)
        for (instruction, prompt), other in zip(questions, found, strict=True)
    ]


def read_restatement(
    instruction: str, completion: Completion, keep_names: bool = True
) -> str | None:
    """Return the restatement in a completion, or `None` without one that keeps the sense."""
    asking = ASKS.search(instruction) is not None
    found = parse_proposals(completion.text, truncated=completion.truncated, asking=asking)
    # More than one is a list, or says something beside the restatement.
    whole = not completion.truncated and len(found) == 1
    kept = whole and keeps_sense(instruction, found[0], keep_names=keep_names)
    return found[0] if kept else None


def keeps_sense(instruction: str, other: str, *, keep_names: bool = True) -> bool:
    """Return whether `other` restates `instruction`, as far as numbers and names tell.

    It has the same numbers and every name, asks if the first asks, holds no answer, is at most
    three times as long, and is no copy. A number in words is the number. `keep_names` false leaves
    names unread.
    """
    if len(other) > _MAX_TIMES_LONGER * len(instruction):
        return False
    words, others = (list(map(str.casefold, _WORD.findall(each))) for each in (instruction, other))
    asks = ASKS.search(instruction) is None or ASKS.search(other) is not None
    return (
        asks
        and words != others
        and numbers_of(instruction) == numbers_of(other)
        and (not keep_names or names_of(instruction) <= {*others, *_LETTER.findall(other)})
        and check_answer_leak(other).keep
    )


def numbers_of(text: str) -> frozenset[str]:
    """Return the numbers of a text, two to twelve in words too; 1,000 is 1000."""
    words = [NUMBER_WORDS[word] for word in _WORD.findall(text.lower()) if word in NUMBER_WORDS]
    return frozenset([*words, *(found.replace(",", "") for found in _NUMBER.findall(text))])


def names_of(text: str) -> frozenset[str]:
    """Return what a text names, in small letters: words in capitals, and letters alone.

    At the beginning of a sentence a word counts unless English knows it in small letters, and in
    other languages it never counts.
    """
    english = check_language(text).keep
    known = known_words() | FUNCTION_WORDS
    names = set(_LETTER.findall(text))
    for found in _WORD.finditer(text):
        word = found.group()
        if word[0].isupper():
            begins = _BEGIN.search(text, max(0, found.start() - _LOOK_BACK), found.start())
            if not begins or (english and word.lower() not in known):
                names.add(word.casefold())
    return frozenset(names - {"i"})
