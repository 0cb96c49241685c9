"""Tokens of a mathematical answer to its form: a recursive descent over what answers look like."""

import re
from collections.abc import Callable
from fractions import Fraction

from serl_trl.answer_kinds import algebra, functions, latex
from serl_trl.answer_kinds.algebra import Value, number
from serl_trl.answer_kinds.forms import (
    Collection,
    Form,
    Interval,
    Matrix,
    Row,
    Scalar,
    Union,
    Words,
    collect,
    unite,
)
from serl_trl.answer_kinds.latex import END, Token
from serl_trl.answer_kinds.polynomials import Unsettled
from serl_trl.answer_kinds.relations import INFINITY, ORDERS, equation, inequality, solved
from serl_trl.answer_kinds.vocabulary import (
    ACCENTS,
    FONTS,
    GREEK,
    MULTIPLIERS,
    NO_UNITS,
    TRIGONOMETRIC,
)
from serl_trl.answer_kinds.wordings import keep_unread, read_words

MAX_CHARS = 600
_MAX_DEPTH = 24
_REALS = Row((Scalar(-INFINITY), Scalar(INFINITY)))

_RELATIONS = {*ORDERS, "=", "\\ne", "\\approx", "\\equiv", "\\to"}
_AFTER_UNIT = {"", ",", ";", ")", "]", "}", "\\}", "and", "or", "\\\\", "&"}
_INVERSES = {"\\sin": "\\arcsin", "\\cos": "\\arccos", "\\tan": "\\arctan"}
_EXACT: dict[str, Callable[[Value], Value]] = {
    "\\sin": functions.sine,
    "\\cos": functions.cosine,
    "\\tan": functions.tangent,
    "\\cot": lambda value: functions.cosine(value) / functions.sine(value),
    "\\sec": lambda value: number(1) / functions.cosine(value),
    "\\csc": lambda value: number(1) / functions.sine(value),
    "\\arcsin": lambda value: functions.inverse("\\arcsin", value),
    "\\arccos": lambda value: functions.inverse("\\arccos", value),
    "\\arctan": lambda value: functions.inverse("\\arctan", value),
    "\\exp": lambda value: functions.power(algebra.EULER, value),
    "\\ln": functions.logarithm,
    "\\log": functions.logarithm,
    "\\lg": lambda value: functions.logarithm(value, number(10)),
}
_FUNCTIONS = TRIGONOMETRIC | _EXACT.keys() | {"\\sinh", "\\cosh", "\\tanh"}
_MATRICES = {f"{kind}matrix" for kind in ("", "p", "b", "B", "small")} | {"array"}


def parse(answer: str) -> Form:
    """Read an answer; never raises: what is not understood stays words or a formula."""
    if len(answer) > MAX_CHARS:
        return Words(" ".join(answer.split()))
    text = latex.clean(answer)
    special = read_words(text)
    if special is not None:
        return special
    tokens = latex.tokens(text)
    try:
        if any(token.text in ("\\pm", "\\mp") for token in tokens):
            return _either(_Parser(tokens, sign=1).parse(), _Parser(tokens, sign=-1).parse())
        return _Parser(tokens, sign=1).parse()
    # The other errors would be bugs; one on some odd text may cost an answer, but not the run.
    except (Unsettled, ArithmeticError, LookupError, RecursionError):
        return keep_unread(text, tokens)


def _either(plus: Form, minus: Form) -> Form:
    """Both readings of a plus-minus sign, as one set."""
    parts: list[Form] = []
    for form in (plus, minus):
        parts += form.items if isinstance(form, Collection) else [form]
    if not all(isinstance(part, Scalar | Row) for part in parts):
        raise Unsettled("a plus-minus sign outside numbers and tuples")
    return collect(parts)


