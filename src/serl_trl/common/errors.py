"""What ends a command with a message in place of a traceback; importing it costs nothing."""

from collections.abc import Sequence

from serl_trl.common.problem import Problem
from serl_trl.common.secrets import redacted


class SeRLConfigError(ValueError):
    """Bad input to a run; `problems` holds one text for each thing that is wrong."""

    def __init__(self, problems: Sequence[str | Problem]) -> None:
        self.problems = tuple(redacted(str(problem)) for problem in problems)
        super().__init__("\n".join(self.problems))


class NonFiniteError(RuntimeError):
    """A loss, a gradient or a weight is NaN or infinite; further steps would train nothing."""


class LogProbGapError(RuntimeError):
    """The engine samples from other weights than the trainer trains."""
