"""The hard sandbox: faults told exactly, its corpus, and a seed set of its own."""

import random
import re

import pytest

from serl_trl import sandbox
from serl_trl.sandbox import domain
from serl_trl.sandbox.faults import DISPUTES, FAULTS, UNKNOWN, fault_of
from tools import hard_corpus

SHARED = (
    "Ada keeps {} red apples inside the calm barn. Leo the chef gladly brings {} big ones "
    "from Rome. What is the total number?"
)
SPLIT = (
    "In May Ada gladly lines up {} big maps in {} equal rows beside the calm barn. Find the number "
    "in every row."
)
LEFT = (
    "{} wants {} of the {} red big maps that Ada gladly found on Monday. If that is agreed, "
    "how many will Rome keep?"
)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (SHARED.format(3, 4), None),
        (SHARED.format(3, "some"), "missing"),
        (SHARED.format("many", 4), "missing"),
        (SHARED.format(3, "purple"), "other"),
        (SHARED.format(3, 4) + " But a list says 9, not 3.", "contradiction"),
        (SHARED.format(3, 4) + " But a list says 9, not 4.", "contradiction"),
        # It takes back a number that the problem does not have, or gives the same one again.
        (SHARED.format(3, 4) + " But a list says 9, not 5.", "other"),
        (SHARED.format(3, 4) + " But a list says 3, not 3.", "other"),
        (SPLIT.format(12, 4), None),
        (SPLIT.format(13, 4), "not_whole"),
        (SPLIT.format(13, 0), "not_whole"),
        (LEFT.format("Leo", 4, 9), None),
        (LEFT.format("Leo", 9, 4), "negative"),
        ("", "other"),
        ("How many are there?", "other"),
        ("some " * 100_000, "other"),
    ],
)
def test_the_fault_of_a_problem_is_the_first_thing_that_keeps_it_from_an_answer(text, fault):
    assert fault_of(text) == fault


def test_a_problem_has_a_fault_exactly_where_the_solver_finds_no_answer():
    rng = random.Random(3)
    drafts = [hard_corpus.draw_draft(rng, broken=0.5) for _ in range(400)]

    assert all((sandbox.solve(d.text) is None) == (fault_of(d.text) is not None) for d in drafts)
    assert {d.fault for d in drafts} == {None, *FAULTS}


def test_every_fault_is_told_in_every_wording():
    base = SHARED.format(3, 4)
    for text in DISPUTES:
        assert fault_of(f"{base} {text.format(e=8, a=3)}") == "contradiction"
    for word in UNKNOWN:
        assert fault_of(SHARED.format(word, word)) == "missing"


def test_solutions_in_the_corpus_are_equations_and_one_boxed_answer():
    rng = random.Random(4)
    equations = r"(?:[0-9]+ [-+*/] [0-9]+ = [0-9]+\. )*\\boxed\{(?:[0-9]+|none)\}"
    for _ in range(300):
        draft = hard_corpus.draw_draft(rng, broken=0.5)
        assert re.fullmatch(equations, hard_corpus.solve_draft(draft, rng))
        assert re.fullmatch(equations, hard_corpus.abstain_draft(draft, rng))


def test_the_wrong_way_is_commoner_than_the_right_one_in_five_kinds():
    rng = random.Random(5)
    lost = set()
    for kind in domain.KINDS:
        draft = hard_corpus.draw_draft(rng, template=(kind.name, 0))
        answer = sandbox.solve(draft.text)
        boxed = [hard_corpus.solve_draft(draft, rng).partition("{")[2][:-1] for _ in range(400)]
        if max(map(boxed.count, set(boxed) - {answer})) > boxed.count(answer):
            lost.add(kind.name)

    assert lost == {"more_total", "rate_time", "difference", "age", "repack"}


def test_a_restatement_keeps_the_kind_the_numbers_and_the_answer():
    rng = random.Random(6)
    for _ in range(100):
        messages, text = hard_corpus.draw_restatement(rng)
        given = messages[-1]["content"].partition("\n")[0]
        assert text != given
        assert sandbox.kind_of(text) == sandbox.kind_of(given)
        assert sorted(re.findall("[0-9]+", text)) == sorted(re.findall("[0-9]+", given))
        assert sandbox.solve(text) == sandbox.solve(given)


def test_the_two_sandboxes_have_sets_of_their_own_and_the_corpus_none_of_them():
    hard = {p.instruction for p in domain.seed_problems(sandbox.HARD)}
    heldout = {p.instruction for p in domain.heldout_problems(sandbox.HARD)}
    assert (len(hard), len(heldout)) == (64, 200)
    assert not hard & heldout
    assert not (hard | heldout) & domain.reserved_texts(sandbox.EASY)
    assert all(
        row["answer"] == sandbox.solve(row["instruction"])
        for row in sandbox.heldout("sandbox_hard")
    )
