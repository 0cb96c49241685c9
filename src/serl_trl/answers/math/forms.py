"""Shapes of mathematical answers, each with one canonical text, and how two of them compare."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar

from serl_trl.answers.math.algebra import Value, same_value
from serl_trl.answers.math.measures import NO_UNIT, Unit


@dataclass(frozen=True)
class Scalar:
    """A number or an expression; an equation solved for its unknown is one, too."""

    value: Value
    unit: Unit = NO_UNIT

    @cached_property
    def text(self) -> str:
        """Canonical LaTeX."""
        unit = self.unit.text
        return f"{self.value.text} \\text{{ {unit}}}" if unit else self.value.text


@dataclass(frozen=True)
class _Several:
    """Items between two signs and with a third between them."""

    items: tuple["Form", ...]
    signs: ClassVar[tuple[str, str, str]]

    @cached_property
    def text(self) -> str:
        """Canonical LaTeX."""
        before, between, after = self.signs
        return before + between.join(item.text for item in self.items) + after


class Row(_Several):
    """An ordered tuple, a vector, a point; a pair is also an open interval."""

    signs = ("(", ", ", ")")


class Collection(_Several):
    """A finite set; `collect` makes one without repeats."""

    signs = ("\\{", ", ", "\\}")


class Union(_Several):
    """Several intervals; `unite` makes one."""

    signs = ("", " \\cup ", "")


class Ratio(_Several):
    """Numbers in proportion; whole numbers without a common factor where that is possible."""

    signs = ("", " : ", "")


@dataclass(frozen=True)
class Interval:
    """An interval closed on at least one side; an open one is a `Row`."""

    low: "Form"
    high: "Form"
    closed_low: bool
    closed_high: bool

    @cached_property
    def text(self) -> str:
        """Canonical LaTeX."""
        left, right = "[" if self.closed_low else "(", "]" if self.closed_high else ")"
        return f"{left}{self.low.text}, {self.high.text}{right}"


@dataclass(frozen=True)
class Matrix:
    """A matrix; round and square brackets mean the same."""

    rows: tuple[tuple["Form", ...], ...]

    @cached_property
    def text(self) -> str:
        """Canonical LaTeX."""
        rows = " \\\\ ".join(" & ".join(item.text for item in row) for row in self.rows)
        return f"\\begin{{pmatrix}} {rows} \\end{{pmatrix}}"


@dataclass(frozen=True)
class Relation:
    """An expression compared with zero; `op` is `=`, `<`, `\\le` or `\\ne`."""

    op: str
    value: Value

    @cached_property
    def text(self) -> str:
        """Canonical LaTeX."""
        return f"{self.value.text} {self.op} 0"


@dataclass(frozen=True)
class Named:
    """Values of several names, or quantities of several things, in the order of the names."""

    names: tuple[str, ...]
    items: tuple["Form", ...]

    @cached_property
    def text(self) -> str:
        """Canonical LaTeX."""
        pairs = zip(self.names, self.items, strict=True)
        return ", ".join(f"{name} = {item.text}" for name, item in pairs)


@dataclass(frozen=True)
class Words:
    """What no grammar of values covers: equal only when the text is the same."""

    words: str

    @property
    def text(self) -> str:
        """Canonical LaTeX."""
        return f"\\text{{{self.words}}}"


@dataclass(frozen=True)
class Formula:
    """An expression that this package does not read; math-verify may."""

    text: str


Form = (
    Scalar
    | Row
    | Collection
    | Union
    | Ratio
    | Interval
    | Matrix
    | Relation
    | Named
    | Words
    | Formula
)


def collect(items: Sequence[Form]) -> Form:
    """Make a set; a set of one element is that element."""
    unique: list[Form] = []
    # Sorted first, so that of equal elements the same one stays, in whatever order they were
    # written.
    for item in sorted(items, key=lambda item: item.text):
        if not any(compare(item, other) for other in unique):
            unique.append(item)
    return unique[0] if len(unique) == 1 else Collection(tuple(unique))


def unite(items: Sequence[Form]) -> Form:
    """Make a union of intervals, in a fixed order."""
    parts = [part for item in items for part in (item.items if isinstance(item, Union) else [item])]
    unique = {part.text: part for part in parts}
    ordered = tuple(unique[text] for text in sorted(unique))
    return ordered[0] if len(ordered) == 1 else Union(ordered)


def name_values(pairs: Sequence[tuple[str, Form]]) -> Named:
    """Make named values, in a fixed order."""
    ordered = sorted(pairs, key=lambda pair: pair[0])
    return Named(tuple(name for name, _ in ordered), tuple(form for _, form in ordered))


def with_unit(form: Form, unit: Unit) -> Form:
    """Give every number of a form a unit, unless it has one."""
    match form:
        # An infinite end of an interval has no unit.
        case Scalar() if form.unit == NO_UNIT and "infty" not in form.text:
            return replace(form, unit=unit)
        # "(3, 4) cm" gives each coordinate the unit.
        case Row(items) | Collection(items) | Ratio(items):
            return type(form)(tuple(with_unit(item, unit) for item in items))
        case Interval():
            return replace(form, low=with_unit(form.low, unit), high=with_unit(form.high, unit))
    return form


def without_measure(form: Form) -> Form:
    """A number without its unit; words that change its meaning stay."""
    return replace(form, unit=Unit(sense=form.unit.sense)) if isinstance(form, Scalar) else form


def details(form: Form) -> tuple[str, ...]:
    """What this answer says that another spelling of it may leave out: units and names."""
    if isinstance(form, Scalar):
        return (form.unit.text,) if form.unit.text else ()
    names = form.names if isinstance(form, Named) else ()
    return (*names, *(detail for item in _parts(form) for detail in details(item)))


def _parts(form: Form) -> Sequence[Form]:
    match form:
        case _Several() | Named():
            return form.items
        case Interval():
            return form.low, form.high
        case Matrix():
            return [item for row in form.rows for item in row]
    return ()


def compare(left: Form, right: Form) -> bool | None:
    """Compare two answers; symmetric; `None` when only math-verify can tell.

    What one of them leaves out (`details`) does not count, so this alone is not an equivalence.
    """
    if left.text == right.text:
        return True
    if isinstance(left, Scalar) and isinstance(right, Scalar):
        return _same_scalar(left, right)
    if isinstance(left, Words) or isinstance(right, Words):
        return False
    if isinstance(left, Formula) or isinstance(right, Formula):
        # math-verify would read some part of the words, and compare that.
        readable = all(isinstance(form, Formula | Scalar | Matrix) for form in (left, right))
        return None if readable else False
    # Both ways, because the comparison is symmetric.
    if isinstance(left, Named) and not isinstance(right, Named):
        return _leaves_names_out(left, right)
    if isinstance(right, Named) and not isinstance(left, Named):
        return _leaves_names_out(right, left)
    return _same_shape(left, right) if _frame(left) == _frame(right) else False


def _same_scalar(left: Scalar, right: Scalar) -> bool | None:
    a, b = left.value, right.value
    if left.unit is not right.unit and not left.unit.fits(right.unit):
        return False
    return a.text == b.text if a.unique and b.unique else same_value(a, b)


def _frame(form: Form) -> tuple[object, ...]:
    """What equal answers share beside their parts."""
    match form:
        case Interval():
            return Interval, form.closed_low, form.closed_high
        case Matrix():
            return (Matrix, *map(len, form.rows))
        case Named():
            return Named, form.names
        case Relation():
            return Relation, form.op
    return (type(form),)


def _same_shape(left: Form, right: Form) -> bool | None:
    if isinstance(left, Relation) and isinstance(right, Relation):
        return same_value(left.value, right.value)
    if isinstance(left, Collection | Union):
        return _match(_parts(left), _parts(right))
    return _all_equal(_parts(left), _parts(right))


def _leaves_names_out(named: Named, bare: Form) -> bool | None:
    """Whether bare values are those of the names: in the order of the names, or as a set."""
    if isinstance(bare, Row | Collection):
        same = _all_equal if isinstance(bare, Row) else _match
        return same(named.items, bare.items)
    return compare(named.items[0], bare) if len(named.items) == 1 else False


def _all_equal(left: Sequence[Form], right: Sequence[Form]) -> bool | None:
    if len(left) != len(right):
        return False
    return _all([compare(a, b) for a, b in zip(left, right, strict=True)])


def _match(left: Sequence[Form], right: Sequence[Form]) -> bool | None:
    """Compare as sets: every element needs a partner on the other side."""
    table = [[compare(a, b) for b in right] for a in left]
    columns = [list(column) for column in zip(*table, strict=True)] or [[] for _ in right]
    return _all([_any(line) for line in table + columns])


# Logic with three values: `None` means that only math-verify can tell.


def _all(verdicts: Sequence[bool | None]) -> bool | None:
    if False in verdicts:
        return False
    return None if None in verdicts else True


def _any(verdicts: Sequence[bool | None]) -> bool | None:
    if True in verdicts:
        return True
    return None if None in verdicts else False
