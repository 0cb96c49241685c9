"""Where the items of a list begin: numbers, letters, bullets, LaTeX items and headings."""

import re
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass

from serl_trl.common.words import COUNTER, ITEM, MAY_ASK
from serl_trl.propose.parsing.chat import is_chat, without_preamble
from serl_trl.propose.parsing.solutions import ANSWER_LINE, EMPHASIS, is_label, solves

_I = re.IGNORECASE

# The patterns read text in which the parser left one blank between words and no tab.
_BLOCK = re.compile(r"\\(begin|end)\s{0,3}\{([A-Za-z]{1,20}\*?)\}(?:\[[^\]\n]{0,60}\])?")
_LISTS = frozenset({"enumerate", "itemize"})
_LATEX_ITEM = re.compile(r"\\item\b(?:\s{0,3}\[[^\]\n]{0,20}\])?")

_SIGN = r"[-*+•●▪►▶→✅✔☑🔹🔸]\ufe0f?"
_NUMBER_SIGN = r"(?:no\.?|nr\.?|№|n[º°]\.?|\#)"
_WORD = (
    rf"(?:(?:new |next |practice |sample |math )?(?:example|{ITEM})|q|ex|no|number|第)"
    rf"(?: ?{_NUMBER_SIGN})?"
)
_CHINESE = "一二三四五六七八九十"
# A list marker at the start of a line: "10.", "(10)", "**10.**", "### Problem 10:", "Q10)", "#10:",
# "\textbf{10.}", "10）", "Frage 10 :", "第10题", "【题目10】", "十、".
_NUMBERED = re.compile(
    rf"^(?P<indent> *)(?:> ?)?(?:{_SIGN} )?(?P<heading>\#{{1,6}} )?"
    rf"(?P<open>{EMPHASIS}|\\(?:textbf|(?:sub){{0,2}}section\*?)\{{)?"
    rf"(?P<word>[\[【(（]?{_WORD} ?[.\#]? ?)?"
    rf"(?P<bracket>[(\[\#（【]?)(?P<number>\d{{1,3}}|[{_CHINESE}]{{1,3}}(?=[题題问問、．）]|道))"
    rf"[ºª]?(?P<inner>{EMPHASIS}|\}})?(?P<counter> ?{COUNTER})?"
    rf"\\?(?P<delimiter>[.):\]．、。：）】]{{1,2}}|\ufe0f?\u20e3| ?[-–—](?= )"
    rf"|(?P<spaced> [:：])|(?= ?$))?"
    rf"(?P<close>{EMPHASIS}|\}})?"
    rf"(?P<after>[.:：](?= ))?",
    _I | re.MULTILINE,
)
_DOTS = str.maketrans("．。：）", "..:)")
# The same without a number: "Question: ...".
PREFIX = re.compile(
    rf"^ *(?:{_SIGN} )?(?:\#{{1,6}} )?(?:{EMPHASIS})?"
    rf"(?:(?:new |next )?{ITEM}|q)(?:\s?(?:text|statement))?"
    rf" ?(?:(?:{EMPHASIS}) ?[:：]|[:：] ?(?:{EMPHASIS})|[:：]) ?",
    _I | re.MULTILINE,
)
# A list that letters, Roman numbers or circled ones count: "a)", "(ii)", "B.", "③".
_LETTERED = re.compile(
    rf"^ *(?P<open>{EMPHASIS})?(?:[(\[]?(?P<letter>[ivx]{{2,5}}|[a-z])[.)\]]|(?P<sign>[①-⑳]))"
    r"(?(open)(?P=open)) ?(?=\S)",
    _I | re.MULTILINE,
)
_COUNTS = (
    tuple("abcdefghijklmnopqrstuvwxyz"),
    ("i", "ii", "iii", "iv", "v", "vi", "vii", "viii", "ix", "x", "xi", "xii"),
    tuple("①②③④⑤⑥⑦⑧⑨⑩⑪⑫⑬⑭⑮⑯⑰⑱⑲⑳"),
)
_BULLET = re.compile(rf"^(?P<indent> *)(?:{_SIGN}|–) (?=\S)", re.MULTILINE)


@dataclass(frozen=True)
class Mark:
    """A list marker: where it starts and ends, its number, and what it looks like."""

    start: int
    end: int
    number: int
    indent: int
    style: tuple[str, ...]
    is_heading: bool
    emphasis: str
    """Emphasis that the marker opened and the item closes."""


