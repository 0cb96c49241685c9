"""The left side of an assignment: `x =`, `f(x) =`, `AB =`, `\\angle ABC =`."""

from collections.abc import Sequence

from serl_trl.answers.math.cursor import Cursor
from serl_trl.answers.math.factors import FUNCTIONS
from serl_trl.answers.math.forms import Form, Scalar
from serl_trl.answers.math.lexer import Token
from serl_trl.answers.math.values import Unsettled
from serl_trl.answers.math.vocabulary import ACCENTS, FONTS, GREEK

# What may stand between items, and what it means; \land and \lor are kept apart because they join
# relations only.
SEPARATORS = {",": ",", ";": ",", "\\\\": ",", "and": "and", "or": "or"}
SEPARATORS |= {"\\land": "\\land", "\\lor": "\\lor"}
_ASSIGNS = ("=", "\\approx")
# Before brackets any other letter is a factor: x(x + 1).
_FUNCTION_LETTERS = frozenset("fghFGHpqPQT")
_INVERSES = ("f^{-1}(", "g^{-1}(", "h^{-1}(", "f'(", "f''(")
_IN_RATIOS = GREEK | FUNCTIONS | FONTS | ACCENTS | {"\\angle", "\\triangle"}
_OPERATORS = frozenset({"+", "-", "*", "/", "\\times"})


def read_name(at: Cursor) -> str:
    """Skip a name with its equals sign and return it; empty where none stands."""
    if at.peek().text == "\\approx" and at.peek(1).text not in ("\\neg", "("):
        if at.peek(1).type == "symbol":
            raise Unsettled("not, or like")
        at.next()
    left = _left_side(at)
    texts = [token.text for token in left]
    if not left or not is_name(left) or texts in (["e"], ["i"]):
        return ""
    # x_1 is a name, and in a list the values of x_1 and x_2 are two values of x.
    has_index = len(texts) > 2 and texts[1] == "_" and ":" not in texts
    if has_index and _OPERATORS & set(texts):
        return ""
    at.position += len(left) + 1
    if has_index:
        return f"{texts[0]}_{{{' '.join(texts[2:]).strip('{ }')}}}"
    return "".join(texts)


def _left_side(at: Cursor) -> list[Token]:
    """The tokens before an equals sign; none where an item ends before one."""
    end, depth = at.position, 0
    while depth or at.tokens[end].text not in (*_ASSIGNS, *SEPARATORS):
        depth += {"(": 1, ")": -1}.get(at.tokens[end].text, 0)
        if at.tokens[end].type == "end":
            return []
        end += 1
    return at.tokens[at.position : end] if at.tokens[end].text in _ASSIGNS else []


def is_name(left: Sequence[Token]) -> bool:
    """Whether the tokens before an equals sign only name what follows."""
    texts = [token.text for token in left]
    plain = not _OPERATORS & set(texts)
    # a:b = 2:3 names a ratio.
    if ":" in texts:
        return plain and _names_a_ratio(left, texts)
    if len(left) == 1:
        return left[0].type in ("symbol", "word") or texts[0] in GREEK
    called = left[0].type == "symbol" and texts[1] == "(" and texts[-1] == ")"
    # f(x), and y(t), but not x(x).
    called &= texts[0] in _FUNCTION_LETTERS or (len(texts) == 4 and texts[2] != texts[0])
    if called and not plain and any(token.type == "symbol" for token in left[2:]):
        raise Unsettled("a function at some place beside its argument")
    return (
        (len(texts) > 3 and called)
        or all(token.type == "word" for token in left)
        or all(token.type == "symbol" and token.text.isupper() for token in left)
        or (plain and texts[0] in ("\\angle", "\\triangle", "\\overline"))
        or (plain and len(texts) > 3 and texts[:2] == ["m", "\\angle"])
        or (len(texts) == 4 and texts[0] in FONTS | ACCENTS)
        or (texts[1] == "_" and _is_subscript(texts[2:]))
        or "".join(texts).startswith(_INVERSES)
        or (len(texts) > 4 and texts[0] == "(" and texts[2] == "," and texts[-1] == ")")
    )


def _names_a_ratio(left: Sequence[Token], texts: list[str]) -> bool:
    """Whether quantities with colons between them are names, in which numbers are subscripts."""
    if any(token.type == "command" and token.text not in _IN_RATIOS for token in left):
        return False
    numbers = [place for place, token in enumerate(left) if token.type == "number"]
    return all(place and texts[place - 1] in ("_", "{") for place in numbers)


def _is_subscript(texts: list[str]) -> bool:
    return len(texts) == 1 or (texts[:1] == ["{"] and texts[-1] == "}" and texts.count("}") == 1)


def mentions(name: str, sides: Sequence[Form]) -> bool:
    """Whether a side is about what is being defined: a_n of a_{n-1}, f(x) of f(x-1)."""
    symbols = {each for side in sides if isinstance(side, Scalar) for each in side.value.symbols}
    if name in symbols:
        return True
    if "_" in name:
        head = name.partition("_")[0]
        return any(symbol.partition("_")[0] == head and "_" in symbol for symbol in symbols)
    return name[1:2] == "(" and name[0] in symbols
