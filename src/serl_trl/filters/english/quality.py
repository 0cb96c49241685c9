"""Quality filters: small functions that look at one proposal alone, each with its own reason.

The words are in `quality.yaml`.
"""

import re
import string
import unicodedata
from collections.abc import Callable, Sequence

from serl_trl.common.mathtext import compose
from serl_trl.common.verdict import KEEP, Verdict
from serl_trl.common.vocabulary import load_patterns, with_ends
from serl_trl.common.words import ASKS, FUNCTION_WORDS, UNSPACED
from serl_trl.filters.english.leaks import CHOICE, QUOTED
from serl_trl.propose.parsing.lines import introduces
from serl_trl.propose.parsing.tags import known_tags

_WORDS = load_patterns(__file__)
_ENGLISH = frozenset(_WORDS["function word"].pattern.split("|"))
_HANGUL = re.compile("[가-힣]")
_WORD = re.compile(r"[^\W\d_]+")
_COMMAND = re.compile(r"\\[A-Za-z]+")
_LABELS = "abcdefgh"


def _refuse_found(pattern: re.Pattern[str], text: str, reason: str) -> Verdict:
    found = pattern.search(text)
    return Verdict(False, reason, {"found": found.group().strip()}) if found else KEEP


def check_length(text: str, *, min_words: int, max_words: int) -> Verdict:
    """Refuse proposals of fewer than `min_words` words and signs, or more than `max_words` words.

    Where a script puts no blanks between words, a sign counts as a word below, two as one above;
    below, two signs of Korean, whose words are long, count as one.

    Departs from the paper: "Compute $\\sin 45^\\circ$." is two words, but a whole problem.
    """
    spaced, num_signs = UNSPACED.subn(" ", text)
    fits = len(spaced.split()) + num_signs // 2 <= max_words
    num_words = max(len(_WORDS["word or sign"].findall(spaced)), len(_HANGUL.findall(text)) // 2)
    fits = fits and num_words + num_signs >= min_words
    return KEEP if fits else Verdict(False, "length")


def check_tokens(
    text: str, *, max_tokens: int | None, count_tokens: Callable[[str], int] | None
) -> Verdict:
    """Refuse proposals longer than `max_tokens` of the policy's tokenizer, if both are known."""
    fits = not max_tokens or count_tokens is None or count_tokens(text) <= max_tokens
    return KEEP if fits else Verdict(False, "tokens")


def check_special_tokens(text: str, *, special_tokens: Sequence[str]) -> Verdict:
    """Refuse proposals that hold a chat template's token: the tokenizer's own, or a well-known one.

    The syntax of a record and tags around or between the parts of an instruction count as such.
    """
    # Some tokenizers add runs of white space as tokens, which every text holds.
    found = [token for token in special_tokens if token.strip() and token in text]
    found += _WORDS["chat token"].findall(text)[:5] + known_tags(text)[:5]
    found += [mark.group()[:20] for mark in _WORDS["record"].finditer(text)]
    if wrapped := _WORDS["wrapped"].search(text):
        found.append(f"<{wrapped['name']}>")
    return Verdict(False, "special_token", {"found": found[:5]}) if found else KEEP


def check_program(text: str) -> Verdict:
    """Refuse proposals that ask for a program, or hold code."""
    return _refuse_found(_WORDS["program"], text, "program")


def check_one_question(text: str, *, several_answers: bool = False) -> Verdict:
    """Refuse proposals that ask several things: two question marks, parts (a) and (b), two orders.

    A question inside quotation marks is somebody's speech. With `several_answers` one answer can
    hold those of all parts: then up to eight parts about one common statement are one task, and
    several problems with a heading each are not.
    """
    bare = QUOTED.sub(" ", text)
    headings = [found.group().strip() for found in _WORDS["heading"].finditer(bare)]
    if len(headings) > 1:
        return Verdict(False, "several_questions", {"found": " ".join(headings[:5])})
    found = _several_asks(bare)
    is_one = not found or (several_answers and _is_about_one(bare))
    return KEEP if is_one else Verdict(False, "several_questions", {"found": found})


_MAX_PARTS = 8
_MIN_COMMON_WORDS = 3
# Longer texts of two or three orders tell one story; short ones are exercises in a row.
_MIN_STORY_WORDS, _MAX_STORY_ASKS = 25, 3


def _is_about_one(text: str) -> bool:
    """Whether a statement stands before the first ask, and not too many asks behind it."""
    asks = [found.start() for found in _WORDS["strong sentence"].finditer(text)]
    num_asks = max(text.count("?"), len(asks))
    if (mark := text.find("?")) >= 0:
        begin = max(text.rfind(end, 0, mark) for end in ".!;:\n") + 1
        question = ASKS.search(text, begin, mark)
        asks.append(question.start() if question else begin)
    has_common = len(_WORD.findall(text[: min(asks, default=0)])) >= _MIN_COMMON_WORDS
    is_story = num_asks <= _MAX_STORY_ASKS and len(text.split()) >= _MIN_STORY_WORDS
    return num_asks <= _MAX_PARTS and (has_common or is_story)


def _several_asks(bare: str) -> str:
    """Return what shows that the text asks several things; nothing when it does not."""
    parts = [] if CHOICE.search(bare) else _asking_parts(bare)
    orders = [found.group().strip(" .?!;\n") for found in _WORDS["strong sentence"].finditer(bare)]
    return (
        ("??" if bare.count("?") > 1 else "")
        or _lettered(bare)
        or (" ".join(parts) if len(parts) > 1 else "")
        or (" / ".join(orders[:5]) if len(orders) > 1 else "")
    )


_MAX_CHOICE_WORDS = 12  # of a choice with its share of the stem; tasks are longer


def _lettered(text: str) -> str:
    """Return the labels of a lettered list other than choices; nothing without such a list.

    Choices stand behind a question, or before it. A list under no question is a list of tasks when
    two of its parts ask, and of statements when three ask nothing.
    """
    marks = [
        mark
        for mark, label in zip(_WORDS["letter"].finditer(text), _LABELS, strict=False)
        if mark[1].lower() == label
    ]
    if len(marks) < 2 or ASKS.search(text, 0, marks[0].start()):
        return ""
    asking = [
        ASKS.search(text[mark.end() : end].strip()) is not None
        for mark, end in with_ends(marks, len(text))
    ]
    is_short = len(text.split()) <= _MAX_CHOICE_WORDS * len(marks)
    is_choice = is_short and not any(asking) and text[: marks[0].start()].strip() != ""
    is_list = sum(asking) > 1 or (len(marks) > 2 and not any(asking) and not is_choice)
    return " ".join(mark.group().strip() for mark in marks) if is_list else ""


def _asking_parts(text: str) -> list[str]:
    """Return the labels of the lettered parts that ask something themselves."""
    marks = list(_WORDS["part"].finditer(text))
    return [
        mark.group().strip()
        for mark, end in with_ends(marks, len(text))
        if _WORDS["strong ask"].search(text, mark.end(), end)
    ]


_MIN_UNREAD_WORDS = 3  # fewer words show no language


def check_question(text: str) -> Verdict:
    """Refuse proposals that ask nothing: no question, no order to the solver, no blank to fill.

    Questions and orders of many languages are known; a text in none of those languages is kept.
    """
    if ASKS.search(text):
        return KEEP
    words = _WORD.findall(text.lower())
    is_read = len(words) < _MIN_UNREAD_WORDS or UNSPACED.search(text) is not None
    known = is_read or not FUNCTION_WORDS.isdisjoint(words)
    return Verdict(False, "no_question") if known else KEEP


_SCRIPTS = ("LATIN", "GREEK")  # Greek letters are mathematics
_MAX_FOREIGN_RATIO = 0.05  # a name or a unit may be foreign
# Of the words of public English problems 11 % at least are function words, and 40 % in the middle.
# A text of fewer than seven words may have none.
_MIN_WORDS_FOR_LANGUAGE = 7
_MIN_FUNCTION_RATIO = 0.08


def check_language(text: str) -> Verdict:
    """Refuse proposals in another script than Latin, or in Latin letters but not in English.

    English is told by its function words: a sentence of seven words or more has some. A text
    of any length is refused for what a question in another language begins with.
    """
    # NFKC makes plain letters of the bold and script letters of mathematics.
    letters = [sign for sign in compose(text, "NFKC") if sign.isalpha()]
    foreign = [sign for sign in letters if not sign.isascii() and not _is_expected(sign)]
    if len(foreign) > _MAX_FOREIGN_RATIO * len(letters):
        return Verdict(False, "language", {"found": "".join(foreign[:20])})
    if asked := _WORDS["foreign ask"].search(text):
        return Verdict(False, "language", {"found": asked.group()})
    words = [word for word in _WORD.findall(_COMMAND.sub(" ", text).lower()) if len(word) > 1]
    num_english = sum(word in _ENGLISH for word in words)
    if len(words) >= _MIN_WORDS_FOR_LANGUAGE and num_english < _MIN_FUNCTION_RATIO * len(words):
        return Verdict(False, "language", {"found": " ".join(words[:10])})
    return KEEP


def _is_expected(sign: str) -> bool:
    return unicodedata.name(sign, "").startswith(_SCRIPTS)


def check_model_talk(text: str) -> Verdict:
    """Refuse proposals that talk to the model, or as one, instead of stating a problem."""
    if introduces(text):
        return Verdict(False, "talks_to_model", {"found": text[:80]})
    return _refuse_found(_WORDS["talk"], text, "talks_to_model")


# The paper's own rules, word for word: they refuse sound problems that mention a graph or a card.


def check_paper_length(text: str, *, min_words: int, max_words: int) -> Verdict:
    """Refuse proposals outside [min_words, max_words] words: the paper's rule."""
    return KEEP if min_words <= len(text.split()) <= max_words else Verdict(False, "length")


def check_paper_words(text: str) -> Verdict:
    """Refuse proposals that hold one of the paper's words for a figure or a file."""
    return _refuse_found(_WORDS["paper words"], text, "paper_words")


def check_paper_program(text: str) -> Verdict:
    """Refuse proposals that begin with "Write a program", the paper's rule."""
    return Verdict(False, "paper_program") if text.startswith("Write a program") else KEEP


def check_paper_start(text: str) -> Verdict:
    """Refuse proposals that begin with punctuation or outside ASCII, the paper's rule."""
    first = text[:1]
    bad = first != "" and (first in string.punctuation or not first.isascii())
    return Verdict(False, "paper_start", {"found": first}) if bad else KEEP
