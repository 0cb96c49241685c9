"""Arithmetic word problems with worked solutions: the sandbox's own domain."""

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType

from serl_trl.propose.prompts import PromptStyle
from serl_trl.sandbox.lexicon import FAMILIES
from serl_trl.sandbox.phrasings import KINDS, Kind

EASY, HARD = "sandbox", "sandbox_hard"  # as options name them
NUM_HELDOUT = 200  # 12 or 13 of each kind; the standard error of pass@1 is three points
NUM_SEEDS = 64
NUM_LABELLED = 64
NUM_UNLABELLED = 256
MAX_RESULT = 400  # three digits, which a model of a million weights can learn

# Short, because every token of a prompt is paid for in CPU time.
STYLE = PromptStyle(
    domain="arithmetic word problems",
    proposer_system="You teach {domain}. Write new problems. Do not solve them.",
    proposer_request="",
    answer_first_system="You teach {domain}. Write a solution, then its problem.",
    answer_instruction="Answer in \\boxed{}.",
    abstain_instruction="Answer in \\boxed{}, or \\boxed{none}.",
    restate_instruction="Say it in other words.",
)

SLOT = re.compile(r"\{([a-z]+[0-9]?)\}")
KIND_BY_NAME = {kind.name: kind for kind in KINDS}


@dataclass(frozen=True)
class Problem:
    """One problem, its worked solution, its answer, and its numbers a, b, ... in that order."""

    instruction: str
    solution: str
    answer: str
    kind: str
    numbers: tuple[int, ...]


def family_of(slot: str) -> str:
    """Return the word family of a slot: `{city2}` is a city, `{friend}` a name."""
    stem = slot.rstrip("0123456789")
    return "name" if stem == "friend" else stem


def is_number_slot(slot: str) -> bool:
    """Tell number slots (`{a}` to `{d}`) from word slots."""
    return len(slot) == 1


def calculate(operator: str, left: int, right: int) -> int | None:
    """Apply one of + - * / to counts; None where no count comes out (below zero, not exact)."""
    if operator == "+":
        return left + right
    if operator == "-":
        return left - right if left >= right else None
    if operator == "*":
        return left * right
    # Division by zero has no count, and neither has one with a remainder.
    return left // right if right and left % right == 0 else None


def work_out(
    kind: Kind, numbers: Sequence[int], *, offsets: Sequence[int] = ()
) -> list[tuple[str, int]] | None:
    """Work through the steps of a kind; returns (equation, result) per step.

    `offsets[i]` is added to the result of step i, which later steps then use: a slip that carries
    through. None where a step has no result among the whole numbers from 0 up.
    """
    values = dict(zip("abcd", numbers, strict=False))
    worked = []
    for index, step in enumerate(kind.steps):
        left, operator, right, _, name = step.split()
        result = calculate(operator, values[left], values[right])
        if result is None:
            return None
        result += offsets[index] if offsets else 0
        if result < 0:
            return None
        values[name] = result
        worked.append((f"{values[left]} {operator} {values[right]} = {result}.", result))
    return worked


def write_solution(worked: Sequence[tuple[str, int]]) -> str:
    """Write worked steps as a completion that ends in the boxed answer."""
    return " ".join([equation for equation, _ in worked] + [f"\\boxed{{{worked[-1][1]}}}"])


def draw_problem(rng: random.Random, *, kind: str | None = None) -> Problem:
    """Draw a problem of the named kind, or of any kind."""
    chosen = KIND_BY_NAME[kind] if kind else rng.choice(KINDS)
    numbers, worked = draw_numbers(chosen, rng)
    text = fill_slots(rng.choice(chosen.phrasings), numbers, rng)
    return Problem(text, write_solution(worked), str(worked[-1][1]), chosen.name, numbers)


def seed_problems(name: str = EASY) -> list[Problem]:
    """Return the 64 problems of a sandbox's seed set, four of each kind, with their answers."""
    return list(_fixed_sets(name)[0])


def heldout_problems(name: str = EASY) -> list[Problem]:
    """Return the 200 problems of a sandbox that are kept from training, kinds balanced to one."""
    return list(_fixed_sets(name)[1])


@cache
def reserved_texts(name: str = EASY) -> frozenset[str]:
    """Return the texts of a sandbox's two sets, which its training corpus must not hold."""
    return frozenset(problem.instruction for part in _fixed_sets(name) for problem in part)


@cache
def _fixed_sets(name: str) -> tuple[tuple[Problem, ...], tuple[Problem, ...]]:
    # A text as the seed: the sets do not depend on the run's seed, nor on the platform's hash.
    rng = random.Random(f"serl-trl {name}, fixed sets")
    names = [kind.name for kind in KINDS]
    drawn: dict[str, Problem] = {}
    while len(drawn) < NUM_SEEDS + NUM_HELDOUT:
        # A text that came before is drawn anew for the same kind, so that the kinds stay balanced.
        problem = draw_problem(rng, kind=names[len(drawn) % len(names)])
        drawn.setdefault(problem.instruction, problem)
    problems = tuple(drawn.values())
    return problems[:NUM_SEEDS], problems[NUM_SEEDS:]


def given_problems(name: str = EASY) -> list[Problem]:
    """Return 320 further problems of a sandbox, kinds balanced, in neither of its two sets.

    The first `NUM_LABELLED` are given with answers, the others without.
    """
    rng = random.Random(f"serl-trl {name}, given problems")
    names = [kind.name for kind in KINDS]
    drawn: dict[str, Problem] = {}
    while len(drawn) < NUM_LABELLED + NUM_UNLABELLED:
        problem = draw_problem(rng, kind=names[len(drawn) % len(names)])
        if problem.instruction not in reserved_texts(name):
            drawn.setdefault(problem.instruction, problem)
    return list(drawn.values())


def draw_numbers(kind: Kind, rng: random.Random) -> tuple[tuple[int, ...], list[tuple[str, int]]]:
    """Draw numbers until every step has a result in [2, MAX_RESULT]."""
    while True:  # of the kinds that divide, one draw in five fits
        numbers = tuple(rng.choice(values) for values in kind.ranges.values())
        worked = work_out(kind, numbers)
        if worked and all(2 <= result <= MAX_RESULT for _, result in worked):
            return numbers, worked


def fill_slots(
    phrasing: str,
    numbers: Sequence[int | str],
    rng: random.Random,
    words: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """Put numbers and words into the slots; slots of one family get different words.

    `words` are those of some slots; every other slot gets one by chance.
    """
    chosen = {**words, **dict(zip("abcd", map(str, numbers), strict=False))}

    def word_for(match: re.Match[str]) -> str:
        slot = match[1]
        if slot not in chosen:
            words = FAMILIES[family_of(slot)]
            word = rng.choice(words)
            while word in chosen.values():
                word = rng.choice(words)
            chosen[slot] = word
        return chosen[slot]

    return SLOT.sub(word_for, phrasing)
