"""JSON that somebody else may have written: parsed within limits, and held against a shape."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

# Far above what a run writes, and below what any later walk through a value can recurse.
MAX_DEPTH = 40

# What a value must be: a type, a tuple of shapes (any of them), `[shape]` for a list of such, or a
# mapping. A mapping names the keys that must be there; `ANY` as a key stands for all others, and
# `optional` wraps a shape that may be left out.
Shape = Any

ANY = "*"


class RecordError(ValueError):
    """What is wrong with a JSON text or value."""


def optional(shape: Shape) -> Shape:
    """Return the shape of a key that may be missing."""
    return _Optional(shape)


@dataclass(frozen=True)
class _Optional:
    shape: Shape


def parse_json(text: str | bytes) -> Any:
    """Return the value of a JSON text; numbers that JSON has not, such as NaN, fit no shape."""
    try:
        value = json.loads(text)
    except RecursionError as error:
        raise RecordError(f"it is nested more than {MAX_DEPTH} levels deep") from error
    except ValueError as error:
        raise RecordError(f"it is not JSON ({str(error)[:120]})") from error
    _check_depth(value)
    return value


def check_shape(value: Any, shape: Shape) -> Any:
    """Return `value` when it has `shape`; else raise `RecordError` with the place and the rule."""
    if problem := _misfit(value, shape, ""):
        raise RecordError(problem)
    return value


def fits(value: Any, shape: Shape) -> bool:
    """Return whether `value` has `shape`."""
    return not _misfit(value, shape, "")


def _misfit(value: Any, shape: Shape, place: str) -> str:
    """Return what in `value` does not have `shape`, or nothing."""
    if isinstance(shape, tuple):
        fitting = any(not _misfit(value, each, place) for each in shape)
        return "" if fitting else f"{place or 'it'} is not {_words(shape)}"
    if isinstance(shape, Mapping):
        return _misfit_of_keys(value, shape, place)
    if isinstance(shape, list):
        if not isinstance(value, list):
            return f"{place or 'it'} is not a list"
        found = (_misfit(each, shape[0], f"{place}[{n}]") for n, each in enumerate(value))
        return next((problem for problem in found if problem), "")
    return "" if _is(value, shape) else f"{place or 'it'} is not {_words(shape)}"


def _misfit_of_keys(value: Any, shape: Mapping[str, Shape], place: str) -> str:
    if not isinstance(value, dict):
        return f"{place or 'it'} is not a table of names and values"
    for name, wanted in shape.items():
        inner = wanted.shape if isinstance(wanted, _Optional) else wanted
        if name != ANY and name not in value:
            if isinstance(wanted, _Optional):
                continue
            return f"{_join(place, name)} is missing"
        # `ANY` is held against the keys that the shape does not name.
        for key in [key for key in value if key not in shape] if name == ANY else [name]:
            if problem := _misfit(value[key], inner, _join(place, key)):
                return problem
    return ""


def _is(value: Any, kind: Any) -> bool:
    if kind is Any:
        return True
    if kind in (int, float):
        # Bounds, so that no later arithmetic or message grows without end; NaN lies in none.
        types, bound = (int, 2**63) if kind is int else (int | float, 1e300)
        return isinstance(value, types) and not isinstance(value, bool) and abs(value) < bound
    return value is None if kind is None else isinstance(value, kind)


def _words(shape: Shape) -> str:
    if isinstance(shape, tuple):
        return " or ".join(_words(each) for each in shape)
    if isinstance(shape, list | Mapping):
        return "a list" if isinstance(shape, list) else "a table"
    return _NAMES.get(shape, "what it should be")


_NAMES = {
    str: "a text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    dict: "a table of names and values",
    list: "a list",
    None: "null",
}


def _join(place: str, name: str) -> str:
    # A stranger's key may be long, or change what a terminal shows.
    shown = "".join(c if c.isprintable() else "?" for c in str(name)[:60])
    return f"{place}.{shown}" if place else shown


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        level = [inner for each in level for inner in _inside(each)]
        if not level:
            return
    raise RecordError(f"it is nested more than {MAX_DEPTH} levels deep")


def _inside(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()
