"""Two votes on one question: the harmonic share of each answer, and its lead."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serl_trl.answers.views import vote_on_views

ANSWERS = st.lists(st.none() | st.sampled_from(["1", "2", "3"]), max_size=8)


def test_the_harmonic_share_by_hand():
    # 7: .75 and .25, so 2 * .1875 / 1 = .375; 8: .25 and .5, so 2 * .125 / .75 = 1/3.
    [found] = vote_on_views([(["7", "7", "7", "8"], ["7", "8", "8", None])])

    assert found.share == pytest.approx(0.375)
    assert found.margin == pytest.approx(0.375 - 1 / 3)
    assert found.answer == "7"
    assert [index == found.winner for index in found.classes] == [
        *(True, True, True, False),
        *(True, False, False, False),
    ]


def test_the_vote_of_both_together_may_have_another_winner():
    [found] = vote_on_views([(["1"] * 4 + ["2"] * 2, ["1"] * 0 + ["2"] * 2 + ["3"] * 4)])

    assert found.answer == "2"


@pytest.mark.parametrize(
    ("first", "second"),
    [(["1", "1"], ["2", "2"]), (["1", "2"], ["2", "1"]), ([], []), ([None], ["1"]), (["1"], [])],
)
def test_no_answer_wins_that_the_views_do_not_share_or_share_with_another(first, second):
    [found] = vote_on_views([(first, second)])

    assert (found.winner, found.answer, found.margin) == (None, None, 0.0)


def test_equal_answers_in_two_spellings_are_one_and_the_commoner_is_shown():
    [found] = vote_on_views([(["1/2", "0.5"], ["1/2"])])

    assert (found.answer, found.share, found.margin) == ("1/2", 1.0, 1.0)


@given(ANSWERS, ANSWERS)
def test_views_may_be_exchanged_and_shares_lie_in_0_1(first, second):
    [there], [back] = vote_on_views([(first, second)]), vote_on_views([(second, first)])

    assert 0 <= there.margin <= there.share <= 1
    assert (there.share, there.margin) == pytest.approx((back.share, back.margin))
    assert len(there.classes) == len(first) + len(second)
    if there.winner is not None:
        assert there.answer == back.answer


@given(st.lists(st.tuples(ANSWERS, ANSWERS), max_size=4))
def test_questions_do_not_touch_each_other(pairs):
    assert vote_on_views(pairs) == [vote_on_views([pair])[0] for pair in pairs]