class _Parser:
    """Reads one list of tokens; `sign` says which reading of a plus-minus sign this is."""

    def __init__(self, tokens: list[Token], *, sign: int) -> None:
        self.tokens = list(tokens)
        self.sign = sign
        self.position = 0
        self.depth = 0
        self.open_bars = 0
        self.in_angle = False
        self.separators: list[str] = []

    # The answer as a whole

    def parse(self) -> Form:
        """Read everything; raises `Unsettled`."""
        named, inequalities = self.items()
        self.expect("")
        forms = [form for _, form in named]
        if len(forms) == 1:
            return forms[0]
        if inequalities:
            if inequalities < len(forms) or set(self.separators) != {"or"}:
                raise Unsettled("inequalities that are not alternatives")
            return unite(forms)
        # x_1 = 2, x_2 = 3 are two values of x.
        names = [name and name.partition("_")[0] for name, _ in named]
        if None not in names and len(set(names)) == len(names):
            return Row(tuple(form for _, form in sorted(named, key=lambda pair: pair[0] or "")))
        if len(set(names) - {None}) > 1 or (None in names[:1] and set(names) != {None}):
            raise Unsettled("values of several unknowns")
        return collect(forms)

    def items(self) -> tuple[list[tuple[str | None, Form]], int]:
        """Items up to a closing token, and how many of them are inequalities."""
        named: list[tuple[str | None, Form]] = []
        inequalities = 0
        while True:
            name, form, is_inequality = self.item()
            named.append((name, form))
            inequalities += is_inequality
            separator = ""
            while self.peek().text in (",", ";", "and", "or", "\\\\"):
                separator = self.next().text
            if not separator:
                return named, inequalities
            self.separators.append(separator)

    def item(self) -> tuple[str | None, Form, bool]:
        """An expression, an assignment to a name, an equation or an inequality."""
        name = self.name()
        sides, operators = [self.expression()], []
        while self.peek().text in _RELATIONS or self.peek().text == "\\in":
            operators.append(self.next().text)
            sides.append(self.expression())
        if name is not None:
            if set(operators) - {"=", "\\approx"}:
                raise Unsettled("a name in an inequality")
            if not any(name in side.value.symbols for side in sides if isinstance(side, Scalar)):
                value = sides[0] if operators[-1:] == ["\\approx"] else sides[-1]
                return name, solved(name, value), False
            sides, operators = [Scalar(algebra.symbol(name)), *sides], ["=", *operators]
        if not operators:
            return None, sides[0], False
        if operators in (["\\in"], ["\\to"]) or operators[0] == "\\approx":
            lone = isinstance(sides[0], Scalar) and len(sides[0].value.symbols) == 1
            return None, sides[1] if lone or operators[0] != "\\approx" else sides[0], False
        values = [side.value for side in sides if isinstance(side, Scalar)]
        if len(values) < len(sides):
            raise Unsettled("a relation between sets")
        if set(operators) <= {"=", "\\approx"}:
            return None, equation(values), False
        return None, inequality(values, operators), True

    def name(self) -> str | None:
        """Skip the left side of an assignment such as `x =`, `f(x) =`, `AB =`, and return it."""
        if self.peek().text == "\\approx":
            self.next()
        end, depth = self.position, 0
        while depth or self.tokens[end].text not in ("=", "\\approx", ",", ";", "or", "and"):
            depth += {"(": 1, ")": -1}.get(self.tokens[end].text, 0)
            if self.tokens[end].type == "end":
                return None
            end += 1
        if self.tokens[end].text not in ("=", "\\approx") or end == self.position:
            return None
        left = self.tokens[self.position : end]
        texts = [token.text for token in left]
        is_name = (
            (len(left) == 1 and (left[0].type in ("symbol", "word") or texts[0] in GREEK))
            or (len(left) > 1 and all(t.type == "word" for t in left))
            or (len(left) > 1 and all(t.type == "symbol" and t.text.isupper() for t in left))
            or texts[0] in ("\\angle", "\\triangle", "\\overline")
            or (len(texts) == 4 and texts[0] in FONTS | ACCENTS)
            or (len(texts) > 2 and texts[1] == "_" and _is_subscript(texts[2:]))
            or (
                len(texts) > 3 and texts[0] in "fghFGHpqPQ" and texts[1] == "(" and texts[-1] == ")"
            )
            or (len(texts) > 3 and texts[:2] == ["m", "\\angle"])
            or "".join(texts).startswith(("f^{-1}(", "g^{-1}(", "h^{-1}(", "f'(", "f''("))
            or (len(texts) > 4 and texts[0] == "(" and texts[2] == "," and texts[-1] == ")")
        )
        if not is_name or texts in (["e"], ["i"]):
            return None
        self.position = end + 1
        if len(texts) > 2 and texts[1] == "_":
            return f"{texts[0]}_{{{''.join(texts[2:]).strip('{}')}}}"
        return "".join(texts)

    # Expressions

    def expression(self) -> Form:
        """Terms joined by plus and minus, or intervals joined by unions."""
        sign = self.signs()
        left = self.term()
        if not isinstance(left, Scalar):
            if sign != 1:
                raise Unsettled("a sign before a set")
            return self.unions(left)
        total = left.value * number(sign)
        while self.peek().text in ("+", "-", "\\pm", "\\mp"):
            sign = self.signs()
            total = total + _value(self.term()) * number(sign)
        return Scalar(total)

    def unions(self, left: Form) -> Form:
        parts = [left]
        while self.peek().text in ("\\cup", "U", "u"):
            self.next()
            parts.append(self.term())
        if len(parts) > 1 and not all(isinstance(p, Row | Interval | Union) for p in parts):
            raise Unsettled("a union of other things than intervals")
        return parts[0] if len(parts) == 1 else unite(parts)

    def signs(self) -> int:
        sign = 1
        while self.peek().text in ("+", "-", "\\pm", "\\mp"):
            sign *= {"+": 1, "-": -1, "\\pm": self.sign, "\\mp": -self.sign}[self.next().text]
        return sign

    def term(self) -> Form:
        """Factors, written with or without an operator between them, and a unit at the end."""
        left = self.factor()
        while True:
            token = self.peek()
            if token.text in ("*", "/") and self.peek(1).type != "word":
                operator = self.next().text
                sign = self.signs()
                right = _value(self.factor()) * number(sign)
                left = _value(left)
                left = Scalar(left * right if operator == "*" else left / right)
            elif token.text in ("and", "or"):
                return left
            elif token.type == "word" or self.at_unit_fraction() or self.at_bracketed_unit():
                return Scalar(_value(left) * number(self.unit()))
            elif self.starts_factor(token):
                if token.type == "number" and self.tokens[self.position - 1].type == "number":
                    raise Unsettled("two numbers side by side")
                left = _product(_value(left), self.factor())
            else:
                return left

    def starts_factor(self, token: Token) -> bool:
        if token.text == "|":
            return not self.open_bars
        if token.type in ("number", "repeating", "symbol"):
            return not (token.text in "Uu" and self.tokens[self.position - 1].text in (")", "]"))
        if token.type == "sign":
            return token.text in ("(", "[", "{")
        return token.type == "command" and (
            token.text in _FUNCTIONS
            or token.text in GREEK
            or token.text in FONTS
            or token.text in ACCENTS
            or token.text in ("\\frac", "\\sqrt", "\\pi", "\\binom", "\\infty", "\\lfloor")
            or token.text == "\\lceil"
            or token.text.startswith("\\begin{")
        )

    def factor(self) -> Form:
        """A primary with what may follow it: factorial, percent, degrees, a power."""
        base = self.primary()
        while True:
            text = self.peek().text
            if text == "!":
                self.next()
                if self.peek().text == "!":
                    raise Unsettled("a double factorial")
                base = Scalar(functions.factorial(_value(base)))
            elif text == "%":
                self.next()
                base = Scalar(_value(base) / number(100))
            elif text == "^" and self.skip_degree():
                base = self.degrees(base)
            elif text == "\\circ":
                self.next()
                base = self.degrees(base)
            elif text == "^":
                self.next()
                exponent = self.exponent()
                if self.peek().text == "^":
                    self.next()
                    exponent = functions.power(exponent, self.exponent())
                base = Scalar(functions.power(_value(base), exponent))
            else:
                return base

    def skip_degree(self) -> bool:
        for form in (["^", "\\circ"], ["^", "{", "\\circ", "}"], ["^", "o"], ["^", "{", "o", "}"]):
            found = self.tokens[self.position : self.position + len(form)]
            if [token.text for token in found] == form:
                self.position += len(form)
                return True
        return False

    def degrees(self, base: Form) -> Form:
        if self.in_angle:
            return Scalar(_value(base) * algebra.PI / number(180))
        if self.peek().text in ("C", "F"):
            self.next()
        return base

    def exponent(self) -> Value:
        sign = self.signs()
        if self.peek().text in ("{", "("):
            return _value(self.primary()) * number(sign)
        if self.peek().type == "word":
            raise Unsettled("a word in an exponent")
        return _value(self.primary(lone=True)) * number(sign)

    def primary(self, *, lone: bool = False) -> Form:
        """The smallest expression; `lone` reads one token only, as LaTeX does after `\\frac`."""
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise Unsettled("nested too deeply")
        form = self.open_primary(lone)
        self.depth -= 1
        return form

    def open_primary(self, lone: bool) -> Form:
        token = self.next()
        if token.type == "number":
            return Scalar(self.mixed(token, lone))
        if token.type == "repeating":
            return Scalar(number(_repeating(token.text)))
        if token.type == "symbol" or (token.type == "word" and len(token.text) == 1):
            return Scalar(self.symbol(token.text))
        match token.text:
            case "(" | "[":
                return self.brackets(token.text)
            case "\\langle":
                return Row(self.listed("\\rangle"))
            case "\\{":
                return self.braces()
            case "{":
                items = self.listed("}", "\\over", "\\choose")
                closed = self.tokens[self.position - 1].text
                if closed != "}":
                    above, below = _value(items[0]), _value(self.listed("}")[0])
                    return Scalar(
                        above / below if closed == "\\over" else functions.binomial(above, below)
                    )
                return items[0] if len(items) == 1 else collect(items)
            case "|":
                self.open_bars += 1
                inner = _value(self.expression())
                self.expect("|")
                self.open_bars -= 1
                return Scalar(functions.absolute(inner))
            case "\\lfloor" | "\\lceil":
                inner = _value(self.expression())
                self.expect("\\r" + token.text[2:])
                return Scalar(functions.round_down(inner, up=token.text == "\\lceil"))
        if token.type == "command":
            return self.command(token.text)
        raise Unsettled(f"{token.text!r} starts no expression")

    def command(self, name: str) -> Form:
        if name in GREEK:
            return Scalar(self.symbol(name))
        if name in _FUNCTIONS:
            return Scalar(self.function(name))
        if name in FONTS:
            inner = self.argument()
            lone = inner.text in ("i", "j", "k")
            return Scalar(algebra.symbol(f"\\mathbf{{{inner.text}}}")) if lone else Scalar(inner)
        if name in ACCENTS:
            inner = self.argument()
            return Scalar(algebra.symbol(f"{name}{{{inner.text}}}"))
        match name:
            case "\\frac":
                above, below = self.argument(), self.argument()
                return Scalar(above / below)
            case "\\binom":
                above, below = self.argument(), self.argument()
                return Scalar(functions.binomial(above, below))
            case "\\sqrt":
                return Scalar(self.root())
            case "\\pi":
                return Scalar(algebra.PI)
            case "\\infty":
                return Scalar(INFINITY)
            case "\\emptyset":
                return Collection(())
            case "\\R":
                return _REALS
            case "\\mathbb" if [t.text for t in self.tokens[self.position :][:3]] == list("{R}"):
                self.position += 3
                return _REALS
        if name.startswith("\\begin{") and name[7:-1] in _MATRICES:
            return self.matrix(name[7:-1])
        raise Unsettled(f"{name} is not read here")

    # Parts of expressions

    def symbol(self, name: str) -> Value:
        if self.peek().text == "_":
            self.next()
            opened = self.peek().text == "{"
            parts = []
            if opened:
                self.next()
                while self.peek().text != "}":
                    parts.append(self.next().text)
                    if parts[-1] in ("", "{") or len(parts) > 6:
                        raise Unsettled("a subscript without an end")
                self.next()
            else:
                parts.append(self.next().text)
            return algebra.symbol(f"{name}_{{{' '.join(parts)}}}")
        while self.peek().text == "'":
            name += self.next().text
        if name == "e":
            return algebra.EULER
        return algebra.UNIT_I if name == "i" else algebra.symbol(name)

    def mixed(self, token: Token, lone: bool) -> Value:
        """A number; directly before a fraction of integers it is the whole part of both."""
        value = number(_decimal(token.text))
        following = self.tokens[self.position : self.position + 8]
        texts = [t.text for t in following]
        if lone or not token.text.isdecimal():
            return value
        if texts[0] == "\\frac" and _is_plain_fraction(texts[1:]):
            self.next()
            return value + self.argument() / self.argument()
        if (
            len(texts) > 2
            and texts[1] == "/"
            and following[0].spaced
            and texts[0].isdecimal()
            and texts[2].isdecimal()
        ):
            self.position += 3
            return value + number(_decimal(texts[0])) / number(_decimal(texts[2]))
        return value

    def argument(self) -> Value:
        """An argument in braces, or a single token; of `\\frac43` each digit is one."""
        token = self.peek()
        if token.type == "number" and len(token.text) > 1 and token.text.isdecimal():
            self.tokens[self.position] = Token("number", token.text[1:])
            return number(int(token.text[0]))
        if token.text == "-":
            raise Unsettled("a sign as an argument")
        return _value(self.primary(lone=True))

    def root(self) -> Value:
        degree = number(2)
        if self.peek().text == "[":
            self.next()
            degree = _value(self.expression())
            self.expect("]")
        if self.peek().text == "(":
            inner = _value(self.primary())
        else:
            # Models write \sqrt10 and mean ten; one digit, as LaTeX reads it, is never meant.
            inner = _value(self.primary(lone=True))
        known = degree.rational
        if known is None or known.denominator != 1 or not 1 < known <= 12:
            raise Unsettled("a root of this degree")
        return functions.root(inner, int(known))

    def function(self, name: str) -> Value:
        """A function with its argument: in brackets, or the factors up to a plus or minus."""
        base, degree = None, None
        if self.peek().text == "_":
            self.next()
            base = self.argument()
        if self.peek().text == "^":
            self.next()
            degree = self.exponent()
        if degree is not None and degree.text == "-1" and name in _INVERSES:
            name, degree = _INVERSES[name], None
        outer, self.in_angle = self.in_angle, name in TRIGONOMETRIC
        value = self.applied()
        self.in_angle = outer
        if name == "\\log" and base is not None:
            result = functions.logarithm(value, base)
        elif base is not None:
            raise Unsettled("a function with a subscript")
        else:
            result = _EXACT[name](value) if name in _EXACT else functions.call(name, value)
        return result if degree is None else functions.power(result, degree)

    def applied(self) -> Value:
        if self.peek().text in ("(", "["):
            return _value(self.primary())
        sign = self.signs()
        value = _value(self.factor()) * number(sign)
        while self.starts_factor(self.peek()) and self.peek().text not in _FUNCTIONS:
            if self.peek().text in ("(", "["):
                break
            value = value * _value(self.factor())
        return value

    def brackets(self, opened: str) -> Form:
        bars, self.open_bars = self.open_bars, 0
        items = self.listed(")", "]")
        self.open_bars = bars
        closed = self.tokens[self.position - 1].text
        matching = (opened, closed) in (("(", ")"), ("[", "]"))
        if len(items) == 1 and matching:
            return items[0]
        if len(items) == 2 and (opened, closed) != ("(", ")"):
            return Interval(items[0], items[1], opened == "[", closed == "]")
        if len(items) > 1 and matching:
            return Row(items)
        raise Unsettled("brackets that do not match")

    def braces(self) -> Form:
        if self.peek().text == "\\}":
            self.next()
            return Collection(())
        if self.skip_condition():
            _, form, _ = self.item()
            self.expect("\\}")
            return form
        return collect(self.listed("\\}"))

    def skip_condition(self) -> bool:
        """Skip the `x |` of a set of all x with a property."""
        for middle in ([], ["\\in", "\\R"], ["\\in", "\\mathbb", "{", "R", "}"]):
            texts = [t.text for t in self.tokens[self.position + 1 :][: len(middle) + 1]]
            if self.peek().type == "symbol" and texts in ([*middle, "|"], [*middle, ":"]):
                self.position += len(texts) + 1
                return True
        return False

    def listed(self, *closers: str) -> tuple[Form, ...]:
        outer, self.separators = self.separators, []
        named, inequalities = self.items()
        if inequalities or any(name is not None for name, _ in named):
            raise Unsettled("a relation inside brackets")
        if set(self.separators) - {",", ";"}:
            raise Unsettled("words inside brackets")
        self.separators = outer
        self.expect(*closers)
        return tuple(form for _, form in named)

    def matrix(self, environment: str) -> Form:
        if environment == "array":
            self.expect("{")
            while self.next().text not in ("}", ""):
                pass
        rows: list[list[Form]] = [[]]
        while True:
            rows[-1].append(self.expression())
            text = self.next().text
            if text == "\\\\" and self.peek().text != f"\\end{{{environment}}}":
                rows.append([])
            elif text in (f"\\end{{{environment}}}", "\\\\"):
                if text == "\\\\":
                    self.next()
                return Matrix(tuple(tuple(row) for row in rows))
            elif text not in ("&", "\\\\"):
                raise Unsettled("a matrix without an end")

    def at_unit_fraction(self) -> bool:
        texts = self.tokens[self.position : self.position + 3]
        return len(texts) == 3 and texts[0].text == "\\frac" and texts[2].type == "word"

    def at_bracketed_unit(self) -> bool:
        ahead = 1
        while self.peek(ahead).type == "word":
            ahead += 1
        return self.peek().text == "(" and ahead > 1 and self.peek(ahead).text == ")"

    def unit(self) -> Fraction:
        """Skip the unit after a number, and return the factor that its words stand for."""
        factor = Fraction(1)
        while True:
            token = self.peek()
            if token.type == "word":
                if token.text in ("and", "or"):
                    return factor
                word = self.next().text
                if word.lower() in NO_UNITS and word.lower() == word:
                    raise Unsettled(f"{word!r} changes what the number says")
                factor *= MULTIPLIERS.get(word.lower(), Fraction(1))
            elif self.at_bracketed_unit():
                while self.next().text != ")":
                    pass
            elif token.text in ("/", "*", "per") and self.peek(1).type in ("word", "symbol"):
                self.position += 2
            elif token.text == "^":
                self.next()
                self.exponent()
            elif self.at_unit_fraction():
                self.next()
                for _ in range(2):
                    self.expect("{")
                    while self.peek().text not in ("}", ""):
                        self.next()
                    self.expect("}")
            else:
                break
        if self.peek().text not in _RELATIONS | _AFTER_UNIT:
            raise Unsettled("an expression goes on after a unit")
        return factor

    # Tokens

    def peek(self, ahead: int = 0) -> Token:
        position = self.position + ahead
        return self.tokens[position] if position < len(self.tokens) else END

    def next(self) -> Token:
        token = self.peek()
        self.position += 1
        return token

    def expect(self, *texts: str) -> None:
        if self.next().text not in texts:
            raise Unsettled(f"one of {texts} is missing")


