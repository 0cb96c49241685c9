"""The instructions in what a proposer wrote: numbered lists as real models print them.

The parser only parses. It takes list markers, chat around the list and solutions below an item
away, and changes nothing else but white space and Unicode composition; what it finds may still be
refused by the filters. It never raises, and its time is linear in the length of the text.
"""

import re
import unicodedata
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass

from serl_trl.mathtext import compose
from serl_trl.parsing_json import json_items, json_start

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

# The patterns below read text in which `_clean` left one blank between words and no tab.
_BLOCK = re.compile(r"\\(begin|end)\s{0,3}\{([A-Za-z]{1,20}\*?)\}(?:\[[^\]\n]{0,60}\])?")
_LISTS = frozenset({"enumerate", "itemize"})
_LATEX_ITEM = re.compile(r"\\item\b(?:\s{0,3}\[[^\]\n]{0,20}\])?")

# Items that markup encloses.
_ENCLOSURE = r"(?:problem|question|exercise)"
_ENCLOSED = re.compile(
    rf"<(?:li|{_ENCLOSURE})(?: [^<>\n]{{0,60}})?>|\\begin\{{{_ENCLOSURE}\*?\}}", _I
)
_ENCLOSED_END = re.compile(rf"</(?:li|{_ENCLOSURE})>|\\end\{{{_ENCLOSURE}\*?\}}", _I)

_FENCE = re.compile(r"^ *(?:```|~~~) ?(?:text|txt|plaintext|markdown|md|latex|tex|json)? ?$", _I)
_RULE = re.compile(r"^ *(?:-{3,}|\*{3,}|={3,}|(?:[-*] ){2,}[-*]) ?$")

_EMPHASIS = r"\*{1,3}|_{2,3}"
_SIGN = r"[-*+•●▪►▶→✅✔☑🔹🔸]\ufe0f?"
_WORD = (
    r"(?:(?:new |next |practice |sample |math )?(?:problem|question|exercise|example|task"
    r"|instruction)"
    r"|q|ex|no|number)"
)
# A list marker at the start of a line: "10.", "(10)", "**10.**", "### Problem 10:", "Q10)", "#10:",
# "\textbf{10.}", "10）".
_NUMBERED = re.compile(
    rf"^(?P<indent> *)(?:> ?)?(?:{_SIGN} )?(?P<heading>\#{{1,6}} )?"
    rf"(?P<open>{_EMPHASIS}|\\(?:textbf|(?:sub){{0,2}}section\*?)\{{)?(?P<word>{_WORD} ?[.\#]? ?)?"
    rf"(?P<bracket>[(\[\#（]?)(?P<number>[0-9０-９]{{1,3}})(?P<inner>{_EMPHASIS}|\}})?"
    rf"\\?(?P<delimiter>[.):\]．、。：）]{{1,2}}|\ufe0f?\u20e3| ?[-–—](?= )|(?= ?$))?"
    rf"(?P<close>{_EMPHASIS}|\}})?"
    rf"(?P<after>[.:：](?= ))?",
    _I | re.MULTILINE,
)
_DOTS = str.maketrans("．。：）", "..:)")
# The same without a number: "Question: ...".
_PREFIX = re.compile(
    rf"^ *(?:{_SIGN} )?(?:\#{{1,6}} )?(?:{_EMPHASIS})?"
    r"(?:(?:new |next )?(?:problem|question|exercise|task|instruction)|q)(?:\s?(?:text|statement))?"
    rf" ?(?:(?:{_EMPHASIS}) ?[:：]|[:：] ?(?:{_EMPHASIS})|[:：]) ?",
    _I | re.MULTILINE,
)
# A list that letters, Roman numbers or circled ones count: "a)", "(ii)", "B.", "③".
_LETTERED = re.compile(
    rf"^ *(?P<open>{_EMPHASIS})?(?:[(\[]?(?P<letter>[ivx]{{2,5}}|[a-z])[.)\]]|(?P<sign>[①-⑳]))"
    r"(?(open)(?P=open)) ?(?=\S)",
    _I | re.MULTILINE,
)
_COUNTS = (
    tuple("abcdefghijklmnopqrstuvwxyz"),
    ("i", "ii", "iii", "iv", "v", "vi", "vii", "viii", "ix", "x", "xi", "xii"),
    tuple("①②③④⑤⑥⑦⑧⑨⑩⑪⑫⑬⑭⑮⑯⑰⑱⑲⑳"),
)
_BULLET = re.compile(rf"^(?P<indent> *)(?:{_SIGN}|–) (?=\S)", re.MULTILINE)

