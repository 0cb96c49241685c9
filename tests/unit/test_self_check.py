"""Golds graded against themselves: what a checker can never find right is named."""

from pathlib import Path

import pytest

from serl_trl import sandbox
from serl_trl.answers import OwnKind
from serl_trl.measure.benchmarks import ProblemSet, load_benchmark
from serl_trl.measure.rows import Problem
from serl_trl.measure.self_check import find_mismatches

DATA = Path(__file__).parents[2].parent / "shared" / "data"


def problem_set(golds, kind="math"):
    problems = tuple(Problem("q?", gold, row) for row, gold in enumerate(golds, 1))
    return ProblemSet("own", kind, problems, "", "own.jsonl")


def test_golds_that_match_themselves_are_not_named():
    golds = ["7", "\\frac{1}{2}", "(1, 2)", "x^2 + 1", "1,000", "\\text{east}", "\\{1, 2\\}"]

    assert find_mismatches(problem_set(golds)) == []
    assert find_mismatches(problem_set(["A", "D"], "choice")) == []
    assert find_mismatches(problem_set(['{"a": [1, 2]}', "[]"], "json")) == []


def test_what_is_read_as_another_answer_or_as_none_is_named():
    shouting = OwnKind(
        name="shouting", find=lambda text: text.upper() if "BOX" in text else None, normalise=str
    )
    first, second = find_mismatches(problem_set(["7", "8"], shouting))

    assert (first.row, first.gold, first.read) == (1, "7", None)
    assert str(second) == "row 2: no answer is read from \\boxed{8}."
    whole = OwnKind(name="whole", find=str, normalise=str)
    (found,) = find_mismatches(problem_set(["7"], whole))
    assert "is read as The answer is \\boxed{7}., which is not equal" in str(found)


@pytest.mark.parametrize("name", [sandbox.EASY, sandbox.HARD])
def test_every_gold_of_the_sandboxes_matches_itself(name):
    assert find_mismatches(load_benchmark(name)) == []


@pytest.mark.parametrize("name", ["math_500", "gsm8k", "asdiv"])
def test_golds_of_public_benchmarks_match_themselves(name):
    file = DATA / f"{name}.jsonl"
    if not file.is_file():
        pytest.skip("the benchmark's file is not on this machine")

    found = load_benchmark(name, file=str(file), max_problems=300)

    assert len(found.problems) == 300
    assert find_mismatches(found) == []
