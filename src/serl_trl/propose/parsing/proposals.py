"""The instructions in what a proposer wrote: numbered lists as real models print them.

The parser only parses. It takes list markers, chat around the list, thoughts and solutions away,
and changes nothing else but white space and Unicode composition; what it finds may still be refused
by the filters. It never raises, and its time is linear in the length of the text.
"""

import re
import unicodedata
from dataclasses import dataclass

from serl_trl.common.mathtext import compose
from serl_trl.common.words import ASKS, MAY_ASK
from serl_trl.propose.parsing.chat import (
    CLOSING,
    GREETING,
    HEADING,
    TITLE,
    introduces,
    is_chat,
    is_title,
    speaks_between,
    without_preamble,
    without_title,
)
from serl_trl.propose.parsing.json import json_items, json_start
from serl_trl.propose.parsing.lists import PREFIX, find_marks, numbered, without_list_ends
from serl_trl.propose.parsing.solutions import (
    AFTERWARDS,
    ANSWER_LINE,
    INPUT_LINE,
    SIBLING,
    join_parts,
    solves,
)
from serl_trl.propose.parsing.tags import enclosed_items, without_tags, without_thoughts

_I = re.IGNORECASE

# Terminal escapes: CSI and OSC sequences, then what is left of their introducers.
_ESCAPE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]{0,64}[ -/]{0,16}[@-~]"
    r"|(?:\x1b\]|\x9d)[^\x07\x1b\x9c\n]{0,2000}(?:\x07|\x1b\\|\x9c)?"
    r"|\x1b[ -/]{0,16}[0-~]"
)
_NEWLINE = re.compile("\r\n?|[\v\f\x85\u2028\u2029]")
_BLANKS = re.compile(r"^(?P<indent>[^\S\n]+)|[^\S\n]+", re.MULTILINE)
_MAX_INDENT = 32
_SPACES = re.compile(r"\s+")

_FENCE = re.compile(r"^ *(?:```|~~~) ?(?:text|txt|plaintext|markdown|md|latex|tex|json)? ?$", _I)
_RULE = re.compile(r"^ *(?:-{3,}|\*{3,}|={3,}|(?:[-*] ){2,}[-*]) ?$")

# A list that went astray: numbers and nothing that they count.
_ONLY_MARKERS = re.compile(r"[\d\s.,;:()\[\]#*_|、．]*")


def parse_proposals(text: str, *, truncated: bool = False) -> list[str]:
    """Return the instructions that `text`, the answer to a request, lists, in their order.

    The request had left a number open: what comes before the first number is the first item, unless
    it ends in a colon, greets, or asks nothing where the others ask. `truncated` says that the
    token limit cut the text off; its last item is then dropped. Lettered parts and an input stay
    inside their item; a line that begins with "Answer:" or the like, in any of many languages, ends
    it. White space runs become one space and text is brought to Unicode NFC; control characters,
    direction marks and terminal escapes are stripped.
    """
    text = without_thoughts(_clean(text))
    items = _records(text)
    if not items:
        rest = AFTERWARDS.search(text)
        if rest is not None:  # what was cut off is no item
            text, truncated = text[: rest.start()], False
        segments = _segments(_unwrap(join_parts(text)))
        if truncated:
            segments = segments[:-1]
        items = [item for segment in segments for item in _items(segment)]
        items = [text for item in items for text in _records(item) or [item]]
    items = [_SPACES.sub(" ", item).strip() for item in items]
    return [item for item in items if _holds_text(item)]


def _records(text: str) -> list[str]:
    """Return the items of records; none when they are data in an item, or ask nothing."""
    start = json_start(text)
    if start is None or numbered(text[:start]):
        return []
    items = [_clean(item) for item in json_items(text[start:])]
    return items if any(MAY_ASK.search(item) for item in items) else []


def _holds_text(item: str) -> bool:
    return any(map(str.isalnum, item)) and _ONLY_MARKERS.fullmatch(item) is None


@dataclass(frozen=True)
class _Segment:
    """What stands between two list markers; `marked` is false before the first."""

    text: str
    marked: bool
    is_heading: bool = False
    is_headed: bool = False
    """Its marker was "Question:" or the like."""


def _clean(text: str) -> str:
    """Strip what is not text, shorten blanks, and bring line ends and characters to one form.

    One blank stays between words, and up to 32 before the first: no pattern meets a longer run.
    """
    text = _NEWLINE.sub("\n", _ESCAPE.sub("", text))
    # Cf holds the direction marks, zero-width signs and invisible tags; Cs cannot be encoded.
    kept = (
        sign
        for sign in text
        if sign in "\n\t\u200c\u200d" or unicodedata.category(sign) not in ("Cc", "Cf", "Cs")
    )
    return _BLANKS.sub(_shortened, compose("".join(kept), "NFC"))


