import dataclasses
import random
import re
import subprocess
import sys
import time
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from serl_trl import sandbox
from serl_trl.filters.novelty import RougeLIndex
from serl_trl.sandbox import domain, solver
from serl_trl.sandbox.lexicon import CLOSED_FAMILIES, FAMILIES, MEANING_WORDS
from serl_trl.sandbox.phrasings import KINDS
from tools import slips

APPLES = (
    "The dark tower had {a} red apples. After Gina the grocer slowly sold {b} of them on Friday "
    "noon, how many were left?"
)
SHARING = (
    "Before sharing {a} neat pens fairly among {c} poets, Olga the judge slowly removes {b} red "
    "ones. How many does every person get?"
)


def test_a_hand_written_problem_of_each_sort_is_solved_exactly():
    assert sandbox.solve(APPLES.format(a=27, b=3)) == "24"
    assert sandbox.solve(SHARING.format(a=29, b=5, c=4)) == "6"
    assert sandbox.kind_of(SHARING.format(a=29, b=5, c=4)) == "share_rest"


def test_problems_that_do_not_make_sense_have_no_answer():
    assert sandbox.solve(APPLES.format(a=3, b=27)) is None
    assert sandbox.solve(SHARING.format(a=29, b=5, c=5)) is None
    assert sandbox.solve(SHARING.format(a=29, b=5, c=0)) is None
    assert sandbox.solve(APPLES.format(a=27, b=3).replace("sold", "bought")) is None
    assert sandbox.solve(APPLES.format(a=27, b=3).replace("red", "seven")) is None
    assert sandbox.solve(APPLES.format(a=27, b=3).replace("many were", "many pears were")) is None
    assert sandbox.solve(APPLES.format(a="twenty", b=3)) is None
    assert sandbox.solve(APPLES.format(a=27, b=3) + " How many pears?") is None


def test_a_name_may_not_stand_for_two_people():
    text = (
        "Ada bravely bought 4 thin pens. Leo, the poet from Rome, has 3 more than that. "
        "How many do they have together?"
    )
    assert sandbox.solve(text) == "11"
    assert sandbox.solve(text.replace("Leo", "Ada")) is None


def test_two_people_may_do_the_same():
    text = (
        "Hugo brought 21 tall lamps at the famous hall, but Ines gently brought only 20. "
        "How many more is the first count than the second?"
    )
    assert sandbox.solve(text) == "1"


def test_words_and_numbers_outside_the_lists_are_understood():
    text = APPLES.format(a=1500, b=999).replace("apples", "zeppelins").replace("Gina", "Qwrt")
    assert sandbox.solve(text) == "501"
    assert sandbox.solve(f"  {text}\n") == "501"


def test_kind_is_known_also_where_there_is_no_answer():
    assert sandbox.kind_of(APPLES.format(a=3, b=27)) == "subtract"
    assert sandbox.kind_of("What is 2 + 2?") is None


def test_every_phrasing_of_every_kind_is_solved_and_read_in_one_way_only():
    rng = random.Random(0)
    for kind in KINDS:
        for phrasing in kind.phrasings:
            only = dataclasses.replace(kind, phrasings=(phrasing,))
            for _ in range(6):
                numbers, worked = domain.draw_numbers(only, rng)
                text = domain.fill_slots(phrasing, numbers, rng)
                assert len(solver.readings(text)) == 1
                assert sandbox.solve(text) == str(worked[-1][1])
                assert sandbox.kind_of(text) == kind.name


@given(st.integers(min_value=0))
def test_generated_problems_are_solved(seed):
    problem = domain.draw_problem(random.Random(seed))
    assert sandbox.solve(problem.instruction) == problem.answer
    assert sandbox.kind_of(problem.instruction) == problem.kind
    assert problem.solution.endswith(f"\\boxed{{{problem.answer}}}")
    assert domain.draw_problem(random.Random(seed)) == problem


def test_there_are_enough_kinds_phrasings_and_words():
    assert len(KINDS) >= 14
    for kind in KINDS:
        assert len(set(kind.phrasings)) >= 8
        assert all(18 <= len(phrasing.split()) <= 32 for phrasing in kind.phrasings)
        assert 0 < kind.slip_rate < 0.5
    assert len(FAMILIES["name"]) >= 60
    assert len(FAMILIES["thing"]) >= 80


