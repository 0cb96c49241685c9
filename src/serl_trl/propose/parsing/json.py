"""The instructions in records that a proposer wrote instead of a list: JSON, Python or nearly so.

The reader forgives what models do: single quotes, bare keys, commas too many or too few, a value
that was cut off. It never enters itself, so that no depth is too deep, and reads every sign once.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from serl_trl.common.words import ASKS, FOREIGN_ANSWER, ITEM

_I = re.IGNORECASE

# At the start of a line, or behind "Here they are:".
_START = re.compile(
    r"^(?:[^\n\[{]{0,80}:)? *(?=\[\s*[\"'“{\[]|\{\s*[\"'“]|\{\s*\w{1,30}\s*:\s*[\"'“\[{])",
    re.MULTILINE,
)
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
# A quotation mark closes where a value can end; models leave others inside as they are.
_TOKEN = re.compile(
    r"\s+|,|:(?= |\"|'|\[|\{|\n|\d|$)|[\[\]{}]"
    r"|\"\"\"(?P<triple>(?:[^\"\\]|\\.|\"(?!\"\"))*+)\"\"\""
    r"|\"(?P<double>(?:[^\"\\]|\\.|\"(?!\s{0,9}(?:[,:}\]\n]|\"[\w ]{1,30}\" ?:|\Z)))*+)\""
    r"|'(?P<single>(?:[^'\\]|\\.|'(?!\s{0,9}(?:[,:}\]]|\Z)))*+)'"
    r"|“(?P<curled>[^”]*+)”"
    r"|(?P<bare>[\w.+-]{1,60})",
    re.DOTALL,
)
_QUOTED = re.compile(r'\\.|"', re.DOTALL)
_MAX_DEPTH = 8
_MAX_KEYS = 50


def json_start(text: str) -> int | None:
    """Return where what looks like a record starts in `text`; `None` without such a place."""
    start = _START.search(text)
    return None if start is None else start.end()


def json_items(source: str) -> list[str]:
    """Return the instructions of a list, of a record, or of several, at the start of `source`.

    Reads what stands whole before a value that was cut off. LaTeX commands whose backslash was not
    doubled are read as they were meant.
    """
    root: list[Any] = []
    _read(source, root)
    return [text for value in root for text in _texts_in(value, _MAX_DEPTH)]


class _Record(dict):
    """An object, and the key that waits for its value."""

    key: str | None = None


@dataclass(frozen=True)
class _Bare:
    """A number, a constant or a key without quotation marks."""

    word: str

    def __str__(self) -> str:
        return self.word


def _read(source: str, root: list[Any]) -> None:
    """Append the values at the start of `source` to `root`, up to what can be none."""
    open_: list[Any] = [root]
    place = 0
    while place < len(source) and (token := _TOKEN.match(source, place)):
        place = token.end()
        sign = token.group()
        if sign.isspace() or sign in (",", ":"):
            continue
        if sign in ("]", "}"):
            if len(open_) > 1:
                open_.pop()
        elif sign in ("[", "{"):
            value: Any = [] if sign == "[" else _Record()
            _put(open_[-1], value)
            open_.append(value)
        elif token["bare"] is None:
            _put(open_[-1], _text(token))
        elif len(open_) > 1:
            _put(open_[-1], _Bare(token["bare"]))
        else:
            return  # words behind the records


def _put(holder: Any, value: Any) -> None:
    if not isinstance(holder, _Record):
        holder.append(value)
    elif holder.key is None:
        holder.key = str(value) if isinstance(value, str | _Bare) else ""
    else:
        holder.setdefault(holder.key, value)
        holder.key = None


def _text(token: re.Match[str]) -> str:
    body = next(
        body for body in token.group("triple", "double", "single", "curled") if body is not None
    )
    body = _LATEX_IN_JSON.sub(r"\1\\\\", body.replace("\\'", "'"))
    body = _QUOTED.sub(lambda found: found[0] if len(found[0]) > 1 else '\\"', body)
    try:
        return json.loads(f'"{body}"', strict=False)  # models break lines inside strings
    except ValueError:
        return body


# Keys, each without its number: what is asked, what it is asked about, and what is neither.
_MAIN_KEYS = (
    "instruction",
    "problem",
    "question",
    "prompt",
    "text",
    "task",
    "statement",
    "content",
)
_SPLIT = re.compile(r"(?<=[a-z])(?=[A-Z])|[\W\d_]+")
_MAIN = re.compile(
    rf"(?:{ITEM}|prompt|text|statement|content|query|q|item|example|description|body|stem)s?", _I
)
_CONTEXT = re.compile(r"input|context|passage|data|premise|scenario|background|story|given", _I)
_CHOICES = re.compile(r"options?|choices?|alternatives", _I)
_ASIDE = re.compile(
    rf"(?:{FOREIGN_ANSWER}|answers?|a|solutions?|ans|sol|outputs?|responses?|explanations?|reason\w*"
    r"|rationale|thoughts?|thinking|analysis|hints?|steps?|results?|type|kind|topics?|subject|category"
    r"|difficulty|level|grade|title|name|source|domain|tags?|skills?|format|id|idx|index|number|note"
    r"|notes|label|language|author|points|score|unit|formula|metadata|author|concepts?)",
    _I,
)
_COUNTED = re.compile(r"[^\d]{0,20}\d{1,3}")
_MIN_WORDS = 4


def _words_of(key: str) -> list[str]:
    return [word for word in _SPLIT.split(key) if word]


def _is_aside(key: str) -> bool:
    """Tell whether a key names what is no part of an instruction: "question_type", "hint_text"."""
    words = _words_of(key)
    ends = words[-1:] + [word for word in words[:1] if len(word) > 1]
    return any(map(_ASIDE.fullmatch, ends))


def _is_main(key: str) -> bool:
    words = _words_of(key)
    return bool(words) and not _is_aside(key) and any(map(_MAIN.fullmatch, words))


def _rank(key: str) -> int:
    words = {word.lower() for word in _words_of(key)}
    return next((at for at, name in enumerate(_MAIN_KEYS) if name in words), len(_MAIN_KEYS))


def _texts_in(value: object, depth: int) -> Iterator[str]:
    """Yield the instructions of a value: a record's own, or those in what it holds."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list) and depth:
        for inner in value:
            yield from _texts_in(inner, depth - 1)
    elif isinstance(value, dict) and depth:
        first = islice(value.items(), _MAX_KEYS)
        texts = {key: text for key, text in first if isinstance(text, str) and text.strip()}
        counted = [key for key in texts if _COUNTED.fullmatch(key) and not _is_aside(key)]
        if len(counted) > 1 or (counted and not _words_of(counted[0])):
            yield from (texts[key] for key in counted)
            return
        main = _main_key(texts)
        if main is not None:
            yield _with_context(main, texts, value)
            return
        for key, inner in value.items():
            if not isinstance(inner, str) and not _is_aside(key):
                yield from _texts_in(inner, depth - 1)


