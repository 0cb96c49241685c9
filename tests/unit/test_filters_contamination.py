"""Proposals that overlap an evaluation set are refused, and say with what."""

import pytest

from serl_trl.filters.contamination import ContaminationGuard
from serl_trl.filters.gate import ProposalFilter

LONG = (
    "A baker sells 120 loaves on Monday and half as many on Tuesday at a price of 3 dollars "
    "for each loaf. How many dollars does the baker take on both days?"
)
SHORT = "Compute $\\sin 60^\\circ$."
SETS = {"bakery": ["What is 2 plus 9?", LONG], "angles": [SHORT]}


def make(**changes):
    return ContaminationGuard(SETS, **{"ngram": 13, "max_rouge_l": 0.6, **changes})


def test_a_shared_run_of_tokens_is_refused_and_named():
    text = (
        "On a rainy day in May, A Baker sells 120 loaves on Monday and half as many on tuesday. "
        + (
            "Then he goes home, feeds the cat, reads two books of 300 pages, and sleeps. "
            "How many loaves is that on the first of these days, if each is cut in four?"
        )
    )
    verdict = make().judge(text)
    assert verdict.reason == "contamination"
    assert verdict.detail["evaluation_set"] == "bakery"
    assert verdict.detail["row"] == 1
    assert (
        verdict.detail["shared"] == "a baker sells 120 loaves on monday and half as many on tuesday"
    )


def test_one_token_less_is_not_enough():
    twelve = "a baker sells 120 loaves on monday and half as many on"
    assert len(twelve.split()) == 12
    assert make(max_rouge_l=1.0).judge(f"Now {twelve} sunday. How many?").keep
    assert not make(max_rouge_l=1.0).judge(f"Now {twelve} tuesday. How many?").keep


def test_shared_last_words_count_only_when_they_are_enough():
    ending = " ".join(LONG.split()[-12:])
    assert make(max_rouge_l=1.0).judge(f"Seven shops close. {ending}").keep


def test_a_copy_with_other_numbers_is_near_and_refused():
    verdict = make(ngram=99).judge(LONG.replace("120", "250").replace("Monday", "Friday"))
    assert verdict.reason == "contamination"
    assert verdict.detail["rouge_l"] > 0.6
    assert (verdict.detail["evaluation_set"], verdict.detail["row"]) == ("bakery", 1)


def test_short_problems_are_guarded_by_their_likeness():
    assert make().judge("Compute $\\sin 60^\\circ$").detail["evaluation_set"] == "angles"
    assert make().judge("How many primes are there below 30?").keep


APPENDED = " Express your answer as a common fraction or an integer, in lowest terms."


@pytest.mark.parametrize(
    "problem",
    [
        "How many positive whole-number divisors does 196 have?",
        "Evaluate $(1+2i)6-3i$.",
        "Express $555_{10}$ in base $5$.",
    ],
)
def test_a_short_problem_is_found_inside_a_longer_text(problem):
    guard = ContaminationGuard({"held out": ["2 + 2", problem]}, ngram=13, max_rouge_l=0.7)
    for text in (problem + APPENDED, "Consider this one before the others. " + problem + APPENDED):
        verdict = guard.judge(text)
        assert verdict.reason == "contamination"
        assert (verdict.detail["row"], "shared" in verdict.detail) == (1, True)


def test_a_short_problem_with_other_operators_is_another_problem():
    guard = ContaminationGuard({"x": ["Compute $12 + 34 - 5$."]}, ngram=13, max_rouge_l=0.7)
    assert not guard.judge("Compute $12+34-5$." + APPENDED).keep
    assert guard.judge("Compute $12 - 34 + 5$." + APPENDED).keep


def test_a_problem_of_under_six_tokens_is_guarded_as_a_copy_alone():
    guard = ContaminationGuard({"x": ["What is 7 + 5?"]}, ngram=13, max_rouge_l=0.7)
    assert not guard.judge("what is 7+5").keep
    assert guard.judge("What is 7 + 5" + ", in the numeral system of base eight?" + APPENDED).keep


def test_the_filter_asks_the_guard_only_when_evaluation_sets_are_named():
    assert ProposalFilter().judge(LONG).keep
    assert ProposalFilter(contamination=SETS).judge(LONG).reason == "contamination"
    assert ProposalFilter(contamination={}).judge(LONG).keep


@pytest.mark.parametrize("text", ["", "...", "计算", "\ud800"])
def test_texts_without_tokens_are_kept(text):
    assert make().judge(text).keep
