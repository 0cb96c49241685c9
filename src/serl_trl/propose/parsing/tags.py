"""Tags in what a proposer wrote: thoughts to leave out, and elements that hold one item each."""

import re
from dataclasses import dataclass

from serl_trl.common.words import FOREIGN_ANSWER, ITEM

_I = re.IGNORECASE

_TAG = re.compile(
    r"(?:<\|?|◁)(?P<end>/?)(?P<name>[^\W\d_][\w:.-]{0,39})(?: [^<>\n]{0,80})?(?:\|?>|▷)"
    r"|\[(?P<end2>/?)(?P<name2>[A-Z]{4,16})\]"
    r"|\\(?P<latex>begin|end) ?\{(?P<name3>[a-z]{4,12})\*?\}"
)
_EDGE = re.compile(r"^(?:begin|start|end)_of_(?:the_)?", _I)
_THOUGHT = re.compile(
    r"think|thought|reason|scratch|analy[sz]|reflect|^plan(?:ning)?$|draft|deliberat|monologue"
    r"|^cot$|rationale|brainstorm|^(?:\w{1,9}_)?notes$|contemplat|critique|ponder"
    r"|gedanke|überleg|pens(?:ée|amiento|amento)|razon|raisonn|réfl|思|推理|думa|размышл",
    _I,
)
# Visible where the channel's tokens are not: thoughts, then the list.
_CHANNELS = re.compile(r"\A\s{0,9}analysis.*?assistant ?final", re.DOTALL)

_COUNT = r"[\W\d_]{0,4}"
_ITEM = re.compile(
    rf"(?:\w{{1,12}}_)?(?:{ITEM}|item|li|q|prompt|query|statement|example|sample){_COUNT}", _I
)
_CONTEXT = re.compile(rf"(?:input|context|passage|data|premise|scenario|background){_COUNT}", _I)
_OTHER = re.compile(
    r"(?:\w{1,12}_)?(?:answers?|solutions?|ans|sol|a|outputs?|response|explanation|hint|label|topic"
    rf"|category|difficulty|level|type|title|id|result|final|{FOREIGN_ANSWER}"
    rf"|(?:{ITEM}|item|prompt|example)s|list|ul|ol|output_format){_COUNT}",
    _I,
)


@dataclass(frozen=True)
class _Tag:
    start: int
    end: int
    name: str
    closes: bool


def _tags(text: str) -> list[_Tag]:
    tags = []
    for found in _TAG.finditer(text):
        name = found["name"] or found["name2"] or found["name3"]
        closes = bool(found["end"] or found["end2"]) or found["latex"] == "end"
        closes = closes or name.lower().startswith("end_of_")
        tags.append(_Tag(found.start(), found.end(), _EDGE.sub("", name).lower(), closes))
    return tags


def without_thoughts(text: str) -> str:
    """Return `text` without a reasoning model's thoughts; thoughts without an end leave nothing.

    Any tag whose name speaks of reasoning counts. An end without a beginning ends thoughts that
    the prompt had opened; an element that holds an answer or an item ends them as well.
    """
    text = _CHANNELS.sub("", text, count=1)
    kept: list[str] = []
    place, inside = 0, ""
    for tag in _tags(text):
        thinks = _THOUGHT.search(tag.name) is not None
        if inside and not thinks:
            holds = tag.name in ("answer", "final", "output", "response") and not tag.closes
            place, inside = (tag.start, "") if holds else (place, inside)
        elif inside and tag.closes and tag.name == inside:
            place, inside = tag.end, ""
        elif thinks and not inside:
            if tag.closes:
                kept.clear()
            else:
                kept.append(text[place : tag.start])
            place, inside = tag.end, "" if tag.closes else tag.name
    return "".join(kept) + ("" if inside else text[place:])


@dataclass(frozen=True)
class _Element:
    kind: str
    """"item", "context" or "other"."""

    name: str
    start: int
    end: int
    body: str


def _kind(name: str) -> str:
    kinds = (("item", _ITEM), ("context", _CONTEXT), ("other", _OTHER))
    return next((kind for kind, pattern in kinds if pattern.fullmatch(name)), "")


def _elements(text: str) -> list[_Element]:
    """Return what stands between a known tag and the next one."""
    tags = [(tag, kind) for tag in _tags(text) if (kind := _kind(tag.name))]
    ends = [tag.start for tag, _ in tags[1:]] + [len(text)]
    return [
        _Element(kind, tag.name, tag.start, end, text[tag.end : end].strip())
        for (tag, kind), end in zip(tags, ends, strict=False)
        if not tag.closes
    ]


def enclosed_items(text: str) -> list[str]:
    """Return the items that tags enclose, each with the input that belongs to it."""
    items: list[str] = []
    context = ""
    open_ = False  # the last item may still get its input
    for element in _elements(text):
        if not element.body or element.kind == "other":
            continue
        if element.kind == "item":
            items.append(f"{context}\n{element.body}" if context else element.body)
            context, open_ = "", True
        elif open_ and element.name.startswith(("input", "data")):
            items[-1] += f"\n{element.body}"
            open_ = False
        else:
            context = element.body
    return items


def without_tags(text: str) -> str:
    """Return `text` without known tags, and without the answers that they enclose.

    Where nothing would be left, what they enclose is the text.
    """
    kept: list[str] = []
    place = 0
    for element in _elements(text):
        if element.kind == "other" and element.start >= place:
            kept.append(text[place : element.start])
            place = element.end
    rest = "".join(kept) + text[place:]
    return _unwrapped(rest) if any(map(str.isalnum, _unwrapped(rest))) else _unwrapped(text)


def known_tags(text: str) -> list[str]:
    """Return the tags in `text` that hold an item, a part of one, or thoughts."""
    return [
        text[tag.start : tag.end]
        for tag in _tags(text)
        if text[tag.start] == "<" and (_kind(tag.name) or _THOUGHT.search(tag.name))
    ]


def _unwrapped(text: str) -> str:
    parts, place = [], 0
    for tag in _tags(text):
        if _kind(tag.name):
            parts.append(text[place : tag.start])
            place = tag.end
    return "\n".join([*parts, text[place:]]) if parts else text
