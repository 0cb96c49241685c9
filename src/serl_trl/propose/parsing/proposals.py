"""The instructions in what a proposer wrote: numbered lists as real models print them.

Every text takes the same way: clean it, leave out thoughts, cut it at its strongest markers
(records, tags, numbers, LaTeX items, "Question:", letters, bullets, lines), and drop from each
piece what is not the instruction: titles, solutions, words to the reader.

Apart from that the parser changes only white space and Unicode composition. It judges nothing:
filters may refuse what it finds. It never raises, and its time is linear in the length of the text.
"""

import re
import unicodedata
from dataclasses import dataclass

from serl_trl.common.mathtext import compose
from serl_trl.common.words import ASKS, MAY_ASK
from serl_trl.propose.parsing.json import json_items, json_start
from serl_trl.propose.parsing.lines import (
    WORDS,
    begins_solution,
    introduces,
    is_bold_title,
    is_chat,
    is_heading,
    speaks_between,
    without_preamble,
    without_title,
)
from serl_trl.propose.parsing.lists import PREFIX, Mark, find_marks, numbered, without_list_ends
from serl_trl.propose.parsing.tags import enclosed_items, without_tags, without_thoughts

# Terminal escapes: CSI and OSC sequences, then what is left of their introducers.
_ESCAPE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]{0,64}[ -/]{0,16}[@-~]"
    r"|(?:\x1b\]|\x9d)[^\x07\x1b\x9c\n]{0,2000}(?:\x07|\x1b\\|\x9c)?"
    r"|\x1b[ -/]{0,16}[0-~]"
)
_NEWLINE = re.compile("\r\n?|[\v\f\x85\u2028\u2029]")
_BLANKS = re.compile(r"^(?P<indent>[^\S\n]+)|[^\S\n]+", re.MULTILINE)
_MAX_INDENT = 32  # deep enough for any nesting; patterns that skip an indent stay linear
# A list that went astray holds only numbers.
_ONLY_MARKERS = re.compile(r"[\d\s.,;:()\[\]#*_|、．]*")


def parse_proposals(text: str, *, truncated: bool = False, asking: bool = True) -> list[str]:
    """Return the instructions that `text`, the answer to a request, lists, in their order.

    The request ends in an open number. The text before the first number is therefore the first
    item, unless it ends in a colon, greets, or asks nothing where the others ask. `truncated` says
    that the token limit cut the text off; its last item is then dropped. Lettered parts and an
    input stay inside their item; a line that begins with "Answer:" or the like, in any of many
    languages, ends it. Runs of white space become one space, the text becomes Unicode NFC, and
    control characters, direction marks and terminal escapes are stripped.

    `asking` false says that items are texts, which ask nothing: what only a question would make an
    item (of a record, a bullet, a letter, a line) is one without.
    """
    text = without_thoughts(clean(text))
    # Records first: numbers and dashes inside their strings look like lists.
    items = _records(text, asking=asking) or _listed(text, truncated=truncated, asking=asking)
    items = [" ".join(item.split()) for item in items]
    return [
        item for item in items if any(map(str.isalnum, item)) and not _ONLY_MARKERS.fullmatch(item)
    ]


def clean(text: str) -> str:
    """Strip what is not text, shorten blanks, and bring line ends and characters to one form.

    One blank stays between words, and up to 32 before the first: no pattern meets a longer run.
    """
    text = _NEWLINE.sub("\n", _ESCAPE.sub("", text))
    # Cf holds the direction marks, zero-width signs and invisible tags; Cs cannot be encoded. The
    # two joiners of Cf shape words in Persian and Hindi.
    kept = (
        sign
        for sign in text
        if sign in "\n\t\u200c\u200d" or unicodedata.category(sign) not in ("Cc", "Cf", "Cs")
    )
    return _BLANKS.sub(_shortened, compose("".join(kept), "NFC"))


def _shortened(blanks: re.Match[str]) -> str:
    indent = (blanks["indent"] or "").expandtabs(4)
    return " " * min(len(indent), _MAX_INDENT) or " "


def _records(text: str, *, asking: bool) -> list[str]:
    """Return the items of records, unless they are data in an item, or `asking` and ask nothing."""
    start = json_start(text)
    if start is None or numbered(text[:start]):
        return []
    items = [clean(item) for item in json_items(text[start:])]
    return items if not asking or any(MAY_ASK.search(item) for item in items) else []


