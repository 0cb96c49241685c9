"""The instructions in what a proposer wrote: numbered lists as real models print them.

The parser only parses. It takes list markers, chat around the list and solutions below an item
away, and changes nothing else but white space and Unicode composition; what it finds may still be
refused by the filters. It never raises, and its time is linear in the length of the text.
"""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

from serl_trl.mathtext import compose
from serl_trl.parsing_json import json_items

_I = re.IGNORECASE

# Terminal escapes: CSI and OSC sequences, then what is left of their introducers.
_ESCAPE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]{0,64}[ -/]{0,16}[@-~]"
    r"|(?:\x1b\]|\x9d)[^\x07\x1b\x9c\n]{0,2000}(?:\x07|\x1b\\|\x9c)?"
    r"|\x1b[ -/]{0,16}[0-~]"
)
_NEWLINE = re.compile("\r\n?|[\v\f\x85\u2028\u2029]")
_SPACES = re.compile(r"\s+")

_BLOCK = re.compile(r"\\(begin|end)\s{0,3}\{([A-Za-z]{1,20}\*?)\}")
_LISTS = frozenset({"enumerate", "itemize"})
_LATEX_ITEM = re.compile(r"\\item\b(?:\s{0,3}\[[^\]\n]{0,20}\])?")

_FENCE = re.compile(
    r"^[ \t]*(?:```|~~~)[ \t]*(?:text|txt|plaintext|markdown|md|latex|tex|json)?[ \t]*$", _I
)
_RULE = re.compile(r"^[ \t]*(?:-{3,}|\*{3,}|={3,}|(?:[-*] ){2,}[-*])[ \t]*$")

_EMPHASIS = r"\*{1,3}|_{2,3}"
_WORD = (
    r"(?:(?:new |next |practice |sample |math )?(?:problem|question|exercise|example|task"
    r"|instruction)"
    r"|q|ex|no|number)"
)
# A list marker at the start of a line: "10.", "(10)", "**10.**", "### Problem 10:", "Q10)", "#10:".
_NUMBERED = re.compile(
    rf"^(?P<indent>[ \t]*)(?:>[ \t]?)?(?P<bullet>[-*+•][ \t]+(?=[\d*_(#PQpq]))?"
    rf"(?P<heading>\#{{1,6}}[ \t]+)?(?P<open>{_EMPHASIS})?(?P<word>{_WORD}[ \t]*[.\#]?[ \t]*)?"
    rf"(?P<bracket>[(\[\#]?)(?P<number>[0-9]{{1,3}})(?P<inner>{_EMPHASIS})?"
    rf"\\?(?P<delimiter>[.):\]．、]{{1,2}}|[ \t]?[-–—](?=[ \t])|(?=[ \t]*$))?"
    rf"(?P<close>{_EMPHASIS})?"
    rf"(?P<after>[.:](?=[ \t]))?",
    _I | re.MULTILINE,
)
# The same without a number: "Question: ...".
_PREFIX = re.compile(
    rf"^[ \t]*(?:[-*+•][ \t]+)?(?:\#{{1,6}}[ \t]+)?(?:{_EMPHASIS})?"
    r"(?:(?:new |next )?(?:problem|question|exercise|task|instruction)|q)(?:\s?(?:text|statement))?"
    rf"[ \t]*(?:(?:{_EMPHASIS})[ \t]*:|:[ \t]*(?:{_EMPHASIS})|:)[ \t]*",
    _I | re.MULTILINE,
)
_BULLET = re.compile(r"^(?P<indent>[ \t]*)[-*+•–][ \t]+(?=\S)", re.MULTILINE)

