"""What random votes agree on, and the band that follows from it."""

from collections import Counter
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serl_trl.answers import get_kind
from serl_trl.answers.equality import known_labels
from serl_trl.labels.band import reachable_votes
from serl_trl.labels.chance import ends_of, find_band, majority_at_most, noise_in_band


def mean_ratio(votes: int, labels: int) -> float:
    """The mean majority ratio: the sum of the chances that more than k votes agree, over votes."""
    return sum(1 - majority_at_most(k, votes=votes, labels=labels) for k in range(votes)) / votes


def test_three_votes_on_two_labels_worked_by_hand():
    # Of the 8 ways 2 are unanimous and 6 are two against one.
    assert majority_at_most(1, votes=3, labels=2) == 0
    assert majority_at_most(2, votes=3, labels=2) == pytest.approx(6 / 8)
    assert majority_at_most(3, votes=3, labels=2) == pytest.approx(1)
    assert noise_in_band(votes=3, labels=2, low=0.2, high=0.8) == pytest.approx(6 / 8)
    assert mean_ratio(3, 2) == pytest.approx((6 * 2 + 2 * 3) / (8 * 3))


@given(st.integers(1, 6), st.integers(1, 4))
def test_chances_are_those_of_all_ways_to_vote(votes, labels):
    ways = Counter(max(Counter(way).values()) for way in product(range(labels), repeat=votes))

    for most in range(votes + 1):
        wanted = sum(num for size, num in ways.items() if size <= most) / labels**votes
        assert majority_at_most(most, votes=votes, labels=labels) == pytest.approx(wanted)


@pytest.mark.parametrize(("labels", "mean"), [(2, 0.60), (4, 0.38), (5, 0.34)])
def test_sixteen_random_votes_agree_more_than_one_in_all_labels(labels, mean):
    assert mean_ratio(16, labels) == pytest.approx(mean, abs=0.005)


@pytest.mark.parametrize(("labels", "low", "share"), [(4, 0.4, 0.31), (2, 0.2, 0.98)])
def test_a_band_that_begins_low_lets_pure_noise_pass(labels, low, share):
    found = noise_in_band(votes=16, labels=labels, low=low, high=0.8)
    assert found == pytest.approx(share, abs=0.006)


def test_what_cannot_be_read_counts_in_the_ratio_of_noise():
    band = {"votes": 16, "labels": 2, "low": 0.75, "high": 0.875}
    # Unanimous groups of 12 have the 12 votes that the band asks for; 2 of 4,096 are.
    assert noise_in_band(**band, read=12) == pytest.approx(2 / 4096)
    assert noise_in_band(**band, read=11) == noise_in_band(**band, read=0) == 0
    assert noise_in_band(**band, read=16) == noise_in_band(**band)


@given(st.integers(2, 64), st.integers(1, 30), st.floats(0, 1), st.floats(0, 1))
def test_the_share_of_noise_is_a_share_and_grows_with_the_band(votes, labels, low, high):
    narrow = noise_in_band(votes=votes, labels=labels, low=low, high=high)

    assert 0 <= narrow <= 1 + 1e-9
    assert narrow <= noise_in_band(votes=votes, labels=labels, low=low / 2, high=1) + 1e-9


def test_thousands_of_votes_are_no_burden():
    assert majority_at_most(4096, votes=4096, labels=26) == pytest.approx(1)


@pytest.mark.parametrize(
    ("votes", "labels", "low", "high"),
    [(16, 2, 12 / 16, 0.875), (16, 3, 9 / 16, 0.8), (16, 4, 8 / 16, 0.8), (8, 2, 7 / 8, 15 / 16)],
)
def test_the_lower_end_is_the_95th_percentile_of_chance(votes, labels, low, high):
    ends = find_band(None, None, votes=votes, labels=labels)

    assert (ends.low, ends.high, ends.derived) == (low, high, True)
    at = round(low * votes)
    assert majority_at_most(at, votes=votes, labels=labels) >= 0.95
    assert majority_at_most(at - 1, votes=votes, labels=labels) < 0.95


@given(st.integers(3, 64), st.integers(2, 30))
def test_the_band_by_chance_keeps_some_group_and_none_that_is_unanimous(votes, labels):
    ends = find_band(None, None, votes=votes, labels=labels)

    inside = reachable_votes(votes, low=ends.low, high=ends.high)
    assert inside
    assert inside[-1] < votes
    assert ends.low >= 0.2


def test_a_band_of_the_user_stays_and_an_open_kind_has_the_papers():
    assert find_band(0.3, None, votes=16, labels=2) == find_band(0.3, 0.8, votes=16, labels=None)
    assert not find_band(None, 0.9, votes=16, labels=2).derived
    open_ended = find_band(None, None, votes=16, labels=None)
    assert (open_ended.low, open_ended.high) == (0.2, 0.8)
    options = {"difficulty_low": None, "num_generations": 16, "answer_kind": "label"}
    assert ends_of(options).low == 0.75
    assert ends_of({**options, "difficulty_low": 0.1}).low == 0.1


def test_kinds_say_which_answers_they_know():
    assert known_labels("label") == ("yes", "no")
    assert known_labels("label(labels=['ja', 'nein'])") == ("ja", "nein")
    assert known_labels("choice(num_choices=3)") == ("A", "B", "C")
    for open_ended in ("choice", "math", "nonsense", "my_package.kinds.Mine(a=1)"):
        assert known_labels(open_ended) is None


def test_a_letter_behind_the_last_choice_is_no_answer():
    kind = get_kind("choice(num_choices=4)")

    assert kind.canonical("D") == "D"
    assert kind.canonical("E") is None
    assert kind.canonical("A and E") is None
    with pytest.raises(ValueError, match="num_choices=1 must be from 2 to 26"):
        get_kind("choice(num_choices=1)")


def test_a_list_of_labels_is_enough():
    kind = get_kind("label(labels=['Lob', 'Tadel'])")

    assert kind.canonical("lob, weil es gelang") == "lob"
    assert kind.canonical("ja") is None
