"""Quality filters: small functions that look at one proposal alone, each with its own reason.

Patterns have bounded repetitions, so that the time is linear in the length of the text.
"""

import re
import string
import unicodedata
from collections.abc import Callable, Sequence
from itertools import islice

from serl_trl.common.mathtext import compose
from serl_trl.common.verdict import KEEP, Verdict
from serl_trl.common.words import ASKS, FUNCTION_WORDS, START, UNSPACED
from serl_trl.filters.english.leaks import CHOICE, QUOTED
from serl_trl.propose.parsing.chat import introduces
from serl_trl.propose.parsing.tags import known_tags

_I = re.IGNORECASE

_CLAUSE = rf"(?:{START}|\b(?:and|or|to) )"

_WORD_OR_SIGN = re.compile(r"\w+|[^\w\s.,;:?!'\"]|(?<=\d)!")  # "7!" is a factorial

_HANGUL = re.compile("[가-힣]")


def check_length(text: str, *, min_words: int, max_words: int) -> Verdict:
    """Refuse proposals of fewer than `min_words` words and signs, or more than `max_words` words.

    Where a script puts no blanks between words, a sign counts as a word below, two as one above;
    below, two signs of Korean, whose words are long, count as one.

    Departs from the paper: "Compute $\\sin 45^\\circ$." is two words, but a whole problem.
    """
    spaced, num_signs = UNSPACED.subn(" ", text)
    fits = len(spaced.split()) + num_signs // 2 <= max_words
    num_words = max(len(_WORD_OR_SIGN.findall(spaced)), len(_HANGUL.findall(text)) // 2)
    fits = fits and num_words + num_signs >= min_words
    return KEEP if fits else Verdict(False, "length")


def check_tokens(text: str, *, max_tokens: int, count_tokens: Callable[[str], int]) -> Verdict:
    """Refuse proposals longer than `max_tokens` of the policy's tokenizer."""
    return KEEP if count_tokens(text) <= max_tokens else Verdict(False, "tokens")


_CHAT_TOKEN = re.compile(
    r"<\|[^|<>\n]{1,40}\|>|<｜[^｜<>\n]{1,40}｜>|\[/?INST\]|<</?SYS>>|</?s>|<(?:start|end)_of_turn>"
    r"|</?(?:think|tool_call|tool_response|answer)>|<(?:bos|eos|pad|unk|mask)>"
)


# What a parser should have taken off: a record of JSON or Python, and tags that name a part of it.
_RECORD = re.compile(
    r"^\s{0,9}(?:\[\s{0,9})?\{\s{0,9}[\"'“]?[\w ]{1,40}[\"'”]?\s{0,3}:\s{0,9}[\"'“\[{]"
    r"|^\s{0,9}\[\s{0,9}[\"“][^\"“”\n]{0,2000}[\"”]\s{0,9}[\],]"
)
_WRAPPED = re.compile(
    r"^\s{0,9}<(?P<name>[^\W\d_][\w:.-]{0,39})(?: [^<>\n]{0,80})?>.*</(?P=name)>\s{0,9}$"
)


def check_special_tokens(text: str, *, special_tokens: Sequence[str]) -> Verdict:
    """Refuse proposals that hold a chat template's token: the tokenizer's own, or a well-known one.

    The syntax of a record and tags around or between the parts of an instruction count as such.
    Some tokenizers add runs of white space as tokens; those are no reason.
    """
    found = [token for token in special_tokens if token.strip() and token in text]
    found += _CHAT_TOKEN.findall(text)[:5]
    found += known_tags(text)[:5] + [mark.group()[:20] for mark in _RECORD.finditer(text)]
    if wrapped := _WRAPPED.search(text):
        found.append(f"<{wrapped['name']}>")
    return Verdict(False, "special_token", {"found": found[:5]}) if found else KEEP


_LANGUAGE = r"(?:python|java|javascript|c\+\+|c#|matlab|mathematica|haskell|sql|fortran|bash|perl)"
_CODED = r"(?:python|javascript|c\+\+|c#|matlab|haskell|sql)(?![\w])"
_PROGRAM = re.compile(
    rf"{START}(?:write|implement|develop|create|design|code|build|give|provide) "
    rf"(?:an? |the |some |me )?(?:\w{{1,20}} ){{0,2}}?"
    rf"(?:programs?|scripts?|pseudo-?code|source code|code (?:that|to|which|for|in))\b"
    rf"|{START}(?:write|implement|develop|create|design|use|using"
    rf"|give)[^.?!\n]{{0,60}}\b{_LANGUAGE}"
    rf"(?![\w])"
    r"|\b(?:function|method|routine|class|solution|it) in (?:c|r|go|rust|ruby)\b(?= to\b|[.,?!]|$)"
    # "A function in Python takes 3 ms" is only about one.
    rf"|{START}in {_CODED}"
    rf"|{_CLAUSE}(?:find|compute|calculate|determine|evaluate|print|sort|return|solve|how|what"
    rf"|which)\b(?! (?:long|many|much|often|fast))[^.?!\n]{{0,80}}\bin {_CODED}"
    rf"|```|^#include\b|^\s{{0,8}}(?:def|class) \w{{1,40}} ?\(|^import \w",
    _I | re.MULTILINE,
)


def check_program(text: str) -> Verdict:
    """Refuse proposals that ask for a program, or hold code."""
    found = _PROGRAM.search(text)
    return Verdict(False, "program", {"found": found.group().strip()}) if found else KEEP


_PART = re.compile(
    r"(?:^|[\s*])(?:\(([a-h]|i{1,3}|iv|v)\)|([a-h]|i{1,3}|iv|v)\)"
    r"|part \(?([a-h])\)?\s?[:.)])(?=\*{0,2} )",
    re.IGNORECASE,
)
_STRONG = r"(?:find|compute|calculate|determine|evaluate|how many|how much|what (?:is|are)|solve)"
_STRONG_ASK = re.compile(rf"\b{_STRONG}\b", _I)
_STRONG_SENTENCE = re.compile(
    r"(?:^|[.?!;\n] {0,3})(?:\(?(?:\d{1,2}|[a-h]|i{1,3}|iv|v)[.):] {0,3})?"
    rf"(?:(?:then|next|also|finally|now|after that),? )?{_STRONG}\b",
    _I,
)


def check_one_question(text: str) -> Verdict:
    """Refuse proposals that ask several things: two question marks, parts (a) and (b), two orders.

    A question inside quotation marks is somebody's speech.
    """
    bare = QUOTED.sub(" ", text)
    if bare.count("?") >= 2:
        return Verdict(False, "several_questions", {"found": "??"})
    if labels := _lettered(bare):
        return Verdict(False, "several_questions", {"found": labels})
    parts = [] if CHOICE.search(bare) else _asking_parts(bare)
    if len(parts) >= 2:
        return Verdict(False, "several_questions", {"found": " ".join(parts)})
    orders = [found.group().strip(" .?!;\n") for found in _STRONG_SENTENCE.finditer(bare)]
    if len(orders) >= 2:
        return Verdict(False, "several_questions", {"found": " / ".join(orders[:5])})
    return KEEP


_LETTER = re.compile(r"(?:^|[\s*])\(?([A-Ha-h])[.)](?=\*{0,2} )")


_MAX_CHOICE_WORDS = 12


def _lettered(text: str) -> str:
    """Return the labels of a lettered list that is no list of choices; nothing without one.

    Choices stand behind a question, or before it. A list under no question is a list of tasks when
    two of its parts ask, and of statements when three ask nothing.
    """
    marks = [
        mark
        for place, mark in enumerate(islice(_LETTER.finditer(text), 8))
        if mark[1].lower() == "abcdefgh"[place]
    ]
    if len(marks) < 2 or ASKS.search(text, 0, marks[0].start()):
        return ""
    ends = [mark.start() for mark in marks[1:]] + [len(text)]
    asking = [
        ASKS.search(text[mark.end() : end].strip()) is not None
        for mark, end in zip(marks, ends, strict=True)
    ]
    is_short = len(text.split()) <= _MAX_CHOICE_WORDS * len(marks)
    is_choice = is_short and not any(asking) and text[: marks[0].start()].strip() != ""
    is_list = sum(asking) > 1 or (len(marks) > 2 and not any(asking) and not is_choice)
    return " ".join(mark.group().strip() for mark in marks) if is_list else ""


def _asking_parts(text: str) -> list[str]:
    """Return the labels of the lettered parts that ask something themselves."""
    marks = list(_PART.finditer(text))
    ends = [mark.start() for mark in marks] + [len(text)]
    return [
        mark.group().strip()
        for mark, end in zip(marks, ends[1:], strict=True)
        if _STRONG_ASK.search(text, mark.end(), end)
    ]


_MIN_UNREAD_WORDS = 3
_WORD = re.compile(r"[^\W\d_]+")


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
_MAX_FOREIGN_RATIO = 0.05
_FUNCTION_WORDS = frozenset(
    {"the", "of", "and", "to", "are", "what", "how", "many", "much", "find", "with", "from", "that"}
    | {
        "each",
        "does",
        "for",
        "have",
        "if",
        "there",
        "they",
        "his",
        "her",
        "this",
        "its",
        "by",
        "was",
    }
    | {
        "were",
        "be",
        "been",
        "which",
        "when",
        "than",
        "then",
        "more",
        "left",
        "at",
        "she",
        "it",
        "you",
    }
    | {"your", "given", "where", "let", "into", "is", "an", "in"}
)
_MIN_WORDS_FOR_LANGUAGE = 7
_MIN_FUNCTION_RATIO = 0.08
# What a short question in another language begins with; no English word is among them.
_FOREIGN_ASK = re.compile(
    r"¿|\b(?:was ist|wie viele?|wieviel|berechnen?|combien|quel(?:le)?s?|calcul(?:e|ar|er|ez)"
    r"|trouve[rz]|encuentra|cu[aá]nt[oa]s?|cuál|quant[ie])\b",
    _I,
)
_COMMAND = re.compile(r"\\[A-Za-z]+")


def check_language(text: str) -> Verdict:
    """Refuse proposals in another script than Latin, or in Latin letters but not in English.

    English is told by its function words: a sentence of seven words or more has some. A text
    of any length is refused for what a question in another language begins with.
    """
    letters = [sign for sign in compose(text, "NFKC") if sign.isalpha()]
    foreign = [sign for sign in letters if not sign.isascii() and not _is_expected(sign)]
    if len(foreign) > _MAX_FOREIGN_RATIO * len(letters):
        return Verdict(False, "language", {"found": "".join(foreign[:20])})
    if asked := _FOREIGN_ASK.search(text):
        return Verdict(False, "language", {"found": asked.group()})
    words = [word for word in _WORD.findall(_COMMAND.sub(" ", text).lower()) if len(word) > 1]
    num_english = sum(word in _FUNCTION_WORDS for word in words)
    if len(words) >= _MIN_WORDS_FOR_LANGUAGE and num_english < _MIN_FUNCTION_RATIO * len(words):
        return Verdict(False, "language", {"found": " ".join(words[:10])})
    return KEEP


def _is_expected(sign: str) -> bool:
    return unicodedata.name(sign, "").startswith(_SCRIPTS)


_TALK = re.compile(
    r"\b(?:ignore|disregard|forget) (?:all |any |everything )?(?:of )?(?:the |these |those |my "
    r"|your )?"
    r"(?:above|previous|prior|earlier|preceding|instructions?|messages?|rules)\b"
    r"|\b(?:system prompt|language model|as an ai\b|i am an ai|i'm an ai|chatgpt|chatbot)"
    r"|\byou are (?:an? |the )?(?:\w{1,20} ){0,2}(?:assistant|teacher|tutor|model|ai|expert)\b"
    r"|\b(?:ignore|disregard|forget) everything\b(?! (?:but|except))"
    r"|\b(?:previous|prior|earlier|old) (?:instructions?|prompts?) "
    r"(?:no|do|does|are|is|should|must)\b"
    r"|\bnew instructions? ?:|\banswer (?:every|all|each|any) (?:\w{1,20} )?questions? with\b"
    rf"|{START}(?:respond|reply)(?: only| just)? with\b|\b(?:respond|reply) only (?:with|by|in)\b"
    r"|\byou (?:must|should|shall|will) (?:now |only |always |just )?(?:output|respond|reply)\b"
    r"|\bpretend (?:to be|that you(?: are|'re)|you(?: are|'re)) (?:an?|the|my|not|no)\b"
    rf"|{START}act as (?:an?|if you|though)\b"
    r"|\b(?:do not|don't|never) (?:solve|answer) (?:this|the|any) (?:problem|question|task)s?\b"
    rf"|{START}(?:write|create|generate|invent|make up|continue writing) (?:\w{{1,20}} ){{0,3}}"
    r"(?:problems?|questions?|exercises?)\b"
    r"|^\W{0,5}(?:assistant|user|system|human) ?:"
    r"|^\W{0,5}(?:sure|certainly|of course|absolutely|great|okay|ok|here (?:are|is|'s)|hello"
    r"|hi)\b ?[!,:]"
    r"|^\W{0,5}here (?:are|is) (?:\w{1,20} ){0,4}(?:problems?|questions?|examples?)\b"
    r"|\bi hope (?:this|these|that|you)\b|\blet me know\b|\bfeel free\b|\bhappy to help\b"
    r"|\b(?:would you like|do you want) (?:me|another|more|to (?:see|try|continue))\b"
    r"|\bi(?:'m| am) sorry\b|\bi (?:can(?:no|')t|cannot|will not|won't|can help)\b"
    rf"|{START}(?:always|only) (?:answer|respond|reply|output)\b"
    r"|\byour (?:response|reply|output|completion) (?:must|should|has to)\b"
    r"|\bhere are (?:some |\w{1,20} )?(?:more |new )?(?:problems|questions)\b",
    _I,
)


def check_model_talk(text: str) -> Verdict:
    """Refuse proposals that talk to the model, or as one, instead of stating a problem."""
    if introduces(text):
        return Verdict(False, "talks_to_model", {"found": text[:80]})
    found = _TALK.search(text)
    return Verdict(False, "talks_to_model", {"found": found.group().strip()}) if found else KEEP


_PAPER_WORDS = re.compile(r"\b(?:image|graph|picture|file|map|draw|plot|go to)\b", _I)


def check_paper_length(text: str, *, min_words: int, max_words: int) -> Verdict:
    """Refuse proposals outside [min_words, max_words] words: the paper's rule."""
    return KEEP if min_words <= len(text.split()) <= max_words else Verdict(False, "length")


def check_paper_words(text: str) -> Verdict:
    """Refuse proposals that hold one of the paper's words for a figure or a file."""
    found = _PAPER_WORDS.search(text)
    return Verdict(False, "paper_words", {"found": found.group()}) if found else KEEP


def check_paper_program(text: str) -> Verdict:
    """Refuse proposals that begin with "Write a program", the paper's rule."""
    return Verdict(False, "paper_program") if text.startswith("Write a program") else KEEP


def check_paper_start(text: str) -> Verdict:
    """Refuse proposals that begin with punctuation or outside ASCII, the paper's rule."""
    first = text[:1]
    bad = first != "" and (first in string.punctuation or not first.isascii())
    return Verdict(False, "paper_start", {"found": first}) if bad else KEEP