def _main_key(texts: dict[str, str]) -> str | None:
    """Return the key of the instruction: by its name, or else the one text that can be one."""
    named = sorted(filter(_is_main, texts), key=_rank)
    if named:
        return next((key for key in named if ASKS.search(texts[key])), named[0])
    other = [key for key in texts if not _is_aside(key) and not _CONTEXT.fullmatch(key)]
    asking = [key for key in other if ASKS.search(texts[key])]
    long = [key for key in other if len(texts[key].split()) >= _MIN_WORDS]
    aside = [key for key in texts if ASKS.search(texts[key])]
    return next((found[0] for found in (asking, long, aside) if len(found) == 1), None)


def _with_context(main: str, texts: dict[str, str], record: dict[str, Any]) -> str:
    """Return the instruction with its input behind it, or what it is asked about before it."""
    parts = [texts[main]]
    for key, text in texts.items():
        if key == main or _is_aside(key) or text in texts[main] or text.lower() in _NOTHING:
            continue
        words = _words_of(key)
        if any(map(_CONTEXT.fullmatch, words)):
            is_input = words[-1].lower() in ("input", "data")
            parts = [*parts, text] if is_input else [text, *parts]
        elif _is_main(key) and len(text.split()) >= _MIN_WORDS and not ASKS.search(text):
            parts = [text, *parts]
    for key, held in record.items():
        if _CHOICES.fullmatch(key) and isinstance(held, list | dict):
            parts.append(_choices(held))
    return "\n".join(parts)


_NOTHING = frozenset(
    {"none", "n/a", "na", "null", "<noinput>", "noinput", "no input", "-", "empty"}
)


def _choices(held: list[Any] | dict[str, Any]) -> str:
    pairs = held.items() if isinstance(held, dict) else zip("ABCDEFGH", held, strict=False)
    texts = [(key, text) for key, text in pairs if isinstance(text, str)]
    if isinstance(held, list) and all(re.match(r"\(?[A-Ha-h][).:]", text) for _, text in texts):
        return " ".join(text for _, text in texts)
    return " ".join(f"({key}) {text}" for key, text in texts)