def _shortened(blanks: re.Match[str]) -> str:
    indent = (blanks["indent"] or "").expandtabs(4)
    return " " * min(len(indent), _MAX_INDENT) or " "


def _unwrap(text: str) -> str:
    """Drop fences and rules around the list."""
    lines = text.split("\n")
    return "\n".join("" if _FENCE.match(line) or _RULE.match(line) else line for line in lines)


def _segments(text: str) -> list[_Segment]:
    """Cut `text` at its tags or list markers, whatever they look like."""
    enclosed = enclosed_items(text)
    marks = find_marks(text)
    if enclosed and len(enclosed) >= len(marks):
        return [_Segment(_without_marker(item), marked=True) for item in enclosed]
    bare = without_tags(text)
    if bare != text:
        text, marks = bare, find_marks(bare)
    if not marks:
        return _unmarked(text)
    ends = [mark.start for mark in marks[1:]] + [len(text)]
    segments = [
        _Segment(
            mark.emphasis + text[mark.end : end].lstrip(" "),
            marked=True,
            is_heading=mark.is_heading,
            is_headed=PREFIX.match(text, mark.start) is not None,
        )
        for mark, end in zip(marks, ends, strict=True)
    ]
    opening = text[: marks[0].start]
    asked = any(ASKS.search(segment.text) for segment in segments)
    if opening.strip() and (MAY_ASK.search(opening.strip()) or not asked):
        segments.insert(0, _Segment(opening, marked=False))
    return segments


def _without_marker(item: str) -> str:
    marks = numbered(item)
    return item[marks[0].end :] if len(marks) == 1 and not marks[0].start else item


def _unmarked(text: str) -> list[_Segment]:
    """Cut a text without markers: an item a line if each line is a whole question, else one."""
    lines = [line for line in text.split("\n") if line.strip() and not is_chat(line)]
    whole = all(line.rstrip().endswith((".", "?", "$", ")", "!")) for line in lines)
    asking = sum(MAY_ASK.search(line) is not None for line in lines)
    if len(lines) > 1 and asking == len(lines) and (whole or text.count("?") >= len(lines) - 1):
        return [_Segment(line, marked=False) for line in lines]
    return [_Segment(text, marked=False)] if text.strip() else []


def _items(segment: _Segment) -> list[str]:
    """Return the instruction of a segment: none for chat, one else."""
    text = segment.text.lstrip()
    prefix = PREFIX.match(text) if segment.marked else None
    text = text[prefix.end() :] if prefix else segment.text
    lines = without_list_ends(text).split("\n")
    if segment.marked and not prefix:
        lines = without_title(lines, is_heading=segment.is_heading)
    else:
        lines = without_preamble(lines)
    has_input = segment.is_headed or prefix is not None
    item = "\n".join(_until_something_else(lines, has_input=has_input)).strip()
    is_chat = CLOSING.match(item) is not None or introduces(item)
    if not segment.marked:
        is_chat = is_chat or item.endswith(":") or GREETING.match(item) is not None
    return [] if is_chat else [item]


def _until_something_else(lines: list[str], *, has_input: bool) -> list[str]:
    """Return the lines before a solution, a word to the reader, or the heading of what follows.

    `has_input` says that the item is headed as an instruction, which an input may follow.
    """
    kept: list[str] = []
    asked = has_input
    last = max((number for number, line in enumerate(lines) if line.strip()), default=0)
    siblings = [number for number, line in enumerate(lines) if SIBLING.search(line)]
    for number, line in enumerate(lines):
        if not kept:
            if not line.strip() or HEADING.match(line):
                continue
        elif has_input and (head := INPUT_LINE.match(line)):
            line = line[head.end() :]
        else:
            apart = not lines[number - 1].strip()
            heads = HEADING.match(line) or (TITLE.match(line) and is_title(line) and apart)
            if heads or CLOSING.match(line):
                break
            if speaks_between(line, apart=apart, ends=asked and number == last):
                break
            is_data = len(siblings) > 1 or number <= max(siblings, default=-1)
            if solves(ANSWER_LINE.match(line), asked=asked and not is_data):
                break
        kept.append(line)
        asked = asked or MAY_ASK.search(line) is not None
    return kept
