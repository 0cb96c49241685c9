"""The instructions in JSON that a proposer wrote instead of a list."""

import json
import re
from collections.abc import Iterator

# At the start of a line, or behind "Here they are:".
_JSON_START = re.compile(r"^(?:[^\n\[{]{0,80}:)? *(?=\[\s*[\"{]|\{\s*\")", re.MULTILINE)
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
_COUNTED_KEY = re.compile(r"[A-Za-z_ ]{0,20}[0-9]{1,3}")
# A backslash that JSON does not know, or that begins a LaTeX command JSON would misread: before a
# letter \b, \f and \r are always one; \n and \t are line ends and tabs but in these.
_LATEX_IN_JSON = re.compile(
    r"(?<!\\)((?:\\\\){0,50})\\(?=[^\"\\/bfnrtu\n]|u(?![0-9a-fA-F]{4})|[bfr][A-Za-z]"
    r"|n(?:abla|atural|cong|e|earrow|eg|egthinspace|eq|ewline|exists|geq|geqslant|i|leq|leqslant"
    r"|leftarrow|less|gtr|mid|oindent|olimits|onumber|ormalsize|ot|otag|otin|parallel|prec"
    r"|rightarrow|sim|subseteq|succ|supseteq|u|warrow)(?![A-Za-z])"
    r"|t(?:ag|an|anh|au|binom|ext[a-z]{0,12}|frac|herefore|heta|hickspace|hicksim|ilde|imes|iny|o"
    r"|op|riangle[a-z]{0,10})(?![A-Za-z]))"
)
_DECODER = json.JSONDecoder(strict=False)  # models break lines inside strings
_MAX_DEPTH = 8
_MAX_ENTERED = 3  # objects around a list; each one costs another reading of the text


def json_start(text: str) -> int | None:
    """Return where what looks like JSON starts in `text`; `None` without such a place."""
    start = _JSON_START.search(text)
    return None if start is None else start.end()


def json_items(source: str) -> list[str]:
    """Return the texts of a JSON list, of JSON lines, or of an object at the start of `source`.

    Reads what stands whole before a value that was cut off. LaTeX commands whose backslash was not
    doubled are read as they were meant.
    """
    return list(_json_texts(_LATEX_IN_JSON.sub(r"\1\\\\", source)))


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
        yield from _texts_in(value, _MAX_DEPTH)


_JSON_INSIDE = re.compile(r"\{\s*\"[^\"\\\n]{0,60}\"\s*:\s*\[")


def _texts_in(value: object, depth: int) -> Iterator[str]:
    """Yield the texts of a value: under a key that names one, under counted keys, in lists."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list) and depth:
        for inner in value:
            yield from _texts_in(inner, depth - 1)
    elif isinstance(value, dict) and depth:
        by_name = {key.lower(): inner for key, inner in value.items()}
        for key in _JSON_KEYS:
            if isinstance(by_name.get(key), str):
                yield by_name[key]
                return
        for key, inner in value.items():
            if not isinstance(inner, str) or _COUNTED_KEY.fullmatch(key):
                yield from _texts_in(inner, depth - 1)