_LINE_END = r"[ *_]{0,8}(?:\n|$)"
_PROBLEMS = r"(?:problems?|questions?|exercises?|instructions?)"
# Words to the reader before a list or between two.
_GREETING = re.compile(
    r"^[\s*_#>\"']{0,6}(?:"
    r"(?:sure|certainly|of course|absolutely|okay|ok|alright|great|hello|hi|hey|thanks"
    r"|thank you"
    r"|understood|got it|no problem|welcome|my pleasure|happy to help|glad to help)"
    r"(?:[!,.:;]|\s*$|\s+(?:thing|here|i|let)\b)"
    r"|yes(?:!|,? (?:of course|sure|certainly|here|i|let)\b)"
    r"|(?:here(?:'s|’s| is| are| come)|below (?:is|are))\b[^?.\n]{0,80}"
    rf"(?:\b{_PROBLEMS}\b|\b(?:more|another)[:!]|:{_LINE_END})"
    r"|(?:i(?:'ll|’ll| will| can| have|'ve|’ve)|let(?:'s|’s| me| us)) (?:\w{1,12} )?"
    r"(?:create|created|write|written|continue|generate|generated|make|made|provide|provided|give"
    r"|come up|add|cover)\b"
    r"|i(?:'m|’m| am) (?:sorry|happy|glad)|i apologi[sz]e|unfortunately, i|as an ai\b|as requested"
    r"|as (?:a|your|an experienced) teacher\b|continuing (?:the|with|from)\b)",
    _I,
)
# Words to the reader behind a list. A problem may say "If you have 3 more": no more than chat does.
_CLOSING = re.compile(
    r"^[\s*_#>(\[\"'.…]{0,6}(?:(?:i )?hope (?:this|these|that|you)\b|let me know\b"
    r"|(?:please )?feel free\b|(?:would you like|do you want|do you need) (?:me|any|another|more"
    rf"|some|help|to (?:see|try|continue)|the (?:answers|solutions))\b(?! \w{{1,20}} or\b)"
    r"|if you(?:'d|’d| would)? (?:need|want|like|have) (?:any|more|help|another|additional|further"
    rf"|me|the (?:answers|solutions)|to (?:see|try|continue))\b(?=[^?\d\n]{{0,120}}{_LINE_END})"
    r"|good luck|happy (?:solving|learning|teaching|practicing)|enjoy(?:[!.]| solving| these)"
    rf"|that(?:'s|’s| is) (?:all|it)\b(?=[^?\d\n]{{0,60}}{_LINE_END})|is there anything else\b"
    rf"|(?:please )?note(?: that|:)? (?:these|all|the) {_PROBLEMS}\b"
    rf"|please let me\b|end of (?:the )?(?:list|{_PROBLEMS}|output)"
    rf"|(?-i:End|END)[.\])]{{0,2}}{_LINE_END}"
    rf"|(?:this|that) (?:concludes|completes|ends) (?:the|our|my) (?:list|set|{_PROBLEMS})\b"
    r"|the (?:correct )?answers are\b"
    r"|\(?to be continued|continued\b|and so on\b|[\[(]?your turn\b)",
    _I,
)
# The same of what stands apart, about the problems, and asks nothing.
_REMARK = re.compile(
    r"^[\s*_#>(\[\"']{0,6}(?:note(?: that|:) )?(?:these|those|the (?:above|following)"
    r"|all(?: of)?(?: these"
    rf"| the)?|each(?: of)?(?: these| the)?) (?:\w{{1,15}} ){{0,3}}{_PROBLEMS}\b[^?\d\n]{{0,200}}"
    rf"{_LINE_END}",
    _I,
)
# A line that begins a solution. What `weak` names may as well be data of the problem.
_ANSWER_LINE = re.compile(
    rf"^ *(?:[-*•>] )?(?:\#{{1,6}} )?(?:{_EMPHASIS}|[(\[])? ?"
    r"(?:(?P<label>(?:final |correct |the |sample |detailed )?(?:answers?|solutions?|ans|sol"
    r"|explanation|reasoning|working|proof)(?: ?(?:\d{1,4}|key))?"
    rf"|a\d{{1,4}}(?= ?(?:{_EMPHASIS})? ?[:=：]))"
    rf"|(?P<weak>step ?1|response|output|result|a(?= ?(?:{_EMPHASIS})? ?[:：])))"
    rf" ?(?P<close>{_EMPHASIS})? ?"
    r"(?P<end>[:=：.]|[-–—](?= )|[)\]](?= ?$)|(?= ?$)|(?(close)(?=(?-i:[^a-z\s]))|(?!)))",
    _I | re.MULTILINE,
)
# The second of the lines whose first only looks like a label: choices, or the rows of a machine.
_SIBLING = re.compile(r"\b(?:B|input) ?[:：.)]", _I)
# A line behind which nothing is an item: the answer key, or another turn of the chat.
_AFTERWARDS = re.compile(
    rf"^ *(?:\#{{1,6}} )?(?:{_EMPHASIS})?(?:"
    r"(?:answers|solutions|answer key|answers? and solutions?)(?: (?:to|for)\b[^\n]{0,60})?"
    r"|(?:here|below) are (?:the |all )?(?:correct |detailed )?(?:answers|solutions)\b[^\n:]{0,60}:"
    r"|user|human|(?-i:User|Human):.*)"
    rf" ?(?:{_EMPHASIS})? ?:? ?(?:{_EMPHASIS})? ?$",
    _I | re.MULTILINE,
)
_HEADING = re.compile(r"^ *#{1,6} \S")
_TITLE = re.compile(rf"^ *(?:{_EMPHASIS})(?P<title>[^*_?.!:$\n]{{1,80}}):?(?:{_EMPHASIS}):? ?$")
_MAX_TITLE_WORDS = 8

