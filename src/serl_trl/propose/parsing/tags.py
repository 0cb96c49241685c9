"""Tags in what a proposer wrote: thoughts to leave out, and elements that hold one item each.

The names of tags are in `tags.yaml`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from serl_trl.common.vocabulary import load_patterns

_WORDS = load_patterns(__file__)
# Tags that hold what the thoughts led to: a model that forgot to close them has ended them here.
_RESULTS = ("answer", "final", "output", "response")


@dataclass(frozen=True)
class _Tag:
    start: int
    end: int
    name: str
    closes: bool

    @property
    def thinks(self) -> bool:
        return _WORDS["thought"].search(self.name) is not None

    @property
    def kind(self) -> str:
        """What it holds: "item", "context" or "other"; empty for an unknown tag."""
        kinds = ("item", "context", "other")
        return next((kind for kind in kinds if _WORDS[kind].fullmatch(self.name)), "")


def _tags(text: str) -> list[_Tag]:
    tags = []
    for found in _WORDS["tag"].finditer(text):
        name = (found["name"] or found["in_bracket"] or found["in_latex"]).lower()
        closes = found["end"] or found["end_bracket"] or found["latex"] == "end"
        # Some models close their thoughts by a mark such as <|end_of_thought|>.
        closes = bool(closes) or name.startswith("end_of_")
        tags.append(_Tag(*found.span(), _WORDS["edge"].sub("", name), closes))
    return tags


def without_thoughts(text: str) -> str:
    """Return `text` without a reasoning model's thoughts; thoughts without an end leave nothing.

    Any tag whose name speaks of reasoning counts. An end without a beginning ends thoughts that
    the prompt had opened; an element that holds an answer or an item ends them as well.
    """
    text = _WORDS["channels"].sub("", text, count=1)
    kept: list[str] = []
    place, inside = 0, ""
    for tag in _tags(text):
        if inside:
            if tag.thinks and tag.closes and tag.name == inside:
                place, inside = tag.end, ""
            elif not tag.thinks and not tag.closes and tag.name in _RESULTS:
                place, inside = tag.start, ""
        elif tag.thinks:
            if tag.closes:
                kept.clear()
            else:
                kept.append(text[place : tag.start])
            place, inside = tag.end, "" if tag.closes else tag.name
    return "".join(kept) + ("" if inside else text[place:])


def enclosed_items(text: str) -> list[str]:
    """Return the items that tags enclose, each with the input that belongs to it."""
    items: list[str] = []
    context = ""
    open_ = False  # the last item may still get its input
    for tag, end in _elements(text):
        body = text[tag.end : end].strip()
        if not body or tag.kind == "other":
            continue
        if tag.kind == "item":
            items.append(f"{context}\n{body}" if context else body)
            context, open_ = "", True
        elif open_ and tag.name.startswith(("input", "data")):
            items[-1] += f"\n{body}"
            open_ = False
        else:
            context = body
    return items


def _elements(text: str) -> list[tuple[_Tag, int]]:
    """Return each known tag that opens, and where the next known tag starts."""
    tags = [tag for tag in _tags(text) if tag.kind]
    ends = [tag.start for tag in tags[1:]] + [len(text)]
    # Without tags there is still one end.
    return [(tag, end) for tag, end in zip(tags, ends, strict=False) if not tag.closes]


def without_tags(text: str) -> str:
    """Return `text` without known tags, and without the answers that they enclose.

    Where nothing would be left, what they enclose is the text.
    """
    answers = [(tag.start, end) for tag, end in _elements(text) if tag.kind == "other"]
    rest = _unwrapped("".join(_between(text, answers)))
    return rest if any(map(str.isalnum, rest)) else _unwrapped(text)


def _unwrapped(text: str) -> str:
    return "\n".join(_between(text, [(tag.start, tag.end) for tag in _tags(text) if tag.kind]))


def _between(text: str, spans: Sequence[tuple[int, int]]) -> list[str]:
    """Return the parts of `text` around `spans`, which are in order and apart."""
    edges = [0, *(edge for span in spans for edge in span), len(text)]
    return [text[start:end] for start, end in zip(edges[::2], edges[1::2], strict=True)]


def known_tags(text: str) -> list[str]:
    """Return the tags in `text` that hold an item, a part of one, or thoughts."""
    # Brackets and \begin may be a problem's own notation; angle brackets with such a name are not.
    return [
        text[tag.start : tag.end]
        for tag in _tags(text)
        if text[tag.start] == "<" and (tag.kind or tag.thinks)
    ]
