"""Answers in words: prose, times of day, ratios, ordinals, numbers in a base, the unread rest."""

import math
import re
from collections.abc import Callable, Sequence

from serl_trl.answers.math import lexer as latex
from serl_trl.answers.math.algebra import Value, number
from serl_trl.answers.math.forms import Form, Formula, Ratio, Scalar, Words, name_values
from serl_trl.answers.math.lexer import Token
from serl_trl.answers.math.measures import measure_of
from serl_trl.answers.math.ranges import REALS, form_of
from serl_trl.answers.math.values import Unsettled
from serl_trl.answers.math.vocabulary import EXPRESSIONS, MULTIPLIERS, PHRASES, RELATIONS

_LAYOUT = re.compile(r"\\(?:text\w*|mbox|mathrm)\s?|\\[!,;: ]|[{}\s~]")
# A size is no product: a 3 x 4 matrix is neither 12 nor a 4 x 3 matrix.
_FACTOR = r"(?:\d{1,20}(?:\.\d{1,20})?|[A-Za-z])"
_SHAPES = r"matri(?:x|ces)|grid|table|board|chessboard|array|rectangle|square|block|box"
_LENGTHS = re.compile(r"(?:mm|cm|dm|m|km|in|ft|yd|mi)")
_NUMBER_NAMES = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
NUMBER_WORDS = {
    name: str(base) for base, name in enumerate((*_NUMBER_NAMES, "eleven", "twelve"), 2)
}


def read_words(text: str) -> Form | None:
    """Words, times, ordinals and numbers in a base, which no grammar of values covers."""
    # Cheap to ask, and spares most answers seven patterns.
    begins = text[:1].isalnum() or text.startswith(("(", "-", "\\text{"))
    if (
        begins
        and (any(sign.isdigit() for sign in text) or "\\times" in text)
        and (form := _pattern(text)) is not None
    ):
        return form
    if latex.is_prose(text):
        return _phrase(text)
    return None


def _phrase(text: str) -> Form:
    """Words in one spelling; some of them name a set."""
    plain = latex.words(text)
    plain = PHRASES.get(plain, plain)
    return form_of(REALS) if plain == "all real numbers" else Words(plain)


def _pattern(text: str) -> Form | None:
    """Digits and words in one of a few fixed patterns."""
    # Without blanks the patterns need not say where blanks may stand.
    bare = _LAYOUT.sub("", text).replace("\\colon", ":")
    for pattern, read in _PATTERNS.items():
        if (match := pattern.fullmatch(bare)) and (form := read(match)) is not None:
            return form
    return None


def _time(match: re.Match[str]) -> Form:
    hour, minute, second, half = match.groups()
    seconds = f":{second}" if second and second != "00" else ""
    return Words(f"{int(hour)}:{minute or '00'}{seconds} {half.lower()}m")


def _ordinal(match: re.Match[str]) -> Form:
    # Cut, because Python refuses to read a number of thousands of digits.
    return Words(f"{int(match[1][:40])}th")


def _congruent(match: re.Match[str]) -> Form:
    """A class of numbers, named by its smallest one."""
    value, modulus = match.groups()
    if len(value) + len(modulus) > 100 or not int(modulus):
        return Words(f"{value} mod {modulus}")
    return Words(f"{int(value) % int(modulus)} mod {int(modulus)}")


def _chance(match: re.Match[str]) -> Form | None:
    # A chance out of 0 has no value, and a longer text is not a chance.
    if len(match[0]) >= 40 or not int(match[2]):
        return None
    return Scalar(number(int(match[1])) / number(int(match[2])))


def _quotient(match: re.Match[str]) -> Form | None:
    if len(match[0]) >= 100:
        return None
    pairs = zip(("quotient", "remainder"), match.groups(), strict=True)
    return name_values([(name, Scalar(number(int(digits)))) for name, digits in pairs])


def _size(match: re.Match[str]) -> Form | None:
    if not _is_size(match[1], match[2]):
        return None
    sides = re.sub(r"\\times|-?by-?|[xX]", " by ", match[1])
    return Words(f"{sides} {match[2].lower()}".strip())


def _based(match: re.Match[str]) -> Form | None:
    digits, base = (group.replace("(", "").replace(")", "") for group in match.groups())
    base = base if base.isdigit() else NUMBER_WORDS.get(base, "")
    has_digits = any(digit.isdigit() for digit in digits)
    return Words(f"{digits.upper()}_{{{base}}}") if base and has_digits else None


