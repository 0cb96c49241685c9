"""Final-answer markers: where in a completion the answer stands."""

import re
from collections import deque
from itertools import pairwise
from typing import NamedTuple

from serl_trl.answers import joints

# One pass over the text, so that thousands of unclosed markers cost no more than plain text does.
# Up to four backslashes: models print \boxed doubled when they write JSON or source code.
_TOKEN = re.compile(r"\\{1,4}(?:boxed|fbox)\s{0,8}\{|\\.|[{}]", re.DOTALL)
# Bounded repetitions: a line of thousands of stars is read once.
_ANSWER_LINE = re.compile(
    r"^[ \t>*_#-]{0,8}(?:the )?(?:final )?answer[ *_]{0,4}[:：][ *_]{0,4}(\S[^\n]{0,2000})$",
    re.IGNORECASE | re.MULTILINE,
)
_HASHES = re.compile(r"^[ \t]{0,8}####[ \t]{0,8}(\S[^\n]{0,2000})$", re.MULTILINE)

# Where the content of a marker begins, and the content.
Found = tuple[int, str]


class _Box(NamedTuple):
    """A closed, non-empty marker: where it, its content and the whole of it end."""

    start: int
    inside: int
    end: int
    content: str


def last_boxed(completion: str) -> Found | None:
    """Find the last non-empty balanced `\\boxed{}` or `\\fbox{}`: its offset and its content.

    Of nested markers the innermost counts. Escaped braces are text.
    """
    boxes = _boxes(completion)
    return (boxes[-1].inside, boxes[-1].content) if boxes else None


def last_boxes(completion: str, *, tuples: bool = False) -> Found | None:
    """Find the last box, together with those before it that are parts of the same answer.

    Boxes are one answer when only a comma, a semicolon, "and", "or", a LaTeX blank or a few words
    stand between them, in one sentence. Commas join the parts. Parts with names keep them, as in
    `x=2, y=3`. With `tuples`, parts that words tell apart ("\\boxed{3} boys and \\boxed{4} girls")
    stand in round brackets, because their order counts.
    """
    boxes = _boxes(completion)
    if not boxes:
        return None
    found: list[joints.Joint] = []
    for before, box in pairwise(reversed(boxes)):
        joint = joints.read_joint(completion[box.end : before.start])
        if joint is None:
            break
        found.insert(0, joint)
    last = boxes[-1]
    if not found:
        return last.inside, last.content
    parts = boxes[-1 - len(found) :]
    start = parts[0].start
    name = joints.name_before(completion[max(0, start - joints.MAX_CHARS) : start])
    return last.inside, joints.join([b.content for b in parts], found, name, tuples=tuples)


def _boxes(completion: str) -> list[_Box]:
    """Every closed, non-empty marker that holds no other, in their order."""
    found: list[_Box] = []
    opened: list[tuple[int, int]] = []  # where the marker starts and ends, or -1 for a plain brace
    for token in _TOKEN.finditer(completion):
        text = token.group()
        if text == "}":
            start, inside = opened.pop() if opened else (-1, -1)
            # What encloses another box is not even cut out: nested ones would cost quadratic time.
            if inside > (found[-1].inside if found else -1):
                content = trim(completion[inside : token.start()])
                found += [_Box(start, inside, token.end(), content)] if content else []
        # Two characters are an escaped brace, which is text.
        elif text[-1] == "{" and len(text) != 2:
            opened.append((token.start(), token.end() if len(text) > 1 else -1))
    return found


def last_answer_line(completion: str) -> Found | None:
    """Find the last line of the form `Answer: ...`."""
    return _last_line(_ANSWER_LINE, completion)


def last_hashes(completion: str) -> Found | None:
    """Find the last line of the form `#### ...`, the marker of GSM8K."""
    return _last_line(_HASHES, completion)


def latest(*found: Found | None) -> str | None:
    """The content of the marker that stands last."""
    present = [item for item in found if item is not None]
    return max(present)[1] if present else None


def trim(content: str) -> str:
    """Strip white space around an answer, so that putting it back into a marker changes nothing."""
    stripped = content.strip()
    # A trailing "\ " is one LaTeX token; a bare backslash would escape the closing brace.
    backslashes = len(stripped) - len(stripped.rstrip("\\"))
    return stripped + " " if backslashes % 2 else stripped


def last_match(pattern: re.Pattern[str], text: str) -> str | None:
    """The last match: its groups joined, or all of it where there are none."""
    last = deque(pattern.finditer(text), maxlen=1)
    if not last:
        return None
    return ("".join(filter(None, last[0].groups())) if pattern.groups else last[0][0]).strip()


def _last_line(pattern: re.Pattern[str], completion: str) -> Found | None:
    last = deque(pattern.finditer(completion), maxlen=1)
    content = last[0][1].strip().strip("*_").strip() if last else ""
    return (last[0].start(1), content) if content else None
