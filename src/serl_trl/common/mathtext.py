"""Mathematical text as tokens: words, numbers, operators and LaTeX commands; templates; digests."""

import hashlib
import re

from serl_trl.common.plain_yaml import own_table
from serl_trl.common.text import compose

# A number keeps its decimals and thousands groups; a command keeps its case (\Delta is not \delta);
# an apostrophe after a single letter is a derivative.
_MATH = re.compile(
    r"(?P<number>(?:(?<![\d,])[1-9]\d{0,2}(?:,\d{3})+(?![\d,])|\d+)(?:\.\d+)?)"
    r"|(?P<command>\\[A-Za-z]+)"
    r"|(?P<word>[^\W\d_]+)"
    r"|(?P<prime>(?<=[A-Za-z])'+(?![A-Za-z]))"
    r"|(?P<bracket>[()\[\]{}])"
    r"|(?P<operator>[-+*/^=<>!%|&~]|[^\w\s\\$,.;:?'\"`#@])"
)

_SUPERSCRIPTS = str.maketrans(
    {sign: f"^{digit}" for digit, sign in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")} | {"⁻": "^-", "ⁿ": "^n"}
)

_LISTS = own_table(__file__)
_SAME = {
    other: first
    for first, *others in map(str.split, _LISTS["spellings"].splitlines())
    for other in others
}
_LAYOUT = frozenset(_LISTS["layout"].split())
_NUMBER_WORDS = frozenset(_LISTS["number_words"].split())
_BRACKETS = frozenset("()[]{}")
# x^{2} and x^2 are one text.
_LONE_GROUP = re.compile(r"\{\s*(\\[A-Za-z]+|\d+|[A-Za-z])\s*\}")


def plain_tokens(text: str) -> list[str]:
    """Split `text` as the paper's novelty rule does: by `rouge_score`, without a stemmer."""
    # Imported here: commands that read proposals but judge none need not load it.
    from rouge_score.tokenize import tokenize

    return tokenize(text, None)


def math_tokens(text: str) -> list[str]:
    """Split `text` into words, numbers, operators and LaTeX commands, in their order.

    Words are lower-cased, commands keep their case, thousands commas go, spelling variants of one
    sign become one token; brackets and layout (dollar signs, `\\left`, fonts) are left out.
    """
    return [token for token in _tokens(text) if token not in _BRACKETS]


def normal_form(text: str) -> str:
    """Return what stays of `text` when case, white space and the spelling of signs do not count.

    Unlike `math_tokens` it keeps brackets: (2+3)*4 is not 2+3*4.
    """
    return " ".join(_tokens(_LONE_GROUP.sub(r" \1 ", text)))


def template(text: str) -> str:
    """Return the normal form with every number masked: what texts share that differ in numbers.

    Number words are numbers, and a run of numbers is one mask, so that a longer list of data is
    still the same template.
    """
    masked: list[str] = []
    for token in normal_form(text).split(" "):
        if token[:1].isdecimal() or token in _NUMBER_WORDS:
            if masked and masked[-1] == "#":
                continue
            token = "#"
        masked.append(token)
    return " ".join(masked)


def digest(text: str) -> bytes:
    """Return 16 bytes that stand for `text` in a set of known texts."""
    # Of a billion texts two share 16 bytes with a chance below 1e-20.
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _tokens(text: str) -> list[str]:
    text = compose(text.translate(_SUPERSCRIPTS), "NFKC")
    tokens = []
    for match in _MATH.finditer(text):
        token = match.group()
        if match.lastgroup == "number":
            token = token.replace(",", "")
        elif match.lastgroup == "word":
            token = token.lower()
        token = _SAME.get(token, token)
        if token not in _LAYOUT:
            tokens.append(token)
    return tokens
