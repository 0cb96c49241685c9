"""Notations that are written anew before the grammar reads them."""

import re

from serl_trl.answers.math.lexer import END, Token
from serl_trl.answers.math.vocabulary import RELATIONS

# d.n.e.
_INITIALS = re.compile(r"(?<![\w.])d\.\s?n\.\s?e(?:\.|(?!\w))", re.IGNORECASE)
_REALS = re.compile(
    r"(?:\\math(?:bb|bf|rm)\s?\{?R\}?|(?<![\w\\{ ])R)"
    r"(?=\s?\\(?:setminus|backslash|smallsetminus)\b)"
)
# "all real numbers except 2" in the words of models, up to the number.
_EXCEPT = re.compile(
    r"(?:\\text\s?\{\s?)?(?:all|any|every)(?: of)?(?: the)? real(?:s| numbers?)"
    r"(?: [a-z])?,? (?:except|excluding|other than|but)(?: for)?(?: (?=[a-z]))?\s?\}?\s?"
    r"(?:[a-z]\s?(?:=|is|\\ne)\s?)?(?=[-\d\\])",
    re.IGNORECASE,
)
# ]2, 5[ is how France writes an open interval.
_FRENCH = re.compile(r"([\[\]])([^\[\](),;]{1,60}[,;][^\[\](),;]{1,60})([\[\]])")
_CHOSEN = re.compile(r"(\d{1,4})\s?([CP])\s?(\d{1,4})")
# "boys: 3, girls: 4" would be read as ratios.
_COUNT = r"(?:\\text\s?\{\s?)?([A-Za-z]{2,20})(?:\s?:\s?\}|\s?\}?\s?:)\s?(-?\d{1,15}(?:\.\d{1,9})?)"
_COUNTS = re.compile(rf"{_COUNT}(?:\s?[,;]\s?(?:and )?{_COUNT}){{1,9}}")


def respell(text: str) -> str:
    """Respell initials, outward brackets, exceptions, choices and counts by name."""
    text = _INITIALS.sub("DNE", text)
    text = _REALS.sub(r"\\R ", text)
    text = _EXCEPT.sub(r"x \\ne ", text, count=1)
    if re.match(r"\\?(?:left)?\s?\]", text) or text.rstrip().endswith("["):
        text = _FRENCH.sub(_turned, text)
    if match := _CHOSEN.fullmatch(text):
        order = f" ({match[3]})!" if match[2] == "P" else ""
        return f"\\binom{{{match[1]}}}{{{match[3]}}}{order}"
    if _COUNTS.fullmatch(text):
        return re.sub(_COUNT, r"\\text{\1} = \2", text)
    return text


def exceptions(tokens: list[Token]) -> list[Token]:
    """Read `x \\ne 0, 1` and `x \\ne \\pm 1` as all real numbers without those listed."""
    texts = [token.text for token in tokens[2:-1]]
    if tokens[0].type != "symbol" or tokens[1].text != "\\ne" or not texts:
        return tokens
    listed = {",", "and", "or", ";"} & set(texts)
    signs = texts[0] == "\\pm" and not listed
    others = RELATIONS | {"\\pm", "\\mp", "\\in", "\\land", "\\lor", "\\}", ":"}
    if not (listed or signs) or others & set(texts[signs:]):
        return tokens
    if any(token.type == "symbol" and token.text not in "e" for token in tokens[2:]):
        return tokens
    comma, inner = Token("sign", ","), tokens[2:-1]
    if signs:
        inner = [*inner[1:], comma, Token("sign", "-"), Token("sign", "("), *inner[1:]]
        inner.append(Token("sign", ")"))
    inner = [comma if token.text in ("and", "or", ";") else token for token in inner]
    pairs = zip(inner, [END, *inner], strict=False)
    inner = [token for token, before in pairs if not token.text == before.text == ","]
    head = [Token("command", "\\R"), Token("command", "\\setminus"), Token("command", "\\{")]
    return [*head, *inner, Token("command", "\\}"), END]


def _turned(match: re.Match[str]) -> str:
    low, inner, high = match.groups()
    return f"{'[' if low == '[' else '('}{inner}{']' if high == ']' else ')'}"