_ASKS = re.compile(
    r"\?|\b(?:find|compute|calculate|determine|evaluate|simplify|solve|express|factor|expand|write"
    r"|convert|enter|how (?:many|much|long|far|old)|what (?:is|are)|for what)\b",
    _I,
)


def parse_proposals(text: str, *, truncated: bool = False) -> list[str]:
    """Return the instructions that `text`, the answer to a request, lists, in their order.

    The request had left a number open: what comes before the first number is the first item, unless
    it ends in a colon or greets. `truncated` says that the token limit cut the text off; its last
    item is then dropped. Lettered parts stay inside their item; a line that begins with "Answer:"
    or the like ends it. White space runs become one space and text is brought to Unicode NFC;
    control characters, direction marks and terminal escapes are stripped.
    """
    text = _after_thoughts(_clean(text))
    items = _json_list(text)
    if not items:
        rest = _AFTERWARDS.search(text)
        if rest is not None:  # what was cut off is no item
            text, truncated = text[: rest.start()], False
        segments = _segments(_unwrap(text))
        if truncated:
            segments = segments[:-1]
        items = [item for segment in segments for item in _items(segment)]
    items = [_SPACES.sub(" ", item).strip() for item in items]
    return [item for item in items if any(sign.isalnum() for sign in item)]


def _json_list(text: str) -> list[str]:
    """Return the items of a JSON list; none when it is data in an item, or asks nothing."""
    start = json_start(text)
    if start is None or _numbered(text[:start]):
        return []
    items = [_clean(item) for item in json_items(text[start:])]
    return items if any(_ASKS.search(item) for item in items) else []


def _after_thoughts(text: str) -> str:
    """Return what follows a reasoning model's thoughts; thoughts without an end leave nothing."""
    _, mark, rest = text.rpartition("</think>")
    if mark:
        return rest
    return "" if text.lstrip().startswith("<think>") else text


