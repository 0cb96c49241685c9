"""Answers in words: prose, times of day, ratios, ordinals, numbers in a base, the unread rest."""

import re

from serl_trl.answer_kinds import latex
from serl_trl.answer_kinds.forms import Form, Formula, Words
from serl_trl.answer_kinds.latex import Token

_TIME = re.compile(r"(\d{1,2})(?::(\d\d))?(?::(\d\d))?([ap])\.?m\.?", re.IGNORECASE)
_RATIO = re.compile(r"\d+(?:\.\d+)?(?::\d+(?:\.\d+)?)+")
_ORDINAL = re.compile(r"(\d+)\^?(?:st|nd|rd|th)", re.IGNORECASE)
_BASED = re.compile(r"([0-9A-Fa-f]+)_(\d+|[a-z]+)")
_MODULO = re.compile(r"(?:[a-z]\\equiv|[a-z]=)?(-?\d+)\(?\\?p?mod(?:ulo)?(\d+)\)?")
_BASES = {
    name: str(base)
    for base, name in enumerate(
        (
            "two",
            "three",
            "four",
            "five",
            "six",
            "seven",
            "eight",
            "nine",
            "ten",
            "eleven",
            "twelve",
        ),
        2,
    )
}


def read_words(text: str) -> Form | None:
    """Words, times, ratios, ordinals and numbers in a base, which no grammar of values covers."""
    if latex.is_prose(text):
        return Words(latex.words(text))
    if not text[:1].isalnum() and not text.startswith(("(", "-", "\\text{")):
        return None
    bare = re.sub(r"\\(?:text\w*|mbox|mathrm)\s?|\\[!,;: ]|[{}\s~]", "", text)
    bare = bare.replace("\\colon", ":")
    if match := _TIME.fullmatch(bare):
        hour, minute, second, half = match.groups()
        seconds = f":{second}" if second and second != "00" else ""
        return Words(f"{int(hour)}:{minute or '00'}{seconds} {half.lower()}m")
    if match := _ORDINAL.fullmatch(bare):
        return Words(f"{int(match[1][:40])}th")
    if _RATIO.fullmatch(bare):
        return Words(bare)
    if match := _MODULO.fullmatch(bare):
        return Words(f"{match[1]} mod {match[2]}")
    if match := _BASED.fullmatch(bare.removeprefix("(").replace(")_", "_")):
        base = match[2]
        if not base.isdigit():
            base = _BASES.get(base, "")
        if base and any(digit.isdigit() for digit in match[1]):
            return Words(f"{match[1].upper()}_{{{base}}}")
    return None


def keep_unread(text: str, tokens: list[Token]) -> Form:
    """What the grammar does not cover: words, or a formula for math-verify."""
    commands = [token for token in tokens if token.type == "command"]
    operators = [token for token in tokens if token.type == "sign" and token.text in "+*/=^_<>|"]
    long_words = [token for token in tokens if token.type == "word" and len(token.text) > 2]
    if len(long_words) > 1 or not (commands or operators):
        return Words(latex.words(text))
    shown = (f"\\text{{{t.text}}}" if t.type == "word" else t.text for t in tokens[:-1])
    return Formula(" ".join(shown) or text)
