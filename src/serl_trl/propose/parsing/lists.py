"""Where the items of a list begin: numbers, letters, bullets, LaTeX items and headings.

What a marker looks like is in `lists.yaml`.
"""

import re
from bisect import bisect, bisect_left
from dataclasses import dataclass
from functools import partial

from serl_trl.common.vocabulary import load_patterns, with_ends
from serl_trl.common.words import MAY_ASK
from serl_trl.propose.parsing.lines import (
    WORDS,
    begins_solution,
    is_chat,
    is_label,
    without_preamble,
)

_MARKS = load_patterns(__file__)
PREFIX = _MARKS["prefix"]

_LATEX_LISTS = frozenset({"enumerate", "itemize"})
_CHINESE = "一二三四五六七八九十"
# Full-width and plain signs are one style: models mix them within a list.
_DOTS = str.maketrans("．。：）", "..:)")
_COUNTS = (
    tuple("abcdefghijklmnopqrstuvwxyz"),
    ("i", "ii", "iii", "iv", "v", "vi", "vii", "viii", "ix", "x", "xi", "xii"),
    tuple("①②③④⑤⑥⑦⑧⑨⑩⑪⑫⑬⑭⑮⑯⑰⑱⑲⑳"),
)


@dataclass(frozen=True)
class Mark:
    """A list marker: where it starts and ends, its number, and what it looks like."""

    start: int
    end: int
    number: int = 0
    indent: int = 0
    style: tuple[str, ...] = ()
    is_heading: bool = False
    is_prefix: bool = False
    """It is "Question:" or the like, which an input may follow."""
    emphasis: str = ""
    """Emphasis that the marker opened and the item closes."""


def find_marks(text: str, *, asking: bool = True) -> list[Mark]:
    """Return the markers of the items in `text`, whatever they look like; none without a list.

    Where items are `asking`, letters and bullets mark some only if something is asked behind each.
    """
    # The strongest first: letters and bullets more often part one item than count several.
    weak = (partial(_lettered, asking=asking), partial(_bullets, asking=asking))
    for find in (numbered, _latex_items, _prefixed, *weak):
        if marks := find(text):
            return marks
    return []


def numbered(text: str) -> list[Mark]:
    """Return the markers of the numbered list: one style, counting up, outside environments."""
    spans = _environments(text)
    starts = [start for start, _ in spans]
    found = [mark for mark in map(_mark, _MARKS["numbered"].finditer(text)) if mark is not None]
    # A row of a matrix may begin with a number.
    places = [bisect(starts, mark.start) - 1 for mark in found]
    marks = [
        mark for mark, at in zip(found, places, strict=True) if at < 0 or spans[at][1] <= mark.start
    ]
    if not marks:
        return []
    # The request ends in an open number such as "9."; numbers that continue it in that style are
    # the list, whatever list is nested before them.
    plain = [mark for mark in marks if mark.style == ("", "", ".")]
    style = plain[0].style if plain and plain[0].number > 1 else marks[0].style
    marks = [mark for mark in marks if mark.style == style]
    chain = _counting_up(marks, text)
    if len(chain) == 1 and len(marks) > 1:
        # Nothing counts on from the first number: it may only begin a line of the first item.
        chain = max(chain, _counting_up(marks[1:], text), key=len)
    return chain


def _mark(found: re.Match[str]) -> Mark | None:
    """Read one marker; `None` for a number that is only the beginning of a line of text."""
    word, bracket = (found["word"] or "").strip(" .#[【(（").lower(), found["bracket"]
    delimiter, is_counted = (found["delimiter"] or "").strip(), found["counter"] is not None
    open_, close = found["open"] or "", found["inner"] or found["close"] or ""
    rest = found.string[found.end() : found.end() + 1]
    refusals = (
        not (delimiter or word or is_counted or bracket == "#" or found["heading"] or close),
        found["spaced"] and not word,  # "10 : 5"
        word[:1] == "第" and not is_counted,
        # "(10 apples)" opens a bracket that the number does not close.
        bracket in tuple("([（【") and not delimiter.startswith(tuple(")]）】")),
        # "1.5 m", "3-4" and "10:30" have a digit next; "10.Ann" is a marker.
        delimiter in ("", ".", ")", ":", "-", "–", "—") and rest.isdigit(),
        not delimiter and not is_counted and rest not in ("", " ", "\n", "*", "_"),
        close == "}" and not open_.startswith("\\"),
    )
    if any(refusals):
        return None
    emphasis = open_ if open_ and close not in (open_, "}") else ""
    end, after = found.end(), found["after"] or ""
    if close and not open_:  # the item itself begins with emphasis
        end, after = found.start("inner" if found["inner"] else "close"), ""
    kind = "word" if word or is_counted else ""
    shown = "" if kind or bracket else (delimiter or after)
    return Mark(
        start=found.start(),
        end=end,
        number=_value(found["number"]),
        indent=len(found["indent"]),
        style=(kind, bracket, shown[:1].translate(_DOTS)),
        is_heading=bool(found["heading"] or (emphasis and word)),
        emphasis=emphasis,
    )


