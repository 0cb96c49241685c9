"""The units that may stand behind a number, read token by token."""

from fractions import Fraction

from serl_trl.answers.math.cursor import Cursor
from serl_trl.answers.math.measures import NO_UNIT, Unit, UnitWords
from serl_trl.answers.math.values import Unsettled
from serl_trl.answers.math.vocabulary import MULTIPLIERS, NO_UNITS, RELATIONS

# What may follow a unit without making it part of an expression.
_AFTER_UNIT = {"", ",", ";", ")", "]", "}", "\\}", "and", "or", "\\\\", "&", "\\land", "\\lor", ":"}


def at_unit(at: Cursor) -> bool:
    """Whether a unit begins here."""
    return at.peek().type == "word" or _at_fraction(at) or _at_bracketed(at)


def read_unit(at: Cursor, before: Unit = NO_UNIT) -> tuple[Fraction, Unit]:
    """Read the words after a number: the factor they stand for, and what they say."""
    factor, words = Fraction(1), UnitWords(before)
    while (part := _part(at, words)) is not None:
        factor *= part
    # Another number begins another quantity: 5 feet 3 inches.
    if at.peek().type != "number" and at.peek().text not in RELATIONS | _AFTER_UNIT:
        raise Unsettled("an expression goes on after a unit")
    return factor, words.unit()


def _part(at: Cursor, words: UnitWords) -> Fraction | None:
    """Read one part of a unit: the factor it stands for; `None` where the unit ends."""
    token = at.peek()
    if token.type == "word" and token.text not in ("and", "or", "per"):
        return _word(at.next().text, words)
    if _at_bracketed(at):
        at.next()
        while (inner := at.next()).text != ")":
            words.add(inner.text)
    elif token.text in ("/", "*", "per") and at.peek(1).type in ("word", "symbol"):
        at.next()
        if token.text != "*":
            words.divide()
        words.add(at.next().text)
    elif at.skip("^"):
        _power(at, words)
    elif _at_fraction(at):
        at.next()
        _side(at, words)
        words.divide()
        _side(at, words)
    else:
        return None
    return Fraction(1)


def _at_fraction(at: Cursor) -> bool:
    return at.peek().text == "\\frac" and at.peek(2).type == "word"


def _at_bracketed(at: Cursor) -> bool:
    """Whether words in brackets begin here."""
    ahead = 1
    while at.peek(ahead).type == "word":
        ahead += 1
    return at.peek().text == "(" and ahead > 1 and at.peek(ahead).text == ")"


def _word(word: str, words: UnitWords) -> Fraction:
    lower = word.lower()
    # A dozen, a quarter, "plus": the number alone would be another answer.
    if not words.add(word) and lower in NO_UNITS and lower == word:
        raise Unsettled(f"{word!r} changes what the number says")
    return MULTIPLIERS.get(lower) or MULTIPLIERS.get(word[:1]) or Fraction(1)


def _power(at: Cursor, words: UnitWords) -> None:
    braced = at.skip("{")
    sign = -1 if at.skip("-") else 1
    exponent = at.next().text
    if exponent not in ("1", "2", "3", "4"):
        raise Unsettled("an exponent that no unit has")
    words.power(sign * int(exponent))
    if braced:
        at.expect("}")


def _side(at: Cursor, words: UnitWords) -> None:
    """Read one side of a fraction of units."""
    at.expect("{")
    while at.peek().text not in ("}", ""):
        token = at.next()
        if token.text == "^":
            _power(at, words)
        elif token.type in ("word", "symbol"):
            words.add(token.text)
    at.expect("}")