def _listed(text: str, *, truncated: bool, asking: bool) -> list[str]:
    """Return the items of a list, or of a text without one."""
    if rest := WORDS["afterwards"].search(text):
        # The token limit cut the answer key off, and every item is whole.
        text, truncated = text[: rest.start()], False
    lines = WORDS["marked part"].sub("", text).split("\n")
    text = "\n".join("" if WORDS["frame"].match(line) else line for line in lines)
    pieces = _pieces(text, asking=asking)
    found = [_instruction(piece) for piece in (pieces[:-1] if truncated else pieces)]
    items = [item for item in found if item is not None]
    return [text for item in items for text in _records(item, asking=asking) or [item]]


@dataclass(frozen=True)
class _Piece:
    """The text from one list marker to the next; before the first there is no marker."""

    text: str
    mark: Mark | None = None


def _pieces(text: str, *, asking: bool) -> list[_Piece]:
    """Cut `text` at its tags or list markers, whatever they look like."""
    enclosed = enclosed_items(text)
    marks = find_marks(text, asking=asking)
    # Tags around single words of a numbered list enclose no items.
    if enclosed and len(enclosed) >= len(marks):
        return [_Piece(_without_marker(item), Mark(0, 0)) for item in enclosed]
    bare = without_tags(text)
    if bare != text:
        text, marks = bare, find_marks(bare, asking=asking)
    if not marks:
        return _unmarked(text, asking=asking)
    ends = [mark.start for mark in marks[1:]] + [len(text)]
    pieces = [
        _Piece(mark.emphasis + text[mark.end : end].lstrip(" "), mark)
        for mark, end in zip(marks, ends, strict=True)
    ]
    opening = text[: marks[0].start]
    asked = asking and any(ASKS.search(piece.text) for piece in pieces)
    if opening.strip() and (MAY_ASK.search(opening.strip()) or not asked):
        pieces.insert(0, _Piece(opening))
    return pieces


def _without_marker(item: str) -> str:
    marks = numbered(item)
    return item[marks[0].end :] if len(marks) == 1 and not marks[0].start else item


def _unmarked(text: str, *, asking: bool) -> list[_Piece]:
    """Cut a text without markers: into its lines if each is a whole item, else not at all."""
    lines = [line for line in text.split("\n") if line.strip() and not is_chat(line)]
    ends = all(line.rstrip().endswith((".", "?", "$", ")", "!")) for line in lines)
    ends = ends or text.count("?") >= len(lines) - 1
    if len(lines) > 1 and ends and (not asking or all(map(MAY_ASK.search, lines))):
        return [_Piece(line) for line in lines]
    return [_Piece(text)] if text.strip() else []


def _instruction(piece: _Piece) -> str | None:
    """Return the instruction in a piece; `None` for words to the reader."""
    text, mark = piece.text, piece.mark
    prefix = PREFIX.match(text.lstrip()) if mark else None
    if prefix:
        text = text.lstrip()[prefix.end() :]
    lines = without_list_ends(text).split("\n")
    if mark and not prefix:
        lines = without_title(lines, is_headed=mark.is_heading)
    else:
        lines = without_preamble(lines)
    # Only "Instruction: ..." has an input of its own; elsewhere "Input:" heads an example.
    has_input = prefix is not None or (mark is not None and mark.is_prefix)
    item = "\n".join(_until_something_else(lines, has_input=has_input)).strip()
    speaks = WORDS["closing"].match(item) is not None or introduces(item)
    if mark is None:
        speaks = speaks or item.endswith(":") or WORDS["greeting"].match(item) is not None
    return None if speaks else item


def _until_something_else(lines: list[str], *, has_input: bool) -> list[str]:
    """Return the lines before a solution, a word to the reader, or the heading of what follows.

    `has_input` says that the item is headed as an instruction, which an input may follow.
    """
    kept: list[str] = []
    asked = has_input
    last = max((number for number, line in enumerate(lines) if line.strip()), default=0)
    siblings = [number for number, line in enumerate(lines) if WORDS["sibling"].search(line)]
    for number, line in enumerate(lines):
        if not kept and (not line.strip() or is_heading(line)):
            continue
        if kept and has_input and (head := WORDS["input"].match(line)):
            line = line[head.end() :]
        elif kept:
            apart = not lines[number - 1].strip()
            # "A: 3" above "B: 4" is a choice, and no answer.
            is_data = len(siblings) > 1 or number <= max(siblings, default=-1)
            if (
                is_heading(line)
                or (apart and is_bold_title(line))
                or WORDS["closing"].match(line)
                or speaks_between(line, apart=apart, ends=asked and number == last)
                or begins_solution(WORDS["solution"].match(line), asked=asked and not is_data)
            ):
                break
        kept.append(line)
        asked = asked or MAY_ASK.search(line) is not None
    return kept
