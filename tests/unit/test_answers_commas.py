"""A comma between digits is a decimal comma where every answer of a group writes it so."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serl_trl.answers import extract_answer, group_answers, same_answer
from serl_trl.common.completion import Completion
from serl_trl.labels.ballots import count_ballots
from serl_trl.measure.figures import grade

NUMBERS = ["3,5", "3,50", "7/2", "-3,5", "-\\frac{7}{2}", "0,25", "1/4", "12", "12,0", "0,125"]
LISTS = ["1, 2", "(1,2)", "2 \\text{ and } 1", "\\{1,2\\}", "1,2,3", "3.5", "1,500", "x=1,x=2"]


def completion(answer):
    return Completion(f"\\boxed{{{answer}}}", [1], truncated=False)


@pytest.mark.parametrize(
    ("answers", "classes"),
    [
        (["3,5", "3,50", "7/2"], [0, 0, 0]),
        (["-0,5", "-0,50", "-1/2", "2"], [0, 0, 0, 1]),
        (["3,5 \\text{ cm}", "$3,50$", "7/2", "4"], [0, 0, 0, 1]),
        (["12,5\\%", "12,50\\%", "1/8"], [0, 0, 0]),
        (["3,5", "3,5", "7/2", None], [0, 0, 0, None]),
        (["3,5", "7/2", "7/2"], [1, 0, 0]),  # one alone is no custom
        (["3,5", "3,50", "3.5"], [1, 2, 0]),  # somebody uses a point
        (["3,5", "3,5", "3,50", "3, 5"], [0, 0, 1, 0]),  # a list is in the group
        (["1,2", "1,2", "2,1", "6/5"], [0, 0, 0, 1]),  # the same two numbers in another order
        (["1,2", "1,20", "1 \\text{ or } 2"], [0, 1, 0]),
        (["1,2", "1,20", "(1,2)"], [2, 1, 0]),
        (["1,500", "1,50", "3/2"], [1, 0, 2]),  # 1,500 may be fifteen hundred
        (["1,500", "1,500", "1500"], [0, 0, 0]),
    ],
)
def test_a_group_decides_what_its_commas_are(answers, classes):
    found = group_answers(answers)
    pairs = [(i, j) for i in range(len(found)) for j in range(i)]
    assert [found[i] == found[j] for i, j in pairs] == [classes[i] == classes[j] for i, j in pairs]
    assert [index is None for index in found] == [index is None for index in classes]


def test_two_answers_are_a_group_of_their_own():
    assert same_answer("3,5", "3,50")
    assert not same_answer("3,5", "3.5")
    assert not same_answer("3,5", "7/2")
    assert same_answer("1,2", "2,1")
    assert not same_answer("1,2", "1.2")


def test_numbers_have_decimal_commas_too():
    assert group_answers(["3,5", "3,50", "7/2"], kind="number") == [0, 0, 0]
    assert group_answers(["3,5", "7/2"], kind="number") == [None, 0]


@pytest.mark.parametrize("gold", ["3.5", "3,5", "7/2"])
def test_a_gold_answer_follows_the_commas_of_the_group(gold):
    answers = ["3,5", "3,50", "35"]
    ballot = count_ballots([[completion(a) for a in answers]], [gold], kind="math")[0]
    assert (ballot.right, ballot.vote.classes) == ([True, True, False], [0, 0, 1])
    graded = grade("i", gold, answers, truncated=[False] * 3, lengths=[1] * 3)
    assert graded.num_right == 2


@pytest.mark.parametrize("gold", ["1, 2", "2,1", "1 \\text{ and } 2", "\\{2,1\\}"])
def test_a_gold_list_keeps_lists(gold):
    ballot = count_ballots([[completion("1,2"), completion("1,2")]], [gold], kind="math")[0]
    assert ballot.right == [True, True]


@given(st.lists(st.sampled_from(NUMBERS + LISTS), max_size=8), st.randoms())
def test_classes_are_those_of_the_whole_group_in_any_order(answers, random):
    classes = dict(zip(answers, group_answers(answers), strict=True))
    random.shuffle(answers)
    assert dict(zip(answers, group_answers(answers), strict=True)) == classes


@given(st.lists(st.sampled_from(NUMBERS), max_size=6))
def test_commas_among_numbers_read_as_points(answers):
    answers += ["3,5", "0,25"]
    pointed = [answer.replace(",", ".") for answer in answers]
    assert group_answers(answers) == group_answers(pointed)


def test_extraction_keeps_the_comma():
    assert extract_answer("\\boxed{3,5}") == "3,5"