def test_lists_hold_single_words_and_none_the_solver_refuses():
    for family, words in FAMILIES.items():
        assert len(set(words)) == len(words), family
        assert all(re.fullmatch(solver._WORD, word) for word in words)
        assert family in CLOSED_FAMILIES or not MEANING_WORDS & {word.lower() for word in words}


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=700))
def test_any_text_is_taken_without_an_error(text):
    sandbox.kind_of(text)
    assert sandbox.solve(text) is None


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from([phrasing for kind in KINDS for phrasing in kind.phrasings]),
    st.sampled_from(["a" * 24, "a a", "9" * 50, "\n", "é", "[a-z]+", "a" * 500, "", "٣"]),
)
def test_hostile_slots_raise_nothing_and_cost_little(phrasing, filling):
    started = time.process_time()
    sandbox.solve(domain.SLOT.sub(lambda _: filling, phrasing))
    sandbox.solve(filling * 100_000)
    assert time.process_time() - started < 0.5


@given(st.integers(min_value=0), st.sampled_from([kind.name for kind in KINDS]))
def test_every_slip_gives_a_wrong_step_that_carries_through(seed, name):
    rng = random.Random(seed)
    problem = domain.draw_problem(rng, kind=name)
    wrong_steps = [True] + [False] * (len(domain.KIND_BY_NAME[name].steps) - 1)
    text = slips.solution_with_slips(problem, wrong_steps, rng)
    steps = re.findall(r"(\d+) ([-+*/]) (\d+) = (\d+)\.", text)
    right = [
        domain.calculate(operator, int(left), int(other)) == int(result)
        for left, operator, other, result in steps
    ]
    if text != problem.solution:
        assert right == [not slip for slip in wrong_steps]
    assert text.endswith(f" \\boxed{{{steps[-1][3]}}}")


def test_a_slip_is_almost_always_possible_and_never_systematic():
    rng = random.Random(1)
    for kind in KINDS:
        right = 0
        for _ in range(10):
            problem = domain.draw_problem(rng, kind=kind.name)
            wrong_steps = [True] + [False] * (len(kind.steps) - 1)
            texts = Counter(
                slips.solution_with_slips(problem, wrong_steps, rng) for _ in range(100)
            )
            right += texts.pop(problem.solution, 0)
            assert texts.most_common(1)[0][1] < 70, problem
        assert right < 0.1 * 1000


def test_share_of_wrong_steps_is_the_stated_one():
    rng = random.Random(2)
    for name in ("add", "multiply", "repack"):
        kind = domain.KIND_BY_NAME[name]
        wrong = 0
        for _ in range(800):
            problem = domain.draw_problem(rng, kind=name)
            wrong += slips.draw_solution(problem, rng) != problem.solution
        expected = 1 - (1 - kind.slip_rate) ** len(kind.steps)
        assert abs(wrong / 800 - expected) < 0.06


def test_fixed_sets_are_disjoint_balanced_and_the_same_each_time():
    seeds, rows = sandbox.seed_set(), sandbox.heldout()
    assert len(seeds) == len(set(seeds)) == 64
    assert len(rows) == len({row["instruction"] for row in rows}) == 200
    assert not {row["instruction"] for row in rows} & set(seeds)
    assert set(Counter(row["kind"] for row in rows).values()) == {12, 13}
    assert set(Counter(map(sandbox.kind_of, seeds)).values()) == {4}
    assert all(sandbox.solve(row["instruction"]) == row["answer"] for row in rows)
    domain._fixed_sets.cache_clear()
    assert sandbox.seed_set() == seeds
    assert domain.reserved_texts() == {*seeds, *(row["instruction"] for row in rows)}


def test_fresh_problems_stay_new_by_rouge_l():
    rng = random.Random(3)
    index = RougeLIndex(0.7)
    accepted = []
    while len(accepted) < 300:
        text = domain.draw_problem(rng).instruction
        if index.is_novel(text):
            index.add(text)
            accepted.append(text)
    fresh = [domain.draw_problem(rng).instruction for _ in range(200)]
    assert sum(map(index.is_novel, fresh)) / len(fresh) >= 0.8
    scorer = RougeScorer(["rougeL"])
    for text in fresh[:8]:
        nearest = max(scorer.score(old, text)["rougeL"].fmeasure for old in accepted[:100])
        assert nearest <= index.nearest(text).score + 1e-9


def test_prompt_texts_are_short():
    assert sandbox.STYLE.fill(sandbox.STYLE.proposer_system).startswith("You teach arithmetic word")
    assert len(sandbox.STYLE.answer_instruction.split()) <= 4


@pytest.mark.parametrize("module", ["serl_trl.sandbox", "serl_trl.sandbox.domain"])
def test_the_domain_is_imported_without_torch(module):
    code = (
        f"import sys, {module}; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
