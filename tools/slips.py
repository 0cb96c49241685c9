"""Solutions with slips, and rows of equations: what the sandbox's model is pretrained on."""

import random
from collections.abc import Sequence

from serl_trl.sandbox.domain import KIND_BY_NAME, Problem, draw_problem, work_out, write_solution

# Small slips are the likeliest, as a person's are; the tail keeps wrong answers spread out.
_SIZES = (1, 1, 1, 2, 2, 2, 3, 3, 4, 5, 6, 7, 8, 9, 10, 10, 11, 12, 20)
_TRIES = 50


def draw_solution(problem: Problem, rng: random.Random) -> str:
    """Write a solution in which each step is wrong with the kind's slip rate.

    Wrong results are spread widely around the right one, so that no wrong answer is systematic.
    """
    kind = KIND_BY_NAME[problem.kind]
    slips = [rng.random() < kind.slip_rate for _ in kind.steps]
    return solution_with_slips(problem, slips, rng)


def solution_with_slips(problem: Problem, slips: Sequence[bool], rng: random.Random) -> str:
    """Write the solution of `problem` with a wrong result in each step whose `slips` entry is true.

    A slip that would leave a later step without a result (below zero, a division that does not come
    out) is drawn again; where no slip works, the right solution is written.
    """
    kind = KIND_BY_NAME[problem.kind]
    for _ in range(_TRIES if any(slips) else 0):
        offsets = [rng.choice((-1, 1)) * rng.choice(_SIZES) if slip else 0 for slip in slips]
        worked = work_out(kind, problem.numbers, offsets=offsets)
        if worked and all(result > 0 for _, result in worked):
            return write_solution(worked)
    return problem.solution


def draw_equations(rng: random.Random, *, num_problems: int) -> str:
    """Write the right steps of several problems' solutions, in a row and without the problems."""
    drawn = (draw_problem(rng) for _ in range(num_problems))
    return " ".join(problem.solution.partition(" \\boxed")[0] for problem in drawn)
