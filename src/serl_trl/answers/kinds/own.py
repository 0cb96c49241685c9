"""A kind made of the user's own functions."""

from collections.abc import Callable
from dataclasses import dataclass

from serl_trl.answers import markers


def boxed(completion: str) -> str | None:
    """Extract the content of the last balanced `\\boxed{}` or `\\fbox{}`."""
    return markers.latest(markers.last_boxed(completion))


@dataclass(frozen=True)
class OwnKind:
    """An answer kind made of your own functions.

    `find` returns the answer in a completion, or `None` (no vote). `normalise` returns one spelling
    for equal answers, or `None` when the text is not an answer. `same` compares two answers of
    different spelling; it need not be symmetric or transitive, because it is called in both
    directions and grouping follows chains of equal answers. Without `same`, only answers of one
    spelling are equal.
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
