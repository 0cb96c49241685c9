"""The instructions in JSON that a proposer wrote instead of a list."""

import json
import re
from collections.abc import Iterator

_JSON_START = re.compile(r"^[ \t]*(?=\[\s*[\"{]|\{\s*\")", re.MULTILINE)
_JSON_KEYS = (
    "instruction",
    "problem",
    "question",
    "prompt",
    "text",
    "task",
    "statement",
    "content",
)
# A backslash that JSON does not know, or that begins a LaTeX command JSON would misread.
_LATEX_IN_JSON = re.compile(
    r"(?<!\\)((?:\\\\){0,50})\\(?=[^\"\\/bfnrtu\n]|u(?![0-9a-fA-F]{4})|(?:frac|forall|flo|beta"
    r"|begin|bin"
    r"|bar|bmod|boxed|big|bullet|neq|ne\b|nu\b|nabla|neg|not\b|rho|right|rangle|rightarrow|rm\b"
    r"|rfloor"
    r"|rceil|times|text|tan|theta|to\b|tau|top\b|triangle|tfrac|tilde|underline|uparrow))"
)
_DECODER = json.JSONDecoder()
_MAX_ENTERED = 3  # objects around a list; each one costs another reading of the text


def json_items(text: str) -> list[str]:
    """Return the texts of a JSON list, of JSON lines, or of an object; empty without JSON.

    Reads what stands whole before a value that was cut off. LaTeX commands whose backslash was not
    doubled are read as they were meant.
    """
    start = _JSON_START.search(text)
    if start is None:
        return []
    source = _LATEX_IN_JSON.sub(r"\1\\\\", text[start.end() :])
    return list(_json_texts(source))


def _json_texts(source: str) -> Iterator[str]:
    """Yield the texts of whole JSON values; a value that was cut off ends them."""
    place = num_entered = 0
    while place < len(source):
        if source[place] in " \t\n,[]:":
            place += 1
            continue
        if source[place] not in '{"':
            return
        try:
            value, place = _DECODER.raw_decode(source, place)
        except (ValueError, RecursionError):
            # An object around a list that was cut off: go inside.
            inside = _JSON_INSIDE.match(source, place)
            if inside is None or num_entered == _MAX_ENTERED:
                return
            place = inside.end()
            num_entered += 1
            continue
        yield from _texts_in(value)


_JSON_INSIDE = re.compile(r"\{\s*\"[^\"\\\n]{0,60}\"\s*:\s*\[")


def _texts_in(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key in _JSON_KEYS:
            if isinstance(value.get(key), str):
                yield value[key]
                return
        for inner in value.values():
            if isinstance(inner, list):
                for item in inner:
                    if isinstance(item, str | dict):
                        yield from _texts_in(item)
