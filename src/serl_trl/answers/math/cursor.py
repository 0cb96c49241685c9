"""A place in a list of tokens, and the units that may stand there."""

from fractions import Fraction

from serl_trl.answers.math.lexer import END, Token
from serl_trl.answers.math.measures import NO_UNIT, Unit, UnitReader
from serl_trl.answers.math.values import Unsettled
from serl_trl.answers.math.vocabulary import MULTIPLIERS, NO_UNITS, RELATIONS

_AFTER_UNIT = {"", ",", ";", ")", "]", "}", "\\}", "and", "or", "\\\\", "&", "\\land", "\\lor", ":"}


class Cursor:
    """Reads one list of tokens from left to right."""

    def __init__(self, tokens: list[Token]) -> None:
        self.tokens = list(tokens)
        self.position = 0

    def peek(self, ahead: int = 0) -> Token:
        """The token that comes next, or one further on."""
        position = self.position + ahead
        return self.tokens[position] if position < len(self.tokens) else END

    def next(self) -> Token:
        """Take the next token."""
        token = self.peek()
        self.position += 1
        return token

    def expect(self, *texts: str) -> None:
        """Take a token that must be one of these; raises `Unsettled`."""
        if self.next().text not in texts:
            raise Unsettled(f"one of {texts} is missing")

    def at_unit_fraction(self) -> bool:
        """Whether a fraction of units begins here."""
        texts = self.tokens[self.position : self.position + 3]
        return len(texts) == 3 and texts[0].text == "\\frac" and texts[2].type == "word"

    def at_bracketed_unit(self) -> bool:
        """Whether words in brackets begin here."""
        ahead = 1
        while self.peek(ahead).type == "word":
            ahead += 1
        return self.peek().text == "(" and ahead > 1 and self.peek(ahead).text == ")"

    def unit(self, before: Unit = NO_UNIT) -> tuple[Fraction, Unit]:
        """Read the words after a number: the factor they stand for, and what they say."""
        factor, reader = Fraction(1), UnitReader(before)
        while True:
            token = self.peek()
            if token.type == "word" and token.text not in ("and", "or", "per"):
                factor *= self.word(reader)
            elif self.at_bracketed_unit():
                self.next()
                while (inner := self.next()).text != ")":
                    reader.word(inner.text)
            elif token.text in ("/", "*", "per") and self.peek(1).type in ("word", "symbol"):
                self.next()
                if token.text != "*":
                    reader.divide()
                reader.word(self.next().text)
            elif token.text == "^":
                self.next()
                self.unit_power(reader)
            elif self.at_unit_fraction():
                self.next()
                self.unit_part(reader)
                reader.divide()
                self.unit_part(reader)
            else:
                break
        # Another number begins another quantity: 5 feet 3 inches.
        if self.peek().type != "number" and self.peek().text not in RELATIONS | _AFTER_UNIT:
            raise Unsettled("an expression goes on after a unit")
        return factor, reader.unit()

    def word(self, reader: UnitReader) -> Fraction:
        """Take one word; the factor it stands for."""
        word = self.next().text
        lower = word.lower()
        if not reader.word(word) and lower in NO_UNITS and lower == word:
            raise Unsettled(f"{word!r} changes what the number says")
        return MULTIPLIERS.get(lower) or MULTIPLIERS.get(word[:1]) or Fraction(1)

    def unit_power(self, reader: UnitReader) -> None:
        """Read the exponent of a unit."""
        texts = [token.text for token in self.tokens[self.position :][:4]]
        braced = texts[:1] == ["{"]
        sign = -1 if texts[braced : braced + 1] == ["-"] else 1
        self.position += braced + (sign < 0)
        exponent = self.next().text
        if exponent not in ("1", "2", "3", "4"):
            raise Unsettled("an exponent that no unit has")
        reader.power(sign * int(exponent))
        if braced:
            self.expect("}")

    def unit_part(self, reader: UnitReader) -> None:
        """Read one side of a fraction of units."""
        self.expect("{")
        while self.peek().text not in ("}", ""):
            token = self.next()
            if token.text == "^":
                self.unit_power(reader)
            elif token.type in ("word", "symbol"):
                reader.word(token.text)
        self.expect("}")
