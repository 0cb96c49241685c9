"""What stands between two boxes: does it make them parts of one answer, and does it name them?"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from serl_trl.answers.math.vocabulary import NEUTRAL, STEPS

# Boxes further apart are two answers.
MAX_CHARS = 120

# More words than this are a sentence, and each box has its own.
_MAX_WORDS = 5
# A formula, an aligned row or a line of its own may hold each box.
_LAYOUT = re.compile(
    r"\\(?:text|textbf|mathrm|mbox)\s?\{([^{}]*)\}|\\[()\[\],;:! ]|\\(?:left|right)\b|&(?=\s?=)"
    r"|[$*{}]"
)
_BREAK = re.compile(r"\\\\|\\q?quad\b")
# Two sentences give two answers, and so does a colon: "answer: 5".
_SENTENCE_END = re.compile(r"[.?!](?:[\s\"')]|$)|\n\s*\n|:")
_INDEX = r"(?:_\{?\w{1,9}\}?)?"
# x =, AB =, \angle A =, x_1 is: what names the number that follows.
_NAME = re.compile(
    rf"(?<![\w\\])((?:\\angle )?[A-Za-z]{{1,3}}{_INDEX}|\\[a-z]{{2,9}}{_INDEX})"
    r"\s{0,3}(?:=|(?<=\b\w )is)\s{0,3}$"
)
_TOKEN = re.compile(r"[^\W\d_]+|\S")
_SEPARATORS = frozenset({",", ";", "&", "and", "or"})


@dataclass(frozen=True)
class Joint:
    """What joins a box to the one before: the name it is given, if any, and telling words."""

    name: str
    tells_apart: bool


def read_joint(between: str) -> Joint | None:
    """Read the text between two boxes; `None` when they are not parts of one answer."""
    if len(between) > MAX_CHARS or _SENTENCE_END.search(between):
        return None
    text = _BREAK.sub(" , ", between)
    text = _LAYOUT.sub(lambda found: found[1] or " ", text)
    name = name_before(text)
    tokens = [token.lower() for token in _TOKEN.findall(_NAME.sub("", text))]
    words = [token for token in tokens if token not in _SEPARATORS]
    if not all(word.isalpha() for word in words) or not STEPS.isdisjoint(words):
        return None
    # Boxes side by side, with nothing but layout between them.
    close = not tokens and "\n" not in between
    if len(words) > _MAX_WORDS or not (close or name or len(words) < len(tokens)):
        return None
    return Joint(name, tells_apart=not NEUTRAL.issuperset(words))


def name_before(text: str) -> str:
    """The name that `text` gives to what follows it, as in "so x = "; empty without one."""
    # Bounded, because a pattern that is tied to the end of a text is tried at each place before it.
    found = _NAME.search(_LAYOUT.sub(lambda match: match[1] or " ", text[-MAX_CHARS:]))
    return found[1] if found else ""


def join(parts: Sequence[str], joints: Sequence[Joint], first_name: str, *, tuples: bool) -> str:
    """Write parts as one answer: named, or with `tuples` in brackets where their order counts."""
    if len(set(parts)) == 1:
        return parts[0]
    names = [first_name, *(joint.name for joint in joints)]
    if all(names) or (names[0] and not any(names[1:])):
        pairs = zip(names, parts, strict=True)
        parts = [f"{name}={part}" if name and "=" not in part else part for name, part in pairs]
    joined = ", ".join(parts)
    ordered = any(joint.tells_apart for joint in joints) and not any(names)
    return f"({joined})" if tuples and ordered else joined