def _value(number: str) -> int:
    """Return the value of digits in any script, or of a Chinese number up to 99."""
    if number.isdigit():
        return int(number)
    tens, ten, ones = number.rpartition("十")
    value = _CHINESE.find(ones) + 1 if ones else 0
    return value + (10 * (_CHINESE.find(tens) + 1 if tens else 1) if ten else 0)


_NESTED_INDENT = 3  # blanks; one or two are a model's slips
_MAX_SKIP = 5  # numbers that a model leaves out; a year or a price skips more
_MAX_LINE = 200  # of the line before a mark, so that many marks behind one long line stay cheap


def _counting_up(marks: list[Mark], text: str) -> list[Mark]:
    """Keep the markers that count on; numbers nested in an item, or beginning a line, fall out."""
    count = _Count(marks, text)
    return [mark for place, mark in enumerate(marks) if count.takes(place)]


class _Count:
    """Walks through markers in order and tells which of them count the items of the list.

    Models slip: they repeat a number, skip a few, or start again at 1, and the items are still
    items. But a fresh start may also be a list inside an item (behind a colon, when the outer count
    continues later) or the steps of a solution (behind a line that opens one). Without this walk,
    steps would become proposals, or a slip would end the list.
    """

    def __init__(self, marks: list[Mark], text: str) -> None:
        self.marks, self.text = marks, text
        self.solved = _solved(marks, text)
        self.last_of = {mark.number: place for place, mark in enumerate(marks)}
        self.last: Mark | None = None
        self.inner = 0  # the last number of a list inside the item, or of a solution's steps
        self.apart = self.was_apart = False  # whether a blank line precedes this and the last mark
        self.line = ""  # the last line with text before the mark

    def takes(self, place: int) -> bool:
        """Tell whether the mark at `place` counts an item; call it for each mark in turn."""
        mark, last = self.marks[place], self.last
        if last and mark.indent - last.indent >= _NESTED_INDENT:
            return False
        self._look_before(place)
        goes_on = mark.number == last.number + 1 if last else mark.number > 1
        self.inner = self._inner_count(place, goes_on=goes_on)
        if self.inner or (last and not goes_on and not self._slips(place, last)):
            return False
        self.last = mark
        return True

    def _look_before(self, place: int) -> None:
        start = self.marks[place].start
        before = self.text[
            max(self.marks[place - 1].end if place else 0, start - _MAX_LINE) : start
        ]
        bare = before.rstrip()
        self.line = bare.rpartition("\n")[2]
        self.was_apart, self.apart = self.apart, before.count("\n", len(bare)) > 1

    def _inner_count(self, place: int, *, goes_on: bool) -> int:
        """Return the number that an inner list reaches with this mark; 0 if the mark is outside."""
        number = self.marks[place].number
        restarts = number == 1 and not is_chat(self.line)
        is_solved, is_solved_behind = self.solved[place : place + 2]
        if not self.inner:
            solves = is_label(self.line) or (is_solved and not (self.apart and is_solved_behind))
            return int(restarts and solves)
        # A number that both counts reach is the list's if it stands apart from close steps, or
        # has a solution of its own.
        following = [mark.number for mark in self.marks[place + 1 : place + 2]]
        has_own = is_solved_behind and following not in ([], [number])
        is_item = goes_on and self.apart and (has_own or not self.was_apart)
        if number == self.inner + 1 and not is_item:
            return number
        if not goes_on and (restarts or number > 1):
            return 1 if restarts else self.inner
        return 0

    def _slips(self, place: int, last: Mark) -> bool:
        """Tell whether a number that does not follow the last one still counts an item."""
        number = self.marks[place].number
        if number not in (1, last.number):
            return 1 < number - last.number <= _MAX_SKIP
        goes_on_behind = self.last_of.get(last.number + 1, 0) > place
        is_nested = goes_on_behind and self.line.endswith(":") and not is_chat(self.line)
        self.inner = int(is_nested and number == 1)
        return not is_nested


