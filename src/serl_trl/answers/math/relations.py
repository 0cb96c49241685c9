"""Equations and inequalities to forms: solved where there is one unknown, else relations."""

from serl_trl.answers.math import functions, ranges
from serl_trl.answers.math.algebra import Value, number, same_value, symbol
from serl_trl.answers.math.forms import Form, Interval, Relation, Row, Scalar
from serl_trl.answers.math.ranges import INFINITY
from serl_trl.answers.math.values import ONE, Unsettled

# Each order as "less than", and the sign that turns it so.
ORDERS = {"<": ("<", 1), "\\le": ("\\le", 1), ">": ("<", -1), "\\ge": ("\\le", -1)}


def solved(name: str, side: Form) -> Form:
    """The value given to a name; a line in x and y is always solved for y."""
    if name == "x" and isinstance(side, Scalar) and side.value.symbols == {"y"}:
        return equation([symbol("x"), side.value])
    return side


def equation(sides: list[Value]) -> Form:
    """An equation solved where it is linear in its one unknown, or in y beside x."""
    # 2 + 3 = 4 + 1 = 5: a computation that was written down; its value counts.
    if len(sides) > 2:
        if sides[0].symbols or any(same_value(sides[0], s) is False for s in sides):
            raise Unsettled("a chain of equations")
        return Scalar(sides[0])
    difference = sides[0] - sides[1]
    symbols = difference.symbols
    if not symbols:
        if difference.num:
            raise Unsettled("an equation between numbers")
        return Scalar(sides[0])
    # A line may be given as 2x + 3y = 6 or as y = 2 - 2x/3.
    if len(symbols) == 1 or symbols == {"x", "y"}:
        # Of x and y it is y.
        solution = _solve(difference, max(symbols))
        if solution is not None:
            return Scalar(solution)
    return Relation("=", functions.monic(difference))


def _solve(difference: Value, unknown: str) -> Value | None:
    """The root of an expression that is linear in `unknown`; `None` when it is not."""
    parts = functions.linear_parts(difference, unknown)
    return None if parts is None else -parts[0] / parts[1]


def inequality(sides: list[Value], operators: list[str]) -> Form:
    """An inequality in one unknown as the numbers that fulfil it, otherwise a relation with zero.

    A chain holds where each of its links does.
    """
    if any(operator not in ORDERS and operator != "\\ne" for operator in operators):
        raise Unsettled("a relation that is not read here")
    if len(operators) == 1:
        return _link(sides[0], operators[0], sides[1])
    unknowns = {unknown for side in sides for unknown in side.symbols}
    middle = sides[1]
    if len(operators) == 2 and len(middle.symbols) == 1 and len(unknowns) > 1:
        return _between(sides, operators)
    if len(unknowns) != 1:
        raise Unsettled("a chain of inequalities")
    spans = ranges.REALS
    for left, operator, right in zip(sides, operators, sides[1:], strict=False):
        spans = ranges.intersect(spans, ranges.spans_of(_link(left, operator, right)))
    return ranges.form_of(spans)


def _between(sides: list[Value], operators: list[str]) -> Form:
    """An unknown between two ends that have symbols of their own."""
    signs = {ORDERS[operator][1] for operator in operators if operator in ORDERS}
    (unknown,) = sides[1].symbols
    parts = functions.linear_parts(sides[1], unknown)
    slope = parts[1].evaluate(1) if parts else None
    if len(signs) != 1 or parts is None or slope is None or slope.imag or not slope.real:
        raise Unsettled("an inequality that is not linear")
    ends: list[tuple[Form, bool]] = [
        (Scalar((side - parts[0]) / parts[1]), operator in ("\\le", "\\ge"))
        for side, operator in zip((sides[0], sides[2]), operators, strict=True)
    ]
    if (slope.real > 0) == (signs == {-1}):
        ends.reverse()
    return _interval(*ends)


def _link(left: Value, operator: str, right: Value) -> Form:
    """One inequality between two sides."""
    if operator == "\\ne":
        difference = left - right
        if len(difference.symbols) == 1:
            root = _solve(difference, *difference.symbols)
            if root is not None:
                return ranges.all_but(root)
        return Relation("\\ne", functions.monic(difference))
    order, sign = ORDERS[operator]
    difference = (left - right) * number(sign)
    if len(difference.symbols) == 1:
        (unknown,) = difference.symbols
        parts = functions.linear_parts(difference, unknown)
        # Divided by a slope whose sign is known.
        slope = parts[1].evaluate(1) if parts and not parts[1].symbols else None
        if parts is not None and slope is not None and not slope.imag and slope.real:
            end = (Scalar(-parts[0] / parts[1]), order == "\\le")
            if slope.real > 0:
                return _interval((Scalar(-INFINITY), False), end)
            return _interval(end, (Scalar(INFINITY), False))
        if (within := _distance(difference, order)) is not None:
            return within
    return Relation(order, functions.monic(difference, keep_sign=True))


def _distance(difference: Value, order: str) -> Form | None:
    """The numbers for which a|u| + b is below zero; `None` for other expressions."""
    known = difference.num.get((), 0)
    calls = [(mono, factor) for mono, factor in difference.num.items() if mono]
    if difference.den != ONE or len(calls) != 1 or len(calls[0][0]) != 1:
        return None
    ((((atom, exponent),), factor),) = calls
    if atom.call != "abs" or exponent != 1:
        return None
    (inner,), radius = atom.args, number(-known / factor)
    # Divided by a negative factor the inequality turns round.
    turned = order if factor > 0 else {"<": ">", "\\le": "\\ge"}[order]
    parts = [ranges.spans_of(_link(side, turned, radius)) for side in (inner, -inner)]
    if factor > 0:
        return ranges.form_of(ranges.intersect(*parts))
    return ranges.form_of(ranges.unite([*parts[0], *parts[1]]))


def _interval(low: tuple[Form, bool], high: tuple[Form, bool]) -> Form:
    if low[1] or high[1]:
        return Interval(low[0], high[0], low[1], high[1])
    return Row((low[0], high[0]))
