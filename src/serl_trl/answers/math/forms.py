"""Shapes of mathematical answers, each with one canonical text, and how two of them compare."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

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
class Row:
    """An ordered tuple, a vector, a point; a pair is also an open interval."""

    items: tuple["Form", ...]

    @cached_property
    def text(self) -> str:
        """Canonical LaTeX."""
        return f"({_listed(self.items)})"


@dataclass(frozen=True)
class Collection:
    """A finite set; `collect` makes one without repeats."""

    items: tuple["Form", ...]

    @cached_property
    def text(self) -> str:
        """Canonical LaTeX."""
        return f"\\{{{_listed(self.items)}\\}}"


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
        return f"{left}{_listed((self.low, self.high))}{right}"


@dataclass(frozen=True)
class Union:
    """Several intervals; `unite` makes one."""

    items: tuple["Form", ...]

    @cached_property
    def text(self) -> str:
        """Canonical LaTeX."""
        return " \\cup ".join(item.text for item in self.items)


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
class Ratio:
    """Numbers in proportion; whole numbers without a common factor where that is possible."""

    items: tuple["Form", ...]

    @cached_property
    def text(self) -> str:
        """Canonical LaTeX."""
        return " : ".join(item.text for item in self.items)


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
    | Interval
    | Union
    | Matrix
    | Relation
    | Named
    | Ratio
    | Words
    | Formula
)


def collect(items: Sequence[Form]) -> Form:
    """Make a set; a set of one element is that element."""
    unique: list[Form] = []
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
        case Scalar() if form.unit == NO_UNIT and "infty" not in form.text:
            return replace(form, unit=unit)
        case Row(items) | Collection(items) | Ratio(items):
            return type(form)(tuple(with_unit(item, unit) for item in items))
        case Interval():
            return replace(form, low=with_unit(form.low, unit), high=with_unit(form.high, unit))
    return form


def without_measure(form: Form) -> Form:
    """A number without its unit; words that change its meaning stay."""
    if not isinstance(form, Scalar):
        return form
    return replace(form, unit=Unit(sense=form.unit.sense))


def details(form: Form) -> tuple[str, ...]:
    """What this answer says that another spelling of it may leave out: units and names."""
    match form:
        case Scalar():
            return (form.unit.text,) if form.unit.text else ()
        case Named(names, items):
            return (*names, *_details_of(items))
        case Row(items) | Collection(items) | Ratio(items) | Union(items):
            return _details_of(items)
        case Interval():
            return _details_of((form.low, form.high))
        case Matrix(rows):
            return _details_of([item for row in rows for item in row])
    return ()


def _details_of(items: Sequence[Form]) -> tuple[str, ...]:
    return tuple(detail for item in items for detail in details(item))


def compare(left: Form, right: Form) -> bool | None:
    """Compare two answers; symmetric; `None` when only math-verify can tell.

    What one of them leaves out (`details`) does not count, so this alone is no equivalence.
    """
    if left.text == right.text:
        return True
    if isinstance(left, Scalar) and isinstance(right, Scalar):
        return _same_scalar(left, right)
    if isinstance(left, Words) or isinstance(right, Words):
        return False
    if isinstance(left, Formula) or isinstance(right, Formula):
        return (
            None if all(isinstance(f, Formula | Scalar | Matrix) for f in (left, right)) else False
        )
    if isinstance(left, Named) and not isinstance(right, Named):
        return _leaves_names_out(left, right)
    if isinstance(right, Named) and not isinstance(left, Named):
        return _leaves_names_out(right, left)
    if type(left) is not type(right):
        return False
    return _same_shape(left, right)


def _same_scalar(left: Scalar, right: Scalar) -> bool | None:
    a, b = left.value, right.value
    if left.unit is not right.unit and not left.unit.fits(right.unit):
        return False
    return a.text == b.text if a.unique and b.unique else same_value(a, b)


def _same_shape(left: Form, right: Form) -> bool | None:
    match left, right:
        case (Row(a), Row(b)) | (Ratio(a), Ratio(b)):
            return _all_equal(a, b)
        case (Collection(a), Collection(b)) | (Union(a), Union(b)):
            return _match(a, b)
        case Named(), Named():
            return _all_equal(left.items, right.items) if left.names == right.names else False
        case Interval(), Interval():
            if (left.closed_low, left.closed_high) != (right.closed_low, right.closed_high):
                return False
            return _all_equal((left.low, left.high), (right.low, right.high))
        case Matrix(a), Matrix(b):
            if [len(row) for row in a] != [len(row) for row in b]:
                return False
            return _all_equal([item for row in a for item in row], [i for row in b for i in row])
        case Relation(op_a, a), Relation(op_b, b):
            return same_value(a, b) if op_a == op_b else False
    raise AssertionError(f"no rule for {left} and {right}")


def _leaves_names_out(named: Named, bare: Form) -> bool | None:
    """Whether bare values are those of the names: in the order of the names, or as a set."""
    match bare:
        case Row(items):
            return _all_equal(named.items, items)
        case Collection(items):
            return _match(named.items, items)
    return compare(named.items[0], bare) if len(named.items) == 1 else False


def _all_equal(left: Sequence[Form], right: Sequence[Form]) -> bool | None:
    if len(left) != len(right):
        return False
    return _conjunction([compare(a, b) for a, b in zip(left, right, strict=True)])


def _match(left: Sequence[Form], right: Sequence[Form]) -> bool | None:
    """Compare as sets: every element needs a partner on the other side."""
    table = [[compare(a, b) for b in right] for a in left]
    columns = [list(column) for column in zip(*table, strict=True)] or [[] for _ in right]
    return _conjunction([_disjunction(line) for line in table + columns])


def _conjunction(verdicts: Sequence[bool | None]) -> bool | None:
    if False in verdicts:
        return False
    return None if None in verdicts else True


def _disjunction(verdicts: Sequence[bool | None]) -> bool | None:
    if True in verdicts:
        return True
    return None if None in verdicts else False


def _listed(items: Sequence[Form]) -> str:
    return ", ".join(item.text for item in items)
