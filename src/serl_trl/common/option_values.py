"""From the words after a flag, or a value of YAML, to the type that an option's hint names.

Both mean the same, and what TRL's own parser takes is taken. None, null and none stand for null
wherever null is allowed and the word means nothing else.
"""

import contextlib
import json
from collections.abc import Iterator, Sequence
from enum import Enum
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from serl_trl.common.text import shortened, visible

# What TRL's own parser takes for a truth value.
_TRUTH = {"yes": True, "true": True, "t": True, "y": True, "1": True}
_TRUTH |= {"no": False, "false": False, "f": False, "n": False, "0": False}
_NULLS = ("none", "null")
# For transformers, "none" is the tracker that tracks nothing.
_NONE_IS_A_VALUE = ("report_to",)


def read_words(words: Sequence[str], hint: Any, *, name: str = "") -> Any:
    """Return what the words after a flag mean.

    Raises `TypeError` saying what was expected.
    """
    kinds = alternatives(hint)
    items = item_kinds(kinds)
    if len(words) == 1 and (str in kinds or not items or _is_null(words[0], kinds, name)):
        return _read_word(words[0], kinds, name)
    return _as_list([_read_word(word, items, name) for word in words], items)


def convert(value: Any, hint: Any, *, name: str = "") -> Any:
    """Return a YAML value as the type that `hint` says.

    A whole number is a float too, a text that spells a number is one (YAML reads 1e-6 as text), a
    single item is a list of one, and `no` is the choice "no". Nothing else is changed.

    Raises `TypeError` saying what was expected.
    """
    kinds = alternatives(hint)
    if isinstance(value, str) and _is_null(value, kinds, name):
        return None
    for found in _conversions(value, kinds):
        return found
    raise TypeError(f"expected {_describe(kinds)}, got {_shown(value)}")


def alternatives(hint: Any) -> tuple[Any, ...]:
    """Return the types that a hint allows."""
    return get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)


def item_kinds(kinds: Sequence[Any]) -> tuple[Any, ...]:
    """Return the types of the items of the list among `kinds`; empty when there is none."""
    return next((get_args(kind) for kind in kinds if get_origin(kind) is list), ())


def enum_values(kinds: Sequence[Any]) -> list[Any]:
    """Return the values of the enums among `kinds`."""
    enums = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Enum)]
    return [member.value for kind in enums for member in kind]


def read_json(value: Any, hint: Any) -> Any:
    """Return the mapping that a text spells in JSON; any other value as it is.

    As in transformers, texts inside that spell a number or a truth value are one. Raises
    `ValueError` for what begins like a mapping but is not JSON.
    """
    if isinstance(value, str) and _begins_mapping(value, alternatives(hint)):
        return _plain(json.loads(value))
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if not isinstance(value, str):
        return value
    if value.lower() in ("true", "false"):
        return value.lower() == "true"
    if value.isdecimal():
        return int(value)
    return float(value) if value.replace(".", "", 1).isdecimal() else value


def _is_null(word: str, kinds: Sequence[Any], name: str) -> bool:
    return NoneType in kinds and word.lower() in _NULLS and name not in _NONE_IS_A_VALUE


def _read_word(word: str, kinds: Sequence[Any], name: str) -> Any:
    if _is_null(word, kinds, name):
        return None
    for found in _meanings(word, kinds):
        return found
    raise TypeError(f"expected {_describe(kinds)}, got {visible(word)!r}")


def _meanings(word: str, kinds: Sequence[Any]) -> Iterator[Any]:
    """Yield what a word may mean as one of `kinds`, the most literal first."""
    choices = [each for kind in kinds if get_origin(kind) is Literal for each in get_args(kind)]
    yield from (choice for choice in choices if word.lower() == str(choice).lower())
    # Beside texts only the two words themselves are truth values: "no" may be a choice.
    words = {"true": True, "false": False} if str in kinds else _TRUTH
    if bool in kinds and word.lower() in words:
        yield words[word.lower()]
    for kind in (int, float):
        if kind in kinds:
            with contextlib.suppress(ValueError):
                yield from (value for value in [kind(word)] if _is_a(value, kind))
    if str in kinds or enum_values(kinds) or _begins_mapping(word, kinds):
        yield word


def _begins_mapping(word: str, kinds: Sequence[Any]) -> bool:
    takes_mapping = any(kind is dict or get_origin(kind) is dict for kind in kinds)
    return takes_mapping and word.lstrip().startswith("{")


def _conversions(value: Any, kinds: Sequence[Any]) -> Iterator[Any]:
    """Yield the ways to read a YAML value as one of `kinds`, the most literal first."""
    if any(_is_a(value, kind) for kind in kinds):
        yield value
    # A truth value is a whole number for Python, and never meant as one here.
    if float in kinds and isinstance(value, int | str) and not isinstance(value, bool):
        with contextlib.suppress(ValueError, OverflowError):
            yield float(value)
    if items := item_kinds(kinds):
        listed = [_as_item(each) for each in (value if isinstance(value, list) else [value])]
        with contextlib.suppress(TypeError):
            yield _as_list([convert(each, items[0]) for each in listed], items)
    members = enum_values(kinds)
    # YAML reads a bare `no` as a truth value, but save_strategy has a choice of that name.
    if value is False and "no" in members:
        yield "no"
    if isinstance(value, str) and (value in members or _begins_mapping(value, kinds)):
        yield value


def _as_item(value: Any) -> Any:
    """Return an item of a list; a mapping of one name to a number is the text that YAML read."""
    if isinstance(value, dict) and len(value) == 1:
        ((name, number),) = value.items()
        if isinstance(name, str) and isinstance(number, int | float):
            return f"{name}: {number}"
    return value


def _as_list(items: list[Any], kinds: Sequence[Any]) -> Any:
    # transformers splits a text into members of an enum, but takes no list of their names.
    return " ".join(items) if enum_values(kinds) else items


def _is_a(value: Any, kind: Any) -> bool:
    origin = get_origin(kind)
    if kind is int:
        # Bounded, so that no later arithmetic or message grows without end.
        return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63
    if kind is float:
        return isinstance(value, float)
    if origin is Literal:
        return any(value is choice for choice in get_args(kind))
    if origin is list:
        item = get_args(kind)[0]
        return isinstance(value, list) and all(_is_a(each, item) for each in value)
    if origin is dict or kind is dict:
        return isinstance(value, dict)
    return isinstance(kind, type) and isinstance(value, kind)


def _describe(kinds: Sequence[Any]) -> str:
    names = {NoneType: "null", bool: "true or false", str: "text", dict: "a mapping"}
    described = []
    for kind in kinds:
        if get_origin(kind) is list:
            described.append(f"a list of {_describe(get_args(kind)[:1])}")
        elif get_origin(kind) is dict:
            described.append("a mapping")
        elif get_origin(kind) is Literal:
            described += [str(choice).lower() for choice in get_args(kind)]
        elif not (isinstance(kind, type) and issubclass(kind, Enum)):
            described.append(names.get(kind, kind.__name__))
    return " or ".join(dict.fromkeys(described))


def _shown(value: Any) -> str:
    if value is None:
        return "null"
    # In the words of YAML, which the user wrote, not in Python's.
    kind = {str: "text", dict: "mapping", list: "list"}.get(type(value), type(value).__name__)
    text = visible(repr(value) if isinstance(value, str) else str(value))
    return f"{kind} {shortened(text, 60)}"
