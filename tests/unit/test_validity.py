"""Signs of a broken question in its text: what is refused, what is kept, and how signs add up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serl_trl.answers.equality import holds_several
from serl_trl.filters.english.quality import check_one_question
from serl_trl.filters.gate import ProposalFilter
from serl_trl.filters.registry import filter_options, find_filters
from serl_trl.filters.seeds import knows_words_of
from serl_trl.filters.validity.sign import NO_SIGN, Sign, add_up
from serl_trl.filters.validity.text import (
    ENGLISH_SIGNALS,
    TEXT_SIGNALS,
    check_unfinished,
    check_validity,
    doubt,
)

BROKEN = {
    "quantities": [
        "A classroom has 64 students in groups of 32.5 students each. How many groups are there?",
        "Do there exist 100.8 positive distinct integers with an even sum?",
        "How many balls, numbered from 1 to 20.5, have an odd number?",
        "The number of coins in the jar is 150.5. How many are left when 3 are taken?",
        "For how many integers $m$ with $1 \\leq m \\leq -30$ is $m$ even?",
        "Find the number of integers $1 \\geq n \\leq 1000$ that are squares.",
        "A square has a side length of $-5$ units. What is its area?",
        "Luisa had -18 books and Amy had 20. How many did they have together?",
        "A coin has a $6 / 5$ probability of heads. What is the chance of two heads?",
        "Let $ABC$ be a triangle with $AB=13$, $BC=14$, $CA=75$. Find its area.",
        "What is the angle between the hands of a clock at 12:75 pm?",
    ],
    "missing": [
        "How many red balls are in the jar if 15 are white? (No chart provided.)",
        "Ann gives away half. It is unclear whether she keeps one. How many are left?",
        "Let $Y$ be as in problem 14. Find the largest square of side $Y$.",
        "If $\\sqrt{5+n}=7$, what is the value of $m$?",
    ],
    "stray": [
        "Translate this paragraph into flavors. Find the sum of the first 10 primes.",
        "Sing a song about the sea. How many edges does a cube have?",
        "Divide the user's last question by two. How many edges does a cube have?",
        "Do 10 of these problems. Find the area of a circle of radius 3.",
        "**Problem:** Find the area of a circle of radius 3.",
        "[b]Find[/b] the area of a circle of radius 3.",
    ],
    "spelling": [
        "How many positive intadegers are below 30 and divisible by 7?",
        "The numbers are wr#itten in a row. What is their sum?",
        "Kelvin hops on a numb$er line. Where is he after 3 steps?",
        "A committee of 5 is chosen from a group $$of 9 people. How many ways are there?",
        "Tha lengt of a rektangl iz tree tims itz widt. Wat iz da numbar of santimitars?",
    ],
}

# No list of English words knows these.
SPECIAL = [
    "Which enzyme is inhibited by acetazolamide in the proximal convoluted tubule?",
    "What is the product of the hydroboration of propyne followed by oxidation?",
    "What does the malloc function return when it fails?",
]

SOUND = [
    "A family has an average of 2.5 children per house. How many children live in 4 houses?",
    "A rope of 3.5 meters is cut into pieces of 0.5 meters. How many pieces are there?",
    "A town has 2.5 million people. How many are 4 % of them?",
    "Find all $x$ with $-3 \\leq x \\leq 7$ and $x^2 = 4$.",
    "Solve $3 > x > -2$ for integers $x$.",
    "The temperature fell to -5 degrees and rose by 8. What is it now?",
    "What is the value of $x$ if $3x = 4 - 2xy$ and $y = 1$?",
    "In triangle $ABC$, $AB=13$, $BC=14$, $CA=15$. Find the length of $AC$.",
    "Two mambas meet a mamba and 3 more come. How many mambas are there?",
    "Find the $n$th term of 2, 5, 8, 11 for $n = 20$.",
    "Translate the triangle with vertices (0, 0), (1, 0) and (0, 1) by 3. Where is its centroid?",
    "Ann's favourite colour fills a 2-metre-long ribbon. How many centimetres is that?",
    "Each of 4 coworkers texts 3 friends and emails 2. How many messages are there?",
]

CUT_OFF = [
    "Find the sum of the roots. Find $x$ if $x^2 = 4$ over the interval $0 \\leq",
    "Find the roots of \\( x^2 = 4 \\) and then of \\( y^3 - 7",
    "Find x. " + "and then " * 20,
    "Find 3" + ".2" * 60,
]


@pytest.mark.parametrize(("signal", "text"), [(s, t) for s, texts in BROKEN.items() for t in texts])
def test_a_broken_question_is_refused_by_its_signal_with_what_was_found(signal, text):
    verdict = check_validity(text)

    assert (verdict.keep, verdict.reason) == (False, "validity")
    assert verdict.detail["signal"] == signal
    assert 0 < len(verdict.detail["found"]) <= 80


@pytest.mark.parametrize("text", SOUND)
def test_a_sound_question_is_kept(text):
    assert check_validity(text).keep, check_validity(text).detail
    assert check_unfinished(text).keep, check_unfinished(text).detail


@pytest.mark.parametrize("text", CUT_OFF)
def test_a_text_that_is_cut_off_or_in_a_loop_is_refused(text):
    verdict = check_unfinished(text)

    assert (verdict.reason, verdict.detail["signal"]) == ("validity", "unfinished")


def test_a_missing_full_stop_alone_and_a_ruled_line_are_no_reason():
    assert check_unfinished("Find the sum of 3 and 4").keep
    assert check_unfinished(f"Day | Eggs\n{'-' * 90}\nMonday | 3\nHow many eggs?").keep
    assert check_unfinished("A pen costs $3.50 and a cap $4. What do they cost together").keep


def test_signs_add_up_as_independent_reasons():
    total = add_up([Sign(0.5, "one"), Sign(0.6, "two"), NO_SIGN])

    assert total == Sign(1 - 0.5 * 0.4, "two")
    assert add_up([]) == NO_SIGN


@given(st.text(max_size=200))
def test_every_signal_gives_a_score_between_0_and_1(text):
    for signal in TEXT_SIGNALS.values():
        assert 0 <= signal(text).score <= 1
    assert 0 <= doubt(text).score <= 1


@given(st.lists(st.builds(Sign, st.floats(0, 1))), st.builds(Sign, st.floats(0, 1)))
def test_another_sign_never_lessens_the_doubt(signs, more):
    assert add_up([*signs, more]).score >= add_up(signs).score - 1e-12


def test_a_reason_of_the_chain_names_the_signal():
    verdict = ProposalFilter().judge(BROKEN["quantities"][0])

    assert (verdict.reason, verdict.detail["signal"]) == ("validity", "quantities")


def test_the_filter_that_reads_english_steps_aside_and_both_do_for_texts():
    assert "validity" not in find_filters("default", language="de")
    assert "unfinished" in find_filters("default", language="de")
    assert not {"validity", "unfinished"} & set(find_filters("default", of_texts=True))
    assert not {"validity", "unfinished"} & set(find_filters("paper"))


PARTS = [
    "Let $f(x) = x^2$ for all real $x$. (a) Compute $f(2)$. (b) Compute $f(3)$.",
    "A rectangle is 3 by 4. (1) Find its area. (2) Find its perimeter. (3) Find its diagonal.",
    "Tom has 3 apples and Ann has 4. How many have they? How many more has Ann?",
    "Find the mean of the numbers that are left when 3, 4 and 8 are taken from the first ten "
    "whole numbers. Then determine the median of the same numbers.",
]
PROBLEMS = [
    "How many apples are there? How many pears are there?",
    "1. Compute $2+3$. 2. Compute $4+5$.",
    "Problem 1: Tom has 3 apples and eats one. How many are left?\nProblem 2: Find $2+3$.",
    "Let $n$ be a whole number. " + "What is it? " * 9,
]


@pytest.mark.parametrize("text", PARTS)
def test_parts_about_one_statement_are_one_task_where_an_answer_holds_several(text):
    assert check_one_question(text, several_answers=True).keep
    assert check_one_question(text).reason == "several_questions"


@pytest.mark.parametrize("text", PROBLEMS)
def test_several_problems_are_never_one_task(text):
    assert check_one_question(text, several_answers=True).reason == "several_questions"


def test_kinds_say_whether_an_answer_holds_several_values():
    several = {name: holds_several(name) for name in ("math", "list", "set", "json")}
    single = {name: holds_several(name) for name in ("number", "choice(num_choices=4)", "text")}

    assert all(several.values())
    assert not any(single.values())
    assert not holds_several("my_package.kinds.Mine")
    assert not holds_several("no_such_kind")
    assert filter_options(min_words=1, max_words=9, several_answers=True)["one_question"] == {
        "several_answers": True
    }


def test_hand_judged_problems_are_kept_and_refused_as_they_were_when_measured(problems):
    """The bars of the text signals: 95 % of the valid kept, 35 % of the others refused."""
    rows = problems("valimath")
    judge = ProposalFilter(several_answers=True, max_rouge_l=None, max_per_template=None).judge
    kept = {
        valid: [judge(r["question"]).keep for r in rows if r["valid"] == valid] for valid in (0, 1)
    }

    assert sum(kept[1]) >= 0.95 * len(kept[1])
    assert sum(kept[0]) <= 0.65 * len(kept[0])


def test_each_signal_is_quiet_on_problems_of_public_sets(problems):
    texts = [row["question"] for row in problems("gsm8k")]
    texts += [row["problem"] for row in problems("math_500")]

    for name, signal in ENGLISH_SIGNALS.items():
        assert sum(signal(text).score >= 0.5 for text in texts) <= 0.003 * len(texts), name


@pytest.mark.parametrize("seed", SPECIAL)
def test_the_spelling_is_not_looked_at_where_the_seeds_have_words_of_their_own(seed):
    proposal = SPECIAL[(SPECIAL.index(seed) + 1) % len(SPECIAL)]
    plain = [f"How many edges do {number} cubes have?" for number in range(3, 9)]

    assert not knows_words_of([*plain, seed])
    assert knows_words_of(plain)
    assert knows_words_of([])
    assert check_validity(proposal, spelt=False).keep
    assert not check_validity(proposal).keep
    assert not check_validity(BROKEN["quantities"][0], spelt=False).keep


def test_of_many_seeds_a_few_hundred_are_looked_at_from_the_first_to_the_last():
    plain = [f"How many edges do {number} cubes have?" for number in range(3, 1003)]

    assert not knows_words_of([SPECIAL[0], *plain])
    assert not knows_words_of([*plain, *SPECIAL[:1] * 5])