# Read in this order; a reader may leave what it finds to those that come after it.
_PATTERNS: dict[re.Pattern[str], Callable[[re.Match[str]], Form | None]] = {
    re.compile(r"(\d{1,2})(?::(\d\d))?(?::(\d\d))?([ap])\.?m\.?", re.IGNORECASE): _time,
    re.compile(r"(\d+)\^?(?:st|nd|rd|th)", re.IGNORECASE): _ordinal,
    re.compile(r"(?:[A-Za-z](?:\\equiv|=))?(-?\d+)\(?\\?p?mod(?:ulo)?(\d+)\)?"): _congruent,
    re.compile(r"(\d+)(?:in|outof)(?:every)?(\d+)"): _chance,
    re.compile(
        r"(?:quotient(?:is|=|:)?)?(\d+),?(?:and)?(?:with)?(?:an?)?"
        r"(?:R|r|rem\.?|remainder)(?:of|is|=|:)?(\d+)"
    ): _quotient,
    re.compile(rf"({_FACTOR}(?:(?:\\times|-?by-?|[xX]){_FACTOR}){{1,3}})-?([A-Za-z]*)"): _size,
    re.compile(r"([0-9A-Fa-f()]+)_([(]*(?:\d[\d()]*|[a-z][a-z()]*))"): _based,
}


def _is_size(sides: str, word: str) -> bool:
    """Whether what stands before a word is a size of it; before other words it is a product."""
    if re.search(rf"(?:{_SHAPES})s?$", word, re.IGNORECASE):
        return True
    if re.search(r"[A-WYZa-wyz]", re.sub(r"\\times|by", "", sides)):
        return False
    measure = measure_of(word)
    if measure is not None:
        return _LENGTHS.fullmatch(measure) is not None
    if not word:
        return "by" in sides
    area = re.match(r"(?:square|sq|cubic|cu)(.+)", word)
    return len(word) > 2 and word.lower() not in MULTIPLIERS and not (area and measure_of(area[1]))


def ratio(parts: Sequence[Form], written: Sequence[str]) -> Form:
    """Numbers in proportion; what may be a time of day, such as 12:30, stays as written."""
    values = [part.value for part in parts if isinstance(part, Scalar)]
    if len(values) < len(parts) or len({p.unit for p in parts if isinstance(p, Scalar)}) > 1:
        raise Unsettled("a ratio of other things than numbers")
    # 2:4 and 1:2 are one ratio; 12:30 and 2:5 are not, if it is a time.
    scaled = _scaled(values)
    is_time = bool(re.fullmatch(r"\d{1,2}(?: [0-5]\d)+", " ".join(written)))
    if is_time and [int(text) for text in written] != [value.rational for value in scaled]:
        return Words(":".join([str(int(written[0])), *written[1:]]))
    if is_time and any(text.startswith("0") for text in written[1:]):
        return Words(":".join([str(int(written[0])), *written[1:]]))
    return Ratio(tuple(Scalar(value) for value in scaled))


def _scaled(values: list[Value]) -> list[Value]:
    known = [value.rational for value in values]
    rational = [fraction for fraction in known if fraction is not None]
    if len(rational) == len(values) and any(rational):
        scale = math.lcm(*(fraction.denominator for fraction in rational))
        whole = [int(fraction * scale) for fraction in rational]
        return [number(part // math.gcd(*whole)) for part in whole]
    return [value / values[0] for value in values]


def keep_unread(text: str, tokens: list[Token]) -> Form:
    """What the grammar does not cover: a formula for math-verify, or text.

    Math-verify reads what it can of a text and drops the rest, so it is given expressions only.
    """
    commands = [token for token in tokens if token.type == "command"]
    operators = [token for token in tokens if token.type == "sign" and token.text in "+*/=^_<>|:"]
    if not (commands or operators):
        return _phrase(text)
    if _is_expression(tokens[:-1]):
        return Formula(" ".join(token.text for token in tokens[:-1]))
    return Words(normal(tokens[:-1]))


def _is_expression(tokens: list[Token]) -> bool:
    """Whether nothing but one expression stands here; relations only below a sum or limit."""
    known = EXPRESSIONS | RELATIONS | {"\\to"}
    below: list[bool] = []
    for before, token in zip([Token("end", ""), *tokens], tokens, strict=False):
        if token.text in ("{", "("):
            below.append(before.text == "_")
        elif token.text in ("}", ")"):
            if not below:
                return False
            below.pop()
        inside = any(below)
        if token.text in RELATIONS | {"\\to", ","} and not inside:
            return False
        if token.type == "word" or token.text in (":", ";", "?"):
            return False
        if token.type == "command" and token.text not in known:
            return False
    return not below


def normal(tokens: Sequence[Token]) -> str:
    """One spelling of text that is compared as it stands: no layout, words in lower case."""
    texts = [t.text.lower() if t.type == "word" else t.text for t in tokens]
    kept: list[str] = []
    for text in texts:
        kept.append(text)
        # Braces around one token are layout: a_{n} is a_n.
        if text == "}" and kept[-3:-2] == ["{"]:
            kept[-3:] = kept[-2:-1]
    return " ".join(kept)
