"""Items of an answer: values, assignments, equations, inequalities, and what several come to."""

from collections.abc import Sequence
from dataclasses import dataclass

from serl_trl.answers.math import algebra, ranges
from serl_trl.answers.math.forms import (
    Form,
    Named,
    Row,
    Scalar,
    Words,
    collect,
    name_values,
)
from serl_trl.answers.math.relations import equation
from serl_trl.answers.math.values import Unsettled

_JOINTS = {"\\land": "and", "\\lor": "or"}


@dataclass(frozen=True)
class Item:
    """One item of an answer; `sort` is `value`, `named`, `equation` or `inequality`."""

    form: Form
    sort: str = "value"
    name: str = ""
    symbols: frozenset[str] = frozenset()


def join_items(items: list[Item], separators: list[str]) -> Form:
    """What the items of an answer come to, with these separators between them."""
    if len(items) == 1:
        return _alone(items[0])
    joints = {_JOINTS.get(separator, separator) for separator in separators}
    sorts = {item.sort for item in items}
    symbols = frozenset[str]().union(*(item.symbols for item in items))
    # A logical sign between values: the answer is a formula of logic.
    if "value" in sorts and _JOINTS.keys() & set(separators):
        raise Unsettled("logic, no list")
    # One unknown: the answer is the set of its values.
    if sorts == {"inequality"} and len(symbols) == 1:
        return _join_inequalities([item.form for item in items], joints)
    # Several unknowns: the relations hold together, and in any order.
    if "or" not in joints and sorts - {"value", "named"} and len(symbols) > 1:
        if "value" in sorts:
            raise Unsettled("relations beside values")
        return hold_at_once(items)
    if "inequality" in sorts:
        raise Unsettled("inequalities that are not alternatives")
    return _list_values(items)


def hold_at_once(items: list[Item]) -> Form:
    """Relations that hold together: named values where each gives a name its value."""
    pairs = []
    for item in items:
        name = item.name
        if item.sort == "equation" and len(item.symbols) == 1 and isinstance(item.form, Scalar):
            (name,) = item.symbols
        if not name or (isinstance(item.form, Scalar) and item.form.value.symbols):
            break
        pairs.append((name, item.form))
    if len(pairs) == len(items) and len({name for name, _ in pairs}) == len(pairs):
        return name_values(pairs)
    return Words("all " + " ; ".join(sorted(_spelled(item) for item in items)))


def _spelled(item: Item) -> str:
    form, symbols = item.form, set(item.symbols)
    if item.name and isinstance(form, Scalar):
        symbols |= {item.name, *form.value.symbols}
        form = equation([algebra.symbol(item.name), form.value])
    return " ".join([*sorted(symbols), form.text])


def _alone(item: Item) -> Form:
    """The only item of an answer; a name counts where it says which value is which."""
    form, name = item.form, item.name
    if name.startswith("(") and isinstance(form, Row):
        names = name[1:-1].split(",")
        if len(names) == len(form.items) and len(set(names)) == len(names):
            return name_values(list(zip(names, form.items, strict=True)))
    return Named((name,), (form,)) if ":" in name else form


def _join_inequalities(forms: Sequence[Form], joints: set[str]) -> Form:
    """Several inequalities in one unknown; those listed hold at once, if they can."""
    if joints >= {"and", "or"}:
        raise Unsettled("and beside or")
    sets = [ranges.spans_of(form) for form in forms]
    every = ranges.unite([span for spans in sets for span in spans])
    if "or" in joints:
        return ranges.form_of(every)
    shared = ranges.REALS
    for spans in sets:
        shared = ranges.intersect(shared, spans)
    return ranges.form_of(shared or (() if "and" in joints else every))


def _list_values(items: Sequence[Item]) -> Form:
    """Values in a list: named, of several things, or a set."""
    forms = [item.form for item in items]
    # x_1 = 2, x_2 = 3 are two values of x.
    names = [item.name.partition("_")[0] for item in items]
    if "" not in names and len(set(names)) == len(names):
        return name_values([(item.name, item.form) for item in items])
    if len(set(names) - {""}) > 1 or (not names[0] and set(names) != {""}):
        raise Unsettled("values of several unknowns")
    # 3 hours, 20 minutes: the quantities are told apart by what they are of.
    things = [form.unit.name if isinstance(form, Scalar) else "" for form in forms]
    if len(set(things) - {""}) > 1:
        if "" in things or len(set(things)) < len(things):
            raise Unsettled("quantities of which some are alike")
        return name_values(list(zip(things, forms, strict=True)))
    return collect(forms)
