"""A kind made of the user's own functions."""

from collections.abc import Callable
from dataclasses import dataclass

from serl_trl.answers import markers


def boxed(completion: str) -> str | None:
    """Extract the content of the last balanced `\\boxed{}` or `\\fbox{}`."""
    return markers.latest(markers.last_boxed(completion))


@dataclass(frozen=True)
class OwnKind:
    """Answers found, normalised and compared by functions of the user.

    `same` need not be symmetric or transitive: it is asked in both directions, and grouping closes
    it. Without it, answers are equal when `normalise` makes them the same.
    """

    name: str
    find: Callable[[str], str | None] = boxed
    normalise: Callable[[str], str | None] = str
    same: Callable[[str, str], bool] | None = None

    def extract(self, completion: str) -> str | None:
        return self.find(completion)

    def canonical(self, answer: str) -> str | None:
        return self.normalise(answer)

    def equal(self, left: str, right: str) -> bool | None:
        return bool(self.same and (self.same(left, right) or self.same(right, left)))