def _solved(marks: list[Mark], text: str) -> list[bool]:
    """Return whether a solution begins before each mark, and whether one begins behind the last."""
    lines = [found.start() for found in WORDS["solution"].finditer(text) if begins_solution(found)]
    edges = [0, *(edge for mark in marks for edge in (mark.start, mark.end)), len(text)]
    places = [bisect_left(lines, edge) for edge in edges]
    return [first < end for first, end in zip(places[::2], places[1::2], strict=True)]


def _latex_items(text: str) -> list[Mark]:
    """Return the items of the outermost LaTeX list."""
    marks = []
    depth = 0
    events = [*_list_ends(text), *_MARKS["latex item"].finditer(text)]
    for found in sorted(events, key=re.Match.start):
        if found.re is _MARKS["block"]:
            depth += 1 if found[1] == "begin" else -1
        elif depth <= 1:
            marks.append(Mark(*found.span()))
    return marks


def _prefixed(text: str) -> list[Mark]:
    """Return the lines that begin with "Question:", unless one such line ends a single problem."""
    found = list(PREFIX.finditer(text))
    before = text[: found[0].start()].strip() if found else ""
    # "... Question: how many?" is how a word problem may end.
    if len(found) == 1 and before and not before.endswith(":") and not is_chat(before):
        return []
    return [Mark(*prefix.span(), is_prefix=True) for prefix in found]


def _bullets(text: str, *, asking: bool) -> list[Mark]:
    """Return the outermost bullets; where items are `asking`, if each of them asks something."""
    found = list(_MARKS["bullet"].finditer(text))
    outer = min((len(bullet["indent"]) for bullet in found), default=0)
    return _marks([b for b in found if len(b["indent"]) <= outer + 1], text, asking=asking)


def _lettered(text: str, *, asking: bool) -> list[Mark]:
    """Return letters, Roman or circled numbers, if they count items and not the parts of one."""
    found = list(_MARKS["lettered"].finditer(text))
    labels = tuple((label["letter"] or label["sign"]).lower() for label in found)
    counts = len(found) > 1 and any(labels == count[: len(labels)] for count in _COUNTS)
    # Letters behind an instruction are its parts; items have at most a greeting before them.
    if not counts or without_preamble(text[: found[0].start()].split("\n")):
        return []
    return _marks(found, text, asking=asking)


def _marks(found: list[re.Match[str]], text: str, *, asking: bool) -> list[Mark]:
    """Return the marks; where items are `asking`, if the text behind each may ask something."""
    asks = (MAY_ASK.search(text, mark.end(), end) for mark, end in with_ends(found, len(text)))
    return [Mark(*mark.span()) for mark in found] if not asking or all(asks) else []


def _environments(text: str) -> list[tuple[int, int]]:
    """Return where closed LaTeX environments other than lists begin and end."""
    spans = []
    open_: list[tuple[str, int]] = []
    for found in _MARKS["block"].finditer(text):
        if found[2] in _LATEX_LISTS:
            continue
        if found[1] == "begin":
            open_.append((found[2], found.start()))
        elif open_ and open_[-1][0] == found[2]:
            start = open_.pop()[1]
            if not open_:
                spans.append((start, found.end()))
    return spans


def _list_ends(text: str) -> list[re.Match[str]]:
    return [found for found in _MARKS["block"].finditer(text) if found[2] in _LATEX_LISTS]


def without_list_ends(text: str) -> str:
    """Drop the `\\begin` or `\\end` of a LaTeX list that has only one of them here."""
    found = _list_ends(text)
    begins, ends = ([each for each in found if each[1] == kind] for kind in ("begin", "end"))
    lone = ends[len(begins) :] or begins[: len(begins) - len(ends)]
    for found in reversed(lone):  # from the end, so that the places before stay true
        text = text[: found.start()] + text[found.end() :]
    return text
