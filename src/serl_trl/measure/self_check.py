"""Can the golds of a benchmark match themselves? A checker that refuses its own key is not fair.

A gold answer that is not read from a box, or not found equal to itself, is wrong for every model,
whatever it answers.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from serl_trl.answers.verifier import Verifier
from serl_trl.common.completion import Completion
from serl_trl.measure.benchmarks import ProblemSet
from serl_trl.measure.figures import Attempts, grade_attempts


@dataclass(frozen=True)
class Mismatch:
    """A problem whose gold does not match itself; `read` is the answer that was read, or `None`."""

    row: int
    gold: str
    read: str | None

    def __str__(self) -> str:
        if self.read is None:
            return f"row {self.row}: no answer is read from \\boxed{{{self.gold}}}."
        return f"row {self.row}: \\boxed{{{self.gold}}} is read as {self.read}, which is not equal."


def find_mismatches(problem_set: ProblemSet, *, verifier: Verifier | None = None) -> list[Mismatch]:
    """Grade a completion that boxes the gold, for each problem; return those found wrong.

    Answers are read and compared as in an evaluation, by the verifier too.
    """
    return list(_mismatches(problem_set, verifier))


def _mismatches(problem_set: ProblemSet, verifier: Verifier | None) -> Iterator[Mismatch]:
    attempts = [
        Attempts(each.instruction, each.gold, (_boxed(each.gold),)) for each in problem_set.problems
    ]
    graded = grade_attempts(attempts, kind=problem_set.kind, verifier=verifier)
    for problem, each in zip(problem_set.problems, graded, strict=True):
        if not each.num_right:
            yield Mismatch(problem.row, problem.gold, each.answers[0])


def _boxed(gold: str) -> Completion:
    return Completion(f"The answer is \\boxed{{{gold}}}.", [0], truncated=False)