def numbered(text: str) -> list[Mark]:
    """Return the markers of the numbered list: one style, counting up, outside environments."""
    blocks = _blocks(text)
    marks = [mark for mark in map(_mark, _NUMBERED.finditer(text)) if mark is not None]
    marks = [mark for mark, inside in zip(marks, _inside(marks, blocks), strict=True) if not inside]
    if not marks:
        return []
    # The request counts "9."; a list that goes on so is the list, whatever is nested before it.
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
    delimiter = (found["delimiter"] or "").strip()
    rest = found.string[found.end() : found.end() + 2]
    open_, close = found["open"] or "", found["inner"] or found["close"] or ""
    is_counted = found["counter"] is not None
    if found["spaced"] and not word:
        return None
    if word[:1] == "第" and not is_counted:
        return None
    if (
        not delimiter
        and not word
        and not is_counted
        and bracket != "#"
        and not found["heading"]
        and not close
    ):
        return None
    if bracket in tuple("([（【") and not delimiter.startswith(tuple(")]）】")):
        return None
    if delimiter in (":", "-", "–", "—", "") and rest[:1].isdigit():
        return None
    # "1.5 m" goes on with a digit; "a = 3.\n" does not start a line. "10.Ann" is a marker.
    if delimiter in (".", ")") and rest[:1].isdigit():
        return None
    if not delimiter and not is_counted and rest[:1] not in ("", " ", "\n", "*", "_"):
        return None
    if close == "}" and not open_.startswith("\\"):
        return None
    after = found["after"] or ""
    emphasis = open_ if open_ and close not in (open_, "}") else ""
    end = found.end()
    if close and not open_:  # the item itself begins with emphasis
        end = found.start("inner") if found["inner"] else found.start("close")
        after = ""
    kind = "word" if word or is_counted else ""
    return Mark(
        start=found.start(),
        end=end,
        number=_value(found["number"]),
        indent=len(found["indent"]),
        style=(kind, bracket, "" if kind or bracket else (delimiter or after)[:1].translate(_DOTS)),
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


_NESTED_INDENT = 3
_MAX_SKIP = 5


def _counting_up(marks: list[Mark], text: str) -> list[Mark]:
    """Keep the markers that count on; numbers nested in an item, or beginning a line, fall out.

    A repeated number, a few skipped ones and a fresh start at 1 are a model's slips. A fresh start
    behind a colon is a list inside the item, if the outer count goes on behind it; one behind a
    line that opens a solution counts its steps.
    """
    is_solved = _solved(marks, text)
    last_of = {mark.number: place for place, mark in enumerate(marks)}
    kept: list[Mark] = []
    inner = 0  # what the list inside the item, or the solution, has counted to
    apart = False
    for place, mark in enumerate(marks):
        last = kept[-1] if kept else None
        if last and mark.indent - last.indent >= _NESTED_INDENT:
            continue
        before = text[max(marks[place - 1].end if place else 0, mark.start - 200) : mark.start]
        line = before.rstrip().rpartition("\n")[2]
        was_apart, apart = apart, before.count("\n", len(before.rstrip())) > 1
        goes_on = mark.number == last.number + 1 if last else mark.number > 1
        restarts = mark.number == 1 and not is_chat(line)
        if inner:
            # A number that both counts reach is the list's if it stands apart from close steps, or
            # has a solution of its own.
            following = [mark.number for mark in marks[place + 1 : place + 2]]
            solved = is_solved[place + 1] and following not in ([], [mark.number])
            is_item = apart and (solved or not was_apart)
            if mark.number == inner + 1 and not (goes_on and is_item):
                inner += 1
                continue
            if not goes_on and (restarts or mark.number > 1):
                inner = 1 if restarts else inner
                continue
            inner = 0
        elif restarts and (
            is_label(line) or (is_solved[place] and not (apart and is_solved[place + 1]))
        ):
            inner = 1
            continue
        if last and not goes_on:
            again = mark.number in (1, last.number)
            goes_on_behind = last_of.get(last.number + 1, 0) > place
            if again and line.endswith(":") and goes_on_behind and not is_chat(line):
                inner = int(mark.number == 1)
                continue
            if not again and not 1 < mark.number - last.number <= _MAX_SKIP:
                continue
        kept.append(mark)
    return kept


def _solved(marks: list[Mark], text: str) -> list[bool]:
    """Tell of the text before each mark, back to the one before, whether it opens a solution.

    The last value is that of the text behind the last mark.
    """
    lines = [found.start() for found in ANSWER_LINE.finditer(text) if solves(found, asked=False)]
    starts = [0, *(mark.end for mark in marks)]
    ends = [*(mark.start for mark in marks), len(text)]
    return [
        bisect_left(lines, start) < bisect_left(lines, end)
        for start, end in zip(starts, ends, strict=True)
    ]


def _latex_items(text: str) -> list[Mark]:
    """Return the items of the outermost LaTeX list."""
    marks = []
    depth = 0
    events = [found for found in _BLOCK.finditer(text) if found[2] in _LISTS]
    events += _LATEX_ITEM.finditer(text)
    for found in sorted(events, key=re.Match.start):
        if found.re is _BLOCK:
            depth += 1 if found[1] == "begin" else -1
        elif depth <= 1:
            marks.append(_plain_mark(found))
    return marks


def _prefixed(text: str) -> list[Mark]:
    """Return the lines that begin with "Question:", if it is not the last line of one problem."""
    found = list(PREFIX.finditer(text))
    before = text[: found[0].start()].strip() if found else ""
    if len(found) == 1 and before and not before.endswith(":") and not is_chat(before):
        return []
    return [_plain_mark(prefix) for prefix in found]


def _bullets(text: str) -> list[Mark]:
    """Return the bullets when they are the items: each asks something, at one level."""
    found = list(_BULLET.finditer(text))
    if not found:
        return []
    outer = min(len(bullet["indent"]) for bullet in found)
    return _asking([bullet for bullet in found if len(bullet["indent"]) <= outer + 1], text)


def _lettered(text: str) -> list[Mark]:
    """Return letters and Roman numbers that count the items: the parts of one item follow it."""
    found = list(_LETTERED.finditer(text))
    labels = tuple((label["letter"] or label["sign"]).lower() for label in found)
    counts = len(found) > 1 and any(labels == count[: len(labels)] for count in _COUNTS)
    if not counts or without_preamble(text[: found[0].start()].split("\n")):
        return []
    return _asking(found, text)


def _asking(found: list[re.Match[str]], text: str) -> list[Mark]:
    """Return the marks when each has something to ask behind it."""
    ends = [mark.start() for mark in found[1:]] + [len(text)]
    asks = (MAY_ASK.search(text, mark.end(), end) for mark, end in zip(found, ends, strict=False))
    return [_plain_mark(mark) for mark in found] if all(asks) else []


def _plain_mark(found: re.Match[str]) -> Mark:
    return Mark(found.start(), found.end(), 0, 0, (), is_heading=False, emphasis="")


def _blocks(text: str) -> list[tuple[int, int]]:
    """Return where closed LaTeX environments begin and end, lists of items left out."""
    spans = []
    open_: list[tuple[str, int]] = []
    for found in _BLOCK.finditer(text):
        if found[2] in _LISTS:
            continue
        if found[1] == "begin":
            open_.append((found[2], found.start()))
        elif open_ and open_[-1][0] == found[2]:
            start = open_.pop()[1]
            if not open_:
                spans.append((start, found.end()))
    return spans


def _inside(marks: list[Mark], spans: list[tuple[int, int]]) -> Iterator[bool]:
    """Yield for each mark whether it stands in one of `spans`; both are in order."""
    place = 0
    for mark in marks:
        while place < len(spans) and spans[place][1] <= mark.start:
            place += 1
        yield place < len(spans) and spans[place][0] <= mark.start


def without_list_ends(text: str) -> str:
    """Drop the `\\begin` or `\\end` of a LaTeX list that has only one of them here."""
    begins, ends = (
        [found for found in _BLOCK.finditer(text) if found[2] in _LISTS and found[1] == kind]
        for kind in ("begin", "end")
    )
    lone = ends[len(begins) :] or begins[: len(begins) - len(ends)]
    for found in reversed(lone):
        text = text[: found.start()] + text[found.end() :]
    return text


def find_marks(text: str) -> list[Mark]:
    """Return the markers of the items in `text`, whatever they look like; none without a list."""
    for find in (numbered, _latex_items, _prefixed, _lettered, _bullets):
        if marks := find(text):
            return marks
    return []
