"""Sets of real numbers as spans: what several inequalities, unions and gaps come to."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from serl_trl.answers.math.algebra import Value, constant
from serl_trl.answers.math.forms import Collection, Form, Interval, Row, Scalar, Union, collect
from serl_trl.answers.math.forms import unite as unite_forms
from serl_trl.answers.math.values import Unsettled

INFINITY = constant("\\infty")
MINUS_INFINITY = -INFINITY


@dataclass(frozen=True)
class Span:
    """All numbers between two ends; with both ends closed and the same, one point."""

    low: Value
    high: Value
    closed_low: bool
    closed_high: bool

    @property
    def start(self) -> tuple[float, bool]:
        """Sorts spans by where they begin."""
        return _place(self.low), not self.closed_low

    @property
    def end(self) -> tuple[float, bool]:
        """Sorts spans by where they end."""
        return _place(self.high), self.closed_high

    @property
    def empty(self) -> bool:
        """Whether no number lies in it."""
        low, high = _place(self.low), _place(self.high)
        return low > high or (low == high and not (self.closed_low and self.closed_high))


REALS = (Span(MINUS_INFINITY, INFINITY, False, False),)


def spans_of(form: Form) -> tuple[Span, ...]:
    """Read an interval, a union or a set of points; raises `Unsettled` for other forms."""
    match form:
        case Row((Scalar(low), Scalar(high))):
            return (Span(low, high, False, False),)
        case Interval(Scalar(low), Scalar(high)):
            return (Span(low, high, form.closed_low, form.closed_high),)
        case Scalar(point):  # a set of one number is that number
            return (Span(point, point, True, True),)
        case Union(items):
            return tuple(span for item in items for span in spans_of(item))
        case Collection(items) if all(isinstance(item, Scalar) for item in items):
            return tuple(Span(i.value, i.value, True, True) for i in items if isinstance(i, Scalar))
    raise Unsettled("not a set of numbers")


def form_of(spans: Sequence[Span]) -> Form:
    """The shortest way to write a set of numbers."""
    # An end may be written in two ways; only its place on the line tells a point from a span.
    points = [Scalar(s.low) for s in spans if _place(s.low) == _place(s.high)]
    parts = [_interval(span) for span in spans if _place(span.low) != _place(span.high)]
    if not parts:
        return Collection(tuple(points)) if len(points) < 2 else collect(points)
    if points:
        parts.append(Collection(tuple(sorted(points, key=lambda point: point.text))))
    return parts[0] if len(parts) == 1 else Union(tuple(sorted(parts, key=lambda p: p.text)))


def unite(spans: Sequence[Span]) -> tuple[Span, ...]:
    """Join what overlaps or touches."""
    joined: list[Span] = []
    # From left to right, so that each span can only touch the last one.
    for span in sorted((s for s in spans if not s.empty), key=lambda s: s.start):
        last = joined[-1] if joined else None
        if last is None or not _touch(last, span):
            joined.append(span)
        elif span.end > last.end:
            joined[-1] = Span(last.low, span.high, last.closed_low, span.closed_high)
    return tuple(joined)


def intersect(left: Sequence[Span], right: Sequence[Span]) -> tuple[Span, ...]:
    """What lies in both."""
    found = []
    for a in left:
        for b in right:
            # The later beginning and the earlier end, each with its own bracket.
            low, high = max(a, b, key=lambda s: s.start), min(a, b, key=lambda s: s.end)
            found.append(Span(low.low, high.high, low.closed_low, high.closed_high))
    return unite(found)


def complement(spans: Sequence[Span]) -> tuple[Span, ...]:
    """Every real number that lies in none of them."""
    # By De Morgan: outside of all is outside of each.
    rest: tuple[Span, ...] = REALS
    for span in spans:
        below = Span(MINUS_INFINITY, span.low, False, not span.closed_low)
        above = Span(span.high, INFINITY, not span.closed_high, False)
        rest = intersect(rest, [side for side in (below, above) if not side.empty])
    return rest


def _touch(first: Span, second: Span) -> bool:
    """Whether nothing lies between two spans, the first of which begins first."""
    end, start = _place(first.high), _place(second.low)
    return start < end or (start == end and (first.closed_high or second.closed_low))


def _interval(span: Span) -> Form:
    low, high = Scalar(span.low), Scalar(span.high)
    if span.closed_low or span.closed_high:
        return Interval(low, high, span.closed_low, span.closed_high)
    return Row((low, high))


def _place(value: Value) -> float:
    """Where an end lies on the line; raises `Unsettled` for ends that are not real numbers."""
    if value.text in (INFINITY.text, MINUS_INFINITY.text):
        return math.inf if value.text == INFINITY.text else -math.inf
    place = None if value.symbols else value.evaluate(1)
    # Rounding may leave a trace of an imaginary part.
    if place is None or abs(place.imag) > 1e-9:
        raise Unsettled("an end that is not a real number")
    return place.real


def combine(left: Form, sign: str, right: Form) -> Form:
    """A union, an intersection, or the first set without the second."""
    joins = sign in ("\\cup", "U", "u")
    if joins and isinstance(left, Collection) and isinstance(right, Collection):
        return collect([*left.items, *right.items])
    try:
        first, second = spans_of(left), spans_of(right)
        if joins:
            return form_of(unite([*first, *second]))
        return form_of(intersect(first, second if sign == "\\cap" else complement(second)))
    except Unsettled:
        if joins and all(isinstance(form, Row | Interval | Union) for form in (left, right)):
            return unite_forms([left, right])  # with ends that have symbols
        raise


def all_but(value: Value) -> Form:
    """Every real number but one."""
    return form_of(complement([Span(value, value, True, True)]))
