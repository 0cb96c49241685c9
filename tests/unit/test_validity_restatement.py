"""Restatements: which of them keep a question's numbers and names."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serl_trl.common.completion import Completion
from serl_trl.filters.validity.restatement import (
    keeps_sense,
    names_of,
    numbers_of,
    read_restatement,
    restate,
)

APPLES = "Ann has 3 apples and buys 4 more. How many apples does Ann have now?"
AGAIN = "There are 3 apples with Ann. She gets 4 more. How many apples is that?"


@pytest.mark.parametrize(
    "other",
    [
        AGAIN,
        "Ann has three apples, then buys four. How many apples are there?",
        "How many apples does ANN have, with 3 of her own and 4 from the shop?",
    ],
)
def test_other_words_with_the_same_numbers_and_names_keep_the_sense(other):
    assert keeps_sense(APPLES, other)


@pytest.mark.parametrize(
    ("other", "why"),
    [
        ("Bob has 3 apples and buys 4 more. How many apples does Bob have?", "another name"),
        ("Ann has 3 apples and buys 5 more. How many apples does Ann have?", "another number"),
        ("Ann has 3 apples and buys more. How many apples does Ann have?", "a number is missing"),
        ("Ann has 3 apples, buys 4, eats 2. How many apples has Ann?", "a number is added"),
        ("Ann has 3 apples and buys 4 more.", "nothing is asked"),
        ("ann has 3 apples and buys 4 more; how many apples does ann have now", "a copy"),
        (f"{AGAIN} Answer: 7", "its answer is there"),
        (AGAIN + " Ann likes apples." * 20, "far longer"),
        ("", "nothing"),
    ],
)
def test_what_does_not_keep_the_sense_is_dropped(other, why):
    assert not keeps_sense(APPLES, other), why


def test_other_names_may_be_allowed_but_not_other_numbers():
    bob = "Bob has 3 pears and gets 4 more. How many pears does Bob have now?"

    assert keeps_sense(APPLES, bob, keep_names=False)
    assert not keeps_sense(APPLES, bob.replace("4", "5"), keep_names=False)
    assert read_restatement(APPLES, Completion(bob, [0], False), keep_names=False) == bob


def test_texts_that_ask_nothing_may_be_restated_without_asking():
    assert keeps_sense("A dull film about Rome.", "This film on Rome is dull.")


def test_names_are_capitals_within_a_sentence_letters_alone_and_unknown_first_words():
    found = names_of("Each of Ann's 2 dogs is fed. Zorka has x kg. In London AB = 5. I see.")

    assert found == {"ann", "zorka", "x", "london", "ab"}


def test_first_words_of_other_languages_name_nothing():
    assert names_of("Ein Zug fährt nach Berlin. Wie weit ist das?") == {"zug", "berlin"}


def test_numbers_in_words_and_with_commas_are_numbers():
    assert numbers_of("1,000 and 2.5 and Twelve") == {"1000", "2.5", "12"}


@pytest.mark.parametrize(
    ("text", "truncated", "found"),
    [
        (f"Here is the problem in other words:\n\n{AGAIN}", False, AGAIN),
        (AGAIN, True, None),
        (f"1. {AGAIN}\n2. {AGAIN}", False, None),
        ("\\boxed{7}", False, None),
    ],
)
def test_the_restatement_in_a_completion_is_read(text, truncated, found):
    assert read_restatement(APPLES, Completion(text, [0], truncated)) == found


def test_the_first_restatement_that_keeps_the_sense_counts_and_all_are_asked_for_in_one_call():
    calls = []
    written = iter(["Bob?", AGAIN, f"So: {AGAIN}", "no", "no", "no"])

    def complete(prompts, sampling=None):
        calls.append([prompt[0]["content"] for prompt in prompts])
        return [Completion(next(written), [0], False) for _ in prompts]

    assert restate([APPLES, "What is 2 + 2?"], complete, text="Again.", tries=3) == [AGAIN, None]
    assert calls == [[f"{APPLES}\nAgain."] * 3 + ["What is 2 + 2?\nAgain."] * 3]


@given(st.text(), st.text(), st.booleans())
def test_whatever_is_written_is_read_and_a_text_never_restates_itself(instruction, text, cut):
    read_restatement(instruction, Completion(text, [0], cut))
    assert not keeps_sense(text, text)