@dataclass(frozen=True)
class _Segment:
    """What stands between two list markers; `marked` is false before the first."""

    text: str
    marked: bool
    is_heading: bool = False


@dataclass(frozen=True)
class _Mark:
    """A list marker: where it starts and ends, its number, and what it looks like."""

    start: int
    end: int
    number: int
    indent: int
    style: tuple[str, ...]
    is_heading: bool
    emphasis: str
    """Emphasis that the marker opened and the item closes."""


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
    """Cut `text` at its list markers, whatever they look like."""
    for find in (_numbered, _enclosed, _latex_items, _prefixed, _lettered, _bullets):
        marks = find(text)
        if marks:
            break
    else:
        return _unmarked(text)
    segments = []
    if text[: marks[0].start].strip() and find is not _enclosed:
        segments.append(_Segment(text[: marks[0].start], marked=False))
    ends = [mark.start for mark in marks[1:]] + [len(text)]
    for mark, end in zip(marks, ends, strict=True):
        body = mark.emphasis + text[mark.end : end].lstrip(" ")
        if find is _enclosed:
            body = _ENCLOSED_END.split(body, maxsplit=1)[0]
        segments.append(_Segment(body, marked=True, is_heading=mark.is_heading))
    return segments


def _numbered(text: str) -> list[_Mark]:
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


def _mark(found: re.Match[str]) -> _Mark | None:
    """Read one marker; `None` for a number that is only the beginning of a line of text."""
    word, bracket = (found["word"] or "").strip(" .#").lower(), found["bracket"]
    delimiter = (found["delimiter"] or "").strip()
    rest = found.string[found.end() : found.end() + 2]
    open_, close = found["open"] or "", found["inner"] or found["close"] or ""
    if not delimiter and not word and bracket != "#" and not found["heading"] and not close:
        return None
    if bracket in ("(", "[", "（") and not delimiter.startswith((")", "]", "）")):
        return None
    if delimiter in (":", "-", "–", "—", "") and rest[:1].isdigit():
        return None
    # "1.5 m" goes on with a digit; "a = 3.\n" does not start a line. "10.Ann" is a marker.
    if delimiter in (".", ")") and rest[:1].isdigit():
        return None
    if not delimiter and rest[:1] not in ("", " ", "\n", "*", "_"):
        return None
    if close == "}" and not open_.startswith("\\"):
        return None
    after = found["after"] or ""
    emphasis = open_ if open_ and close not in (open_, "}") else ""
    end = found.end()
    if close and not open_:  # the item itself begins with emphasis
        end = found.start("inner") if found["inner"] else found.start("close")
        after = ""
    kind = "word" if word else ""
    return _Mark(
        start=found.start(),
        end=end,
        number=int(found["number"]),
        indent=len(found["indent"]),
        style=(kind, bracket, "" if kind or bracket else (delimiter or after)[:1].translate(_DOTS)),
        is_heading=bool(found["heading"] or (emphasis and word)),
        emphasis=emphasis,
    )


_NESTED_INDENT = 3
_MAX_SKIP = 5


def _counting_up(marks: list[_Mark], text: str) -> list[_Mark]:
    """Keep the markers that count on; numbers nested in an item, or beginning a line, fall out.

    A repeated number, a few skipped ones and a fresh start at 1 are a model's slips. A fresh start
    behind a colon is a list inside the item, if the outer count goes on behind it; one behind a
    line that opens a solution counts its steps.
    """
    is_solved = _solved(marks, text)
    last_of = {mark.number: place for place, mark in enumerate(marks)}
    kept: list[_Mark] = []
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
        restarts = mark.number == 1 and not _is_chat(line)
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
            _is_label(line) or (is_solved[place] and not (apart and is_solved[place + 1]))
        ):
            inner = 1
            continue
        if last and not goes_on:
            again = mark.number in (1, last.number)
            goes_on_behind = last_of.get(last.number + 1, 0) > place
            if again and line.endswith(":") and goes_on_behind and not _is_chat(line):
                inner = int(mark.number == 1)
                continue
            if not again and not 1 < mark.number - last.number <= _MAX_SKIP:
                continue
        kept.append(mark)
    return kept