_LINE_END = r"[ \t*_]*(?:\n|$)"
_PROBLEMS = r"(?:problems?|questions?|exercises?|instructions?)"
# Words to the reader before a list or between two.
_GREETING = re.compile(
    r"^[\s*_#>\"']{0,6}(?:"
    r"(?:sure|certainly|of course|absolutely|okay|ok|alright|great|hello|hi|hey|yes|thanks"
    r"|thank you"
    r"|understood|got it|no problem|welcome|my pleasure|happy to help|glad to help)"
    r"(?:[!,.:;]|\s*$|\s+(?:thing|here|i|let)\b)"
    r"|(?:here(?:'s|’s| is| are| come)|below (?:is|are))\b[^?.\n]{0,80}"
    rf"(?:\b{_PROBLEMS}\b|\b(?:more|another)[:!]|:{_LINE_END})"
    r"|(?:i(?:'ll|’ll| will| can| have|'ve|’ve)|let(?:'s|’s| me| us)) (?:\w{1,12} )?"
    r"(?:create|created|write|written|continue|generate|generated|make|made|provide|provided|give"
    r"|come up|add)\b"
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
    r"|please let me\b|end of (?:list|problems|output)|the (?:correct )?answers are\b"
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
_ANSWER_LINE = re.compile(
    rf"^[ \t]*(?:[-*•>][ \t]+)?(?:\#{{1,6}}[ \t]+)?(?:{_EMPHASIS}|[(\[])?[ \t]*"
    r"(?:(?:final |correct |the |sample |detailed )?(?:answer|solution|ans|explanation|reasoning"
    r"|working|proof)"
    r"(?:[ \t]*(?:\d{1,4}|key))?|a\d{1,4}|step[ \t]*1)[ \t]*"
    rf"(?:{_EMPHASIS})?[ \t]*(?:[:=]|[)\]](?=[ \t]*$)|(?=[ \t]*$))",
    _I,
)
_ANSWER_SECTION = re.compile(
    rf"^[ \t]*(?:\#{{1,6}}[ \t]+)?(?:{_EMPHASIS})?(?:answers|solutions|answer key"
    rf"|answers? and solutions?)"
    rf"(?:[ \t]+(?:to|for)\b[^\n]{{0,60}})?[ \t]*(?:{_EMPHASIS})?[ \t]*:?[ \t]*"
    rf"(?:{_EMPHASIS})?[ \t]*$",
    _I | re.MULTILINE,
)
_HEADING = re.compile(r"^[ \t]*#{1,6}[ \t]+\S")
_TITLE = re.compile(
    rf"^[ \t]*(?:{_EMPHASIS})(?P<title>[^*_?.!:$\n]{{1,80}}):?(?:{_EMPHASIS}):?[ \t]*$"
)
_MAX_TITLE_WORDS = 8

_ASKS = re.compile(
    r"\?|\b(?:find|compute|calculate|determine|evaluate|simplify|solve|express|factor|expand|write"
    r"|convert"
    r"|how many|what is)\b",
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
    items = [_clean(item) for item in json_items(text)]
    if not items:
        key = _ANSWER_SECTION.search(text)
        if key is not None:  # what was cut off is the answer key, not an item
            text, truncated = text[: key.start()], False
        segments = _segments(_unwrap(text))
        if truncated:
            segments = segments[:-1]
        items = [item for segment in segments for item in _items(segment)]
    items = [_SPACES.sub(" ", item).strip() for item in items]
    return [item for item in items if any(sign.isalnum() for sign in item)]


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
    """Strip what is not text, bring line ends to one form, and compose characters."""
    text = _NEWLINE.sub("\n", _ESCAPE.sub("", text))
    if text.isascii():
        return "".join(sign for sign in text if (sign >= " " and sign != "\x7f") or sign in "\n\t")
    # Cf holds the direction marks, zero-width signs and invisible tags; Cs cannot be encoded.
    kept = (
        sign
        for sign in text
        if sign in "\n\t\u200c\u200d" or unicodedata.category(sign) not in ("Cc", "Cf", "Cs")
    )
    return compose("".join(kept), "NFC")


def _unwrap(text: str) -> str:
    """Drop fences and rules around the list."""
    lines = text.split("\n")
    return "\n".join("" if _FENCE.match(line) or _RULE.match(line) else line for line in lines)


def _segments(text: str) -> list[_Segment]:
    """Cut `text` at its list markers, whatever they look like."""
    for find in (_numbered, _latex_items, _prefixed, _bullets):
        marks = find(text)
        if marks:
            break
    else:
        return _unmarked(text)
    segments = []
    if text[: marks[0].start].strip():
        segments.append(_Segment(text[: marks[0].start], marked=False))
    ends = [mark.start for mark in marks[1:]] + [len(text)]
    for mark, end in zip(marks, ends, strict=True):
        body = mark.emphasis + text[mark.end : end].lstrip(" \t")
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
    word, bracket = (found["word"] or "").strip(" \t.#").lower(), found["bracket"] or ""
    delimiter = (found["delimiter"] or "").strip()
    rest = found.string[found.end() : found.end() + 2]
    open_, close = found["open"] or "", found["inner"] or found["close"] or ""
    if not delimiter and not word and bracket != "#" and not found["heading"] and not close:
        return None
    if bracket in ("(", "[") and not delimiter.startswith((")", "]")):
        return None
    if delimiter in (":", "-", "–", "—", "") and rest[:1].isdigit():
        return None
    # "1.5 m" goes on with a digit; "a = 3.\n" does not start a line. "10.Ann" is a marker.
    if delimiter in (".", ")") and rest[:1].isdigit():
        return None
    if not delimiter and rest[:1] not in ("", " ", "\t", "\n", "*", "_"):
        return None
    after = found["after"] or ""
    emphasis = open_ if open_ and close != open_ else ""
    end = found.end()
    if close and not open_:  # the item itself begins with emphasis
        end = found.start("inner") if found["inner"] else found.start("close")
        after = ""
    kind = "word" if word else ""
    return _Mark(
        start=found.start(),
        end=end,
        number=int(found["number"]),
        indent=len(found["indent"].expandtabs(4)),
        style=(kind, bracket, "" if kind or bracket else (delimiter or after)[:1]),
        is_heading=bool(found["heading"] or (emphasis and word)),
        emphasis=emphasis,
    )


_NESTED_INDENT = 3
_MAX_SKIP = 5


def _counting_up(marks: list[_Mark], text: str) -> list[_Mark]:
    """Keep the markers that count on; numbers nested in an item, or beginning a line, fall out.

    A repeated number, a few skipped ones and a fresh start at 1 are a model's slips. A fresh start
    behind a colon is a list inside the item, if the outer count goes on behind it.
    """
    kept = marks[:1]
    last_of = {mark.number: place for place, mark in enumerate(marks)}
    nested = False
    for place, mark in enumerate(marks[1:], start=1):
        last = kept[-1]
        step = mark.number - last.number
        if mark.indent - last.indent >= _NESTED_INDENT:
            continue
        if step == 1:
            nested = False
        elif nested:
            continue
        elif (mark.number == 1 and last.number > 1) or step == 0:
            before = text[max(last.end, mark.start - 200) : mark.start].rstrip()
            announced = _is_chat(before.rpartition("\n")[2])
            if before.endswith(":") and not announced and last_of.get(last.number + 1, 0) > place:
                nested = True
                continue
        elif not 1 < step <= _MAX_SKIP:
            continue
        kept.append(mark)
    return kept


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
    outer = min(len(bullet["indent"].expandtabs(4)) for bullet in found)
    found = [bullet for bullet in found if len(bullet["indent"].expandtabs(4)) <= outer + 1]
    ends = [bullet.start() for bullet in found[1:]] + [len(text)]
    for bullet, end in zip(found, ends, strict=True):
        if not _ASKS.search(text, bullet.end(), end):
            return []
    return [_plain_mark(bullet) for bullet in found]


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
    prefix = _PREFIX.match(segment.text) if segment.marked else None
    text = segment.text[prefix.end() :] if prefix else segment.text
    lines = _without_list_ends(text).split("\n")
    if segment.marked:
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
    for number, line in enumerate(lines):
        if not kept:
            if line.strip() and not _HEADING.match(line):
                kept.append(line)
            continue
        heads = _HEADING.match(line) or (
            _TITLE.match(line) and _is_title(line) and not lines[number - 1].strip()
        )
        if heads or _CLOSING.match(line) or _speaks_between(lines, number):
            break
        if _solves(line, asked=_ASKS.search(kept[-1]) is not None or len(kept) > 1):
            break
        kept.append(line)
    return kept


def _solves(line: str, *, asked: bool) -> bool:
    """Tell whether `line` begins a solution: "Answer:", "**Solution**", "Step 1:" and the like."""
    found = _ANSWER_LINE.match(line)
    if found is None:
        return False
    word = line.strip(" \t*_#>([-•")
    if word[:4].lower() == "step":  # the steps of an algorithm may be the problem
        return asked
    return found.group().rstrip()[-1:] in (":", "=") or word[:1].isupper()


_ABOUT_PROBLEMS = re.compile(rf"\b{_PROBLEMS}\b", _I)


def _speaks_between(lines: list[str], number: int) -> bool:
    """Tell whether that line speaks to the reader again, and is not a line of the item."""
    line = lines[number]
    apart = not lines[number - 1].strip()
    if _GREETING.match(line):
        return apart or _ABOUT_PROBLEMS.search(line) is not None
    return apart and _REMARK.match(line) is not None and _ASKS.search(line) is None


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
    bare = line.strip().strip("*_#: \t")
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
