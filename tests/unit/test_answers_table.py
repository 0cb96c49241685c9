"""A table of pairs as models print them, judged by hand, and the gold answers of benchmarks."""

import json
from collections import defaultdict
from functools import cache
from pathlib import Path

import pytest

from serl_trl.answers.equality import (
    extract_answer,
    get_kind,
    group_answers,
    same_answer,
    same_answers,
)
from serl_trl.answers.verifier import Verifier

TABLE = [
    json.loads(line)
    for line in (Path(__file__).parent / "answers.jsonl").read_text(encoding="utf-8").splitlines()
]
BENCHMARKS = ("own", "math_500", "gsm8k", "asdiv")
COMPLETION = (
    "First we get \\boxed{{0}} and \\boxed{{1. So the answer is **{}**.\n\nDone, at {{last}}."
)


def verdict_of(row, verifier):
    return same_answer(row["left"], row["right"], kind=row.get("kind", "math"), verifier=verifier)


@pytest.fixture(scope="module")
def verifier():
    with Verifier(batch_s=600) as shared:
        yield shared


@pytest.fixture(scope="module")
def golds(problems):
    return cache(lambda name: [row["answer"] for row in problems(name)])


def test_the_table_is_large_and_has_both_sides():
    assert len(TABLE) >= 300
    assert sum(row["equal"] for row in TABLE) >= 100
    assert sum(not row["equal"] for row in TABLE) >= 100
    assert len({(row.get("kind"), row["left"], row["right"]) for row in TABLE}) == len(TABLE)


def test_at_least_99_percent_of_the_table_are_right_and_the_rest_gives_its_reason(verifier):
    wrong = [row for row in TABLE if verdict_of(row, verifier) != row["equal"]]
    assert len(wrong) <= len(TABLE) / 100
    assert [row for row in wrong if "reason" not in row] == []
    assert [row for row in TABLE if "reason" in row and row not in wrong] == []


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row['left']} | {row['right']}"[:60])
def test_order_does_not_matter(row, verifier):
    kind = row.get("kind", "math")
    swapped = same_answer(row["right"], row["left"], kind=kind, verifier=verifier)
    assert swapped == verdict_of(row, verifier)
    for answer in (row["left"], row["right"]):
        is_answer = get_kind(kind).canonical(answer) is not None
        assert same_answer(answer, answer, kind=kind, verifier=verifier) == is_answer


@pytest.mark.slow
def test_the_table_says_where_math_verify_is_wrong():
    math_verify = pytest.importorskip("math_verify")
    for row in TABLE:
        if "kind" in row:
            continue
        left, right = (math_verify.parse(f"$\\boxed{{{row[side]}}}$") for side in ("left", "right"))
        verdict = math_verify.verify(left, right) or math_verify.verify(right, left)
        assert (verdict != row["equal"]) == (row.get("math_verify") == "wrong"), row


# Rows of the public faults that come out differently, by their two sides, each with its reason.
PUBLIC_EXCEPTIONS: dict[tuple[str, str], str] = {}


def test_faults_found_in_public_are_mended(problems):
    rows = problems("public_faults")
    rows = [row for row in rows if row["input"].get("kind") == "math" and "left" in row["input"]]
    pairs = [(row["input"]["left"], row["input"]["right"]) for row in rows]
    equal = same_answers(pairs)
    wrong = [p for p, row, got in zip(pairs, rows, equal, strict=True) if got != row["want"]]
    assert wrong == list(PUBLIC_EXCEPTIONS)
    assert len(wrong) <= len(rows) / 20


@pytest.mark.parametrize("name", BENCHMARKS)
def test_every_gold_answer_is_extracted_and_equals_itself(golds, name):
    extracted = [extract_answer(COMPLETION.format(gold)) for gold in golds(name)]
    assert [gold for gold, answer in zip(golds(name), extracted, strict=True) if not answer] == []
    equal = same_answers(list(zip(extracted, golds(name), strict=True)))
    assert [g for g, right in zip(golds(name), equal, strict=True) if not right] == []


@pytest.mark.parametrize("name", BENCHMARKS)
def test_gold_answers_equal_no_gold_answer_that_says_something_else(golds, name):
    answers = [extract_answer(gold) for gold in golds(name)]
    with Verifier(batch_s=600) as verifier:
        spellings = defaultdict(set)
        for answer, index in zip(answers, group_answers(answers, verifier=verifier), strict=True):
            spellings[index].add(answer)
        # Plain enough to be decided without math-verify, every one of them.
        assert verifier.stats()["worker_starts"] == 0
    found = sorted(sorted(group) for group in spellings.values() if len(group) > 1)
    assert found == EQUAL_GOLDS[name]


# All gold answers of one benchmark that count as equal: spellings of one value, by hand.
EQUAL_GOLDS = {
    "own": [["\\dfrac{3}{8}", "\\frac38"]],
    "math_500": [
        ["-2,1", "1,-2"],
        ["10,\\!080", "10080"],
        ["120", "120^\\circ"],
        ["15", "15\\mbox{ cm}^2"],
        ["2 \\sqrt{5}", "2\\sqrt{5}"],
        ["30", "30^\\circ"],
        # Not 36, 36 degrees and 36 dollars: two units, and no more votes for one of them.
        ["5", "x=5"],
        ["90", "90^\\circ"],
        ["\\frac14", "\\frac{1}{4}"],
    ],
    "gsm8k": [],
    "asdiv": [["2.5", "5/2"], ["65", "65.0"]],
}