def _solved(marks: list[_Mark], text: str) -> list[bool]:
    """Tell of the text before each mark, back to the one before, whether it opens a solution.

    The last value is that of the text behind the last mark.
    """
    lines = [found.start() for found in _ANSWER_LINE.finditer(text) if _solves(found, asked=False)]
    starts = [0, *(mark.end for mark in marks)]
    ends = [*(mark.start for mark in marks), len(text)]
    return [
        bisect_left(lines, start) < bisect_left(lines, end)
        for start, end in zip(starts, ends, strict=True)
    ]


def _latex_items(text: str) -> list[_Mark]:
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


def _prefixed(text: str) -> list[_Mark]:
    """Return the lines that begin with "Question:", if it is not the last line of one problem."""
    found = list(_PREFIX.finditer(text))
    before = text[: found[0].start()].strip() if found else ""
    if len(found) == 1 and before and not before.endswith(":") and not _is_chat(before):
        return []
    return [_plain_mark(prefix) for prefix in found]


def _bullets(text: str) -> list[_Mark]:
    """Return the bullets when they are the items: each asks something, at one level."""
    found = list(_BULLET.finditer(text))
    if not found:
        return []
    outer = min(len(bullet["indent"]) for bullet in found)
    return _asking([bullet for bullet in found if len(bullet["indent"]) <= outer + 1], text)


def _lettered(text: str) -> list[_Mark]:
    """Return letters and Roman numbers that count the items: the parts of one item follow it."""
    found = list(_LETTERED.finditer(text))
    labels = tuple((label["letter"] or label["sign"]).lower() for label in found)
    counts = len(found) > 1 and any(labels == count[: len(labels)] for count in _COUNTS)
    if not counts or _without_preamble(text[: found[0].start()].split("\n")):
        return []
    return _asking(found, text)


def _enclosed(text: str) -> list[_Mark]:
    """Return the tags and environments that enclose an item each."""
    return _asking(list(_ENCLOSED.finditer(text)), text)


def _asking(found: list[re.Match[str]], text: str) -> list[_Mark]:
    """Return the marks when each has something to ask behind it."""
    ends = [mark.start() for mark in found[1:]] + [len(text)]
    asks = (_ASKS.search(text, mark.end(), end) for mark, end in zip(found, ends, strict=False))
    return [_plain_mark(mark) for mark in found] if all(asks) else []


def _plain_mark(found: re.Match[str]) -> _Mark:
    return _Mark(found.start(), found.end(), 0, 0, (), is_heading=False, emphasis="")


def _unmarked(text: str) -> list[_Segment]:
    """Cut a text without markers: an item a line if each line is a whole question, else one."""
    lines = [line for line in text.split("\n") if line.strip() and not _is_chat(line)]
    whole = all(line.rstrip().endswith((".", "?", "$", ")", "!")) for line in lines)
    asking = sum(_ASKS.search(line) is not None for line in lines)
    if len(lines) > 1 and asking == len(lines) and (whole or text.count("?") >= len(lines) - 1):
        return [_Segment(line, marked=False) for line in lines]
    return [_Segment(text, marked=False)] if text.strip() else []


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


def _inside(marks: list[_Mark], spans: list[tuple[int, int]]) -> Iterator[bool]:
    """Yield for each mark whether it stands in one of `spans`; both are in order."""
    place = 0
    for mark in marks:
        while place < len(spans) and spans[place][1] <= mark.start:
            place += 1
        yield place < len(spans) and spans[place][0] <= mark.start


def _is_chat(line: str) -> bool:
    return _GREETING.match(line) is not None or _CLOSING.match(line) is not None


