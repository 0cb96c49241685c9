"""The interface every answer kind, ours or the user's, fills in."""

from typing import Protocol, runtime_checkable


@runtime_checkable
class AnswerKind(Protocol):
    """How one kind of answer is found, written in one way, and compared."""

    @property
    def name(self) -> str:
        """Short name; verdicts of the verifier are remembered under it."""
        ...

    def extract(self, completion: str) -> str | None:
        """Return the final answer as written in `completion`, or `None` when it has no vote."""
        ...

    def canonical(self, answer: str) -> str | None:
        """Return one spelling for answers known to be equal; `None` when it is not an answer."""
        ...

    def equal(self, left: str, right: str) -> bool | None:
        """Compare two answers of different canonical form; `None` leaves it to the verifier."""
        ...