def _value(form: Form) -> Value:
    if not isinstance(form, Scalar):
        raise Unsettled("arithmetic with sets or tuples")
    return form.value


def _product(factor: Value, form: Form) -> Form:
    """A factor times a value, or times every entry of a matrix."""
    if isinstance(form, Matrix):
        return Matrix(
            tuple(tuple(Scalar(factor * _value(item)) for item in row) for row in form.rows)
        )
    return Scalar(factor * _value(form))


def _decimal(text: str) -> Fraction:
    if len(text) > 1_200:
        raise Unsettled("a number is too long")
    return Fraction(text)


def _repeating(text: str) -> Fraction:
    """The value of `0.1\\overline{6}`: repeating decimals as a fraction."""
    whole, digits, cycle = re.findall(r"(\d*)\.(\d*)\D+(\d+)", text)[0]
    scale = 10 ** len(digits)
    tail = Fraction(int(cycle), scale * (10 ** len(cycle) - 1))
    return Fraction(int((whole or "0") + digits), scale) + tail


def _is_plain_fraction(texts: list[str]) -> bool:
    """Whether the arguments of a `\\frac` are two whole numbers, in braces or not."""
    return bool(re.match(r"(?:\{\d+\}|\d(?=\D|\d))(?:\{\d+\}|\d+)", "".join(texts)))


def _is_subscript(texts: list[str]) -> bool:
    return len(texts) == 1 or (texts[0] == "{" and texts[-1] == "}" and texts.count("}") == 1)