def _items(segment: _Segment) -> list[str]:
    """Return the instruction of a segment: none for chat, one else."""
    text = segment.text.lstrip()
    prefix = _PREFIX.match(text) if segment.marked else None
    text = text[prefix.end() :] if prefix else segment.text
    lines = _without_list_ends(text).split("\n")
    if segment.marked and not prefix:
        lines = _without_title(lines, is_heading=segment.is_heading)
    else:
        lines = _without_preamble(lines)
    item = "\n".join(_until_something_else(lines)).strip()
    is_chat = _CLOSING.match(item) is not None
    if not segment.marked:
        is_chat = is_chat or item.endswith(":") or _GREETING.match(item) is not None
    return [] if is_chat else [item]


def _until_something_else(lines: list[str]) -> list[str]:
    """Return the lines before a solution, a word to the reader, or the heading of what follows."""
    kept: list[str] = []
    asked = False
    last = max((number for number, line in enumerate(lines) if line.strip()), default=0)
    siblings = [number for number, line in enumerate(lines) if _SIBLING.search(line)]
    for number, line in enumerate(lines):
        if not kept:
            if not line.strip() or _HEADING.match(line):
                continue
        else:
            apart = not lines[number - 1].strip()
            heads = _HEADING.match(line) or (_TITLE.match(line) and _is_title(line) and apart)
            if heads or _CLOSING.match(line):
                break
            if _speaks_between(line, apart=apart, ends=asked and number == last):
                break
            is_data = len(siblings) > 1 or number <= max(siblings, default=-1)
            if _solves(_ANSWER_LINE.match(line), asked=asked and not is_data):
                break
        kept.append(line)
        asked = asked or _ASKS.search(line) is not None
    return kept


def _solves(found: re.Match[str] | None, *, asked: bool) -> bool:
    """Tell whether a line begins a solution: "Answer:", "**Solution**", "Step 1:" and the like."""
    if found is None:
        return False
    if found["weak"] and not asked:  # the steps of an algorithm may be the problem
        return False
    return found["end"] in (":", "=", "：") or (found["label"] or found["weak"])[0].isupper()


def _is_label(line: str) -> bool:
    """Tell whether `line` holds nothing but "Solution:" or the like."""
    found = _ANSWER_LINE.match(line)
    return _solves(found, asked=False) and not line[found.end() if found else 0 :].strip(" *_")


_ABOUT_PROBLEMS = re.compile(rf"\b{_PROBLEMS}\b", _I)
_THESE = re.compile(r"^ ?(?:these|those)\b", _I)


def _speaks_between(line: str, *, apart: bool, ends: bool) -> bool:
    """Tell whether a line speaks to the reader again, and is not a line of the item.

    `apart` says that a blank line precedes it, `ends` that it is the last and the item has asked.
    """
    if _GREETING.match(line):
        return apart or _ABOUT_PROBLEMS.search(line) is not None
    alone = apart or (ends and _THESE.match(line) is not None)
    return alone and _REMARK.match(line) is not None and _ASKS.search(line) is None


def _without_list_ends(text: str) -> str:
    """Drop the `\\begin` or `\\end` of a LaTeX list that has only one of them here."""
    begins, ends = (
        [found for found in _BLOCK.finditer(text) if found[2] in _LISTS and found[1] == kind]
        for kind in ("begin", "end")
    )
    lone = ends[len(begins) :] or begins[: len(begins) - len(ends)]
    for found in reversed(lone):
        text = text[: found.start()] + text[found.end() :]
    return text


def _without_title(lines: list[str], *, is_heading: bool) -> list[str]:
    """Drop a first line that only names the item, when the item follows."""
    named = _is_title(lines[0]) and (is_heading or _TITLE.match(lines[0]) is not None)
    return lines[1:] if named and any(line.strip() for line in lines[1:]) else lines


def _is_title(line: str) -> bool:
    bare = line.strip().strip("*_#:} ")
    words = bare.split()
    return 0 < len(words) <= _MAX_TITLE_WORDS and bare[-1:].isalnum() and not _ASKS.search(bare)


def _without_preamble(lines: list[str]) -> list[str]:
    """Drop the leading lines that greet, announce the list, or head it."""
    for place, line in enumerate(lines):
        bare = line.strip()
        if not bare or _HEADING.match(line) or _is_chat(line):
            continue
        if _TITLE.match(line) and _is_title(line):
            continue
        return lines[place:]
    return []
