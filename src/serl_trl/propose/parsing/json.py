"""The instructions in records that a proposer wrote instead of a list: JSON, Python or nearly so.

The reader forgives what models do: single quotes, bare keys, commas too many or too few, a value
that was cut off. Python's own reader refuses all of these, and a whole answer would be lost. This
one is a loop with a stack, so that no depth is too deep, and it reads every sign once. The signs
and keys are in `json.yaml`.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from serl_trl.common.vocabulary import load_patterns
from serl_trl.common.words import ASKS

_WORDS = load_patterns(__file__)
_QUOTED = re.compile(r'\\.|"', re.DOTALL)
_SPLIT = re.compile(r"(?<=[a-z])(?=[A-Z])|[\W\d_]+")
_LABEL = re.compile(r"\(?[A-Ha-h][).:]")
# The pattern lists the keys in the order of preference.
_BEST_KEYS = _WORDS["best key"].pattern.split("|")
# Bounds for hostile records: nobody nests or names more, and each key costs a few patterns.
_MAX_DEPTH = 8
_MAX_KEYS = 50
_MIN_WORDS = 4  # "Algebra" or "Sum of squares" is a topic, a problem has four words or more


def json_start(text: str) -> int | None:
    """Return where what looks like a record starts in `text`; `None` without such a place."""
    start = _WORDS["start"].search(text)
    return None if start is None else start.end()


def json_items(source: str) -> list[str]:
    """Return the instructions of a list, of a record, or of several, at the start of `source`.

    Reads what stands whole before a value that was cut off. LaTeX commands whose backslash was not
    doubled are read as they were meant.
    """
    return [text for value in _read(source) for text in _texts_in(value, _MAX_DEPTH)]


class _Record(dict):
    """An object, and the key that waits for its value."""

    key: str | None = None


@dataclass(frozen=True)
class _Bare:
    """A number, a constant or a key without quotation marks."""

    word: str


def _read(source: str) -> list[Any]:
    """Return the values at the start of `source`, up to the first sign outside of JSON."""
    root: list[Any] = []
    open_: list[Any] = [root]
    place = 0
    while place < len(source) and (token := _WORDS["token"].match(source, place)):
        place = token.end()
        sign = token.group()
        if sign in ("]", "}"):
            del open_[max(len(open_) - 1, 1) :]  # one end too many closes nothing
        elif sign in ("[", "{"):
            value: Any = [] if sign == "[" else _Record()
            _put(open_[-1], value)
            open_.append(value)
        elif token["bare"] is not None:
            if len(open_) == 1:
                break  # words behind the records
            _put(open_[-1], _Bare(token["bare"]))
        elif not sign.isspace() and sign not in (",", ":"):
            _put(open_[-1], _text(token))
    return root


def _put(holder: Any, value: Any) -> None:
    if not isinstance(holder, _Record):
        holder.append(value)
    elif holder.key is None:
        word = value.word if isinstance(value, _Bare) else value
        holder.key = word if isinstance(word, str) else ""
    else:
        # Of equal keys the first is whole; a model that repeats one has lost its thread.
        holder.setdefault(holder.key, value)
        holder.key = None


def _text(token: re.Match[str]) -> str:
    quoted = token.group("triple", "double", "single", "curled")
    body = next(body for body in quoted if body is not None)
    body = _WORDS["latex"].sub(r"\1\\\\", body.replace("\\'", "'"))
    # A quotation mark that the model left bare inside a string would end it.
    body = _QUOTED.sub(lambda found: found[0] if len(found[0]) > 1 else '\\"', body)
    try:
        return json.loads(f'"{body}"', strict=False)  # models break lines inside strings
    except ValueError:
        return body


def _words_of(key: str) -> list[str]:
    return [word for word in _SPLIT.split(key) if word]


def _is_aside(key: str) -> bool:
    """Tell whether a key names something beside the instruction: "question_type", "hint_text"."""
    words = _words_of(key)
    ends = words[-1:] + [word for word in words[:1] if len(word) > 1]
    return any(map(_WORDS["aside key"].fullmatch, ends))


def _is_main(key: str) -> bool:
    return not _is_aside(key) and any(map(_WORDS["main key"].fullmatch, _words_of(key)))


def _rank(key: str) -> int:
    words = {word.lower() for word in _words_of(key)}
    return next((at for at, name in enumerate(_BEST_KEYS) if name in words), len(_BEST_KEYS))


def _texts_in(value: object, depth: int) -> Iterator[str]:
    """Yield the instructions of a value: a record's own, or those in what it holds."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict) and depth:
        # A record with an instruction of its own is read no deeper: what it holds are its parts.
        own = _own_texts(value)
        yield from own
        inside = [] if own else [value[key] for key in value if not _is_aside(key)]
        yield from _texts_in([inner for inner in inside if not isinstance(inner, str)], depth)
    elif isinstance(value, list) and depth:
        for inner in value:
            yield from _texts_in(inner, depth - 1)


def _own_texts(record: dict[str, Any]) -> list[str]:
    """Return the instructions among a record's own texts: those with numbers as keys, or one."""
    first = islice(record.items(), _MAX_KEYS)
    texts = {key: text for key, text in first if isinstance(text, str) and text.strip()}
    counted = [key for key in texts if _WORDS["counted key"].fullmatch(key) and not _is_aside(key)]
    if len(counted) > 1 or (counted and not _words_of(counted[0])):
        return [texts[key] for key in counted]
    main = _main_key(texts)
    return [] if main is None else [_with_context(main, texts, record)]


def _main_key(texts: dict[str, str]) -> str | None:
    """Return the key of the instruction: by its name, or else the one text that can be one."""
    aside = [key for key in texts if ASKS.search(texts[key])]
    if named := sorted(filter(_is_main, texts), key=_rank):
        return next((key for key in named if key in aside), named[0])
    is_other = _WORDS["context key"].fullmatch
    other = [key for key in texts if not _is_aside(key) and not is_other(key)]
    asking = [key for key in other if key in aside]
    long = [key for key in other if len(texts[key].split()) >= _MIN_WORDS]
    return next((found[0] for found in (asking, long, aside) if len(found) == 1), None)


def _with_context(main: str, texts: dict[str, str], record: dict[str, Any]) -> str:
    """Return the instruction with its input behind it, or what it is asked about before it."""
    parts = [texts[main]]
    for key, text in texts.items():
        is_known = key == main or text in texts[main] or _WORDS["nothing"].fullmatch(text)
        if is_known or _is_aside(key):
            continue
        words = _words_of(key)
        if any(map(_WORDS["context key"].fullmatch, words)):
            is_input = words[-1].lower() in ("input", "data")
            parts = [*parts, text] if is_input else [text, *parts]
        elif _is_main(key) and len(text.split()) >= _MIN_WORDS and not ASKS.search(text):
            parts = [text, *parts]
    for key, held in record.items():
        if _WORDS["choices key"].fullmatch(key) and isinstance(held, list | dict):
            parts.append(_choices(held))
    return "\n".join(parts)


def _choices(held: list[Any] | dict[str, Any]) -> str:
    pairs = held.items() if isinstance(held, dict) else zip("ABCDEFGH", held, strict=False)
    texts = [(key, text) for key, text in pairs if isinstance(text, str)]
    if isinstance(held, list) and all(_LABEL.match(text) for _, text in texts):
        return " ".join(text for _, text in texts)
    return " ".join(f"({key}) {text}" for key, text in texts)
