"""Equations and inequalities to forms: solved where there is one unknown, else relations."""

from serl_trl.answer_kinds import functions
from serl_trl.answer_kinds.algebra import Value, constant, number, same_value, symbol
from serl_trl.answer_kinds.forms import Form, Interval, Relation, Row, Scalar
from serl_trl.answer_kinds.polynomials import Unsettled

INFINITY = constant("\\infty")
ORDERS = {"<": ("<", 1), "\\le": ("\\le", 1), ">": ("<", -1), "\\ge": ("\\le", -1)}


def solved(name: str, side: Form) -> Form:
    """The value given to a name; a line in x and y is always solved for y."""
    if name == "x" and isinstance(side, Scalar) and side.value.symbols == {"y"}:
        return equation([symbol("x"), side.value])
    return side


def equation(sides: list[Value]) -> Form:
    """An equation solved where it is linear in its one unknown, or in y beside x."""
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
    if len(symbols) == 1 or symbols == {"x", "y"}:
        solution = _solve(difference, max(symbols))
        if solution is not None:
            return Scalar(solution)
    return Relation("=", functions.monic(difference))


def _solve(difference: Value, unknown: str) -> Value | None:
    """The root of an expression that is linear in `unknown`; `None` when it is not."""
    parts = functions.linear_parts(difference, unknown)
    return None if parts is None else -parts[0] / parts[1]


def inequality(sides: list[Value], operators: list[str]) -> Form:
    """An inequality in one unknown as an interval, otherwise as a relation with zero."""
    if operators == ["\\ne"]:
        return Relation("\\ne", functions.monic(sides[0] - sides[1]))
    if any(operator not in ORDERS for operator in operators):
        raise Unsettled("a relation that is not read here")
    if len(operators) == 1:
        return _half_line(sides[0] - sides[1], operators[0])
    signs = {ORDERS[operator][1] for operator in operators}
    middle = sides[1]
    if len(operators) != 2 or len(signs) > 1 or len(middle.symbols) != 1:
        raise Unsettled("a chain of inequalities")
    (unknown,) = middle.symbols
    parts = functions.linear_parts(middle, unknown)
    slope = parts[1].evaluate(1) if parts else None
    if parts is None or slope is None or slope.imag or not slope.real:
        raise Unsettled("an inequality that is not linear")
    ends: list[tuple[Form, bool]] = [
        (Scalar((side - parts[0]) / parts[1]), operator in ("\\le", "\\ge"))
        for side, operator in zip((sides[0], sides[2]), operators, strict=True)
    ]
    if (slope.real > 0) == (signs == {-1}):
        ends.reverse()
    return _interval(*ends)


def _half_line(difference: Value, operator: str) -> Form:
    order, sign = ORDERS[operator]
    difference = difference * number(sign)
    if len(difference.symbols) == 1:
        (unknown,) = difference.symbols
        parts = functions.linear_parts(difference, unknown)
        slope = parts[1].evaluate(1) if parts and not parts[1].symbols else None
        if parts is not None and slope is not None and not slope.imag and slope.real:
            end = (Scalar(-parts[0] / parts[1]), order == "\\le")
            if slope.real > 0:
                return _interval((Scalar(-INFINITY), False), end)
            return _interval(end, (Scalar(INFINITY), False))
    return Relation(order, functions.monic(difference, keep_sign=True))


def _interval(low: tuple[Form, bool], high: tuple[Form, bool]) -> Form:
    if low[1] or high[1]:
        return Interval(low[0], high[0], low[1], high[1])
    return Row((low[0], high[0]))
