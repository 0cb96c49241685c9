"""A place in a list of tokens."""

from collections.abc import Sequence

from serl_trl.answers.math.lexer import END, Token
from serl_trl.answers.math.values import Unsettled


class Cursor:
    """Reads one list of tokens from left to right."""

    def __init__(self, tokens: Sequence[Token]) -> None:
        self.tokens = list(tokens)
        self.position = 0

    def peek(self, ahead: int = 0) -> Token:
        """The token that comes next, or one further on."""
        position = self.position + ahead
        return self.tokens[position] if position < len(self.tokens) else END

    def texts(self, count: int) -> list[str]:
        """The texts of the tokens that come next; fewer at the end."""
        return [token.text for token in self.tokens[self.position : self.position + count]]

    def next(self) -> Token:
        """Take the next token."""
        token = self.peek()
        self.position += 1
        return token

    def skip(self, *texts: str) -> bool:
        """Take these tokens, if they come next."""
        found = self.texts(len(texts)) == list(texts)
        self.position += len(texts) * found
        return found

    def expect(self, *texts: str) -> None:
        """Take a token that must be one of these; raises `Unsettled`."""
        if self.next().text not in texts:
            raise Unsettled(f"one of {texts} is missing")
