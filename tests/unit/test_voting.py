"""The vote: hand-computed groups, ties, bounds."""

import time
from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serl_trl.answers.verifier import Verifier
from serl_trl.answers.voting import Vote, majority_vote, vote_groups
from serl_trl.labels.band import in_band

PLAIN = st.lists(st.none() | st.sampled_from(["1", "2", "3", "1.0", "4/2"]), max_size=16)


def test_a_group_counted_by_hand():
    vote = majority_vote(["1/2", "3", None, "0.5", "0.5", "7", "3.0", None])
    assert asdict(vote) == {
        "answer": "0.5",
        "majority_ratio": 3 / 8,
        "rewards": [1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0],
        "num_classes": 3,
        "num_unparsable": 2,
        "counts": (("0.5", 3), ("3", 2), ("7", 1)),
        "runner_up": "3",
        "margin": 1 / 8,
        "tied": False,
        "classes": [0, 1, None, 0, 0, 2, 1, None],
    }


def test_a_tie_for_first_place_has_no_majority_answer():
    vote = majority_vote(["1", "2", "2", "1", "3", None])
    assert vote.answer is None
    assert vote.tied
    assert vote.rewards == [0.0] * 6
    assert vote.majority_ratio == 2 / 6
    assert vote.margin == 0.0


def test_a_tie_for_second_place_is_none_for_first():
    vote = majority_vote(["1", "1", "1", "2", "2", "3", "3"])
    assert (vote.answer, vote.tied) == ("1", False)


def test_a_tie_may_be_broken_by_mean_log_probabilities():
    answers = ["1", "2", "2", "1", "3", None]
    log_probs = [-0.9, -0.5, -0.6, -0.3, -0.1, 0.0]
    vote = majority_vote(answers, log_probs=log_probs)
    assert vote.answer == "2"  # -0.55 against -0.6
    assert vote.rewards == [0.0, 1.0, 1.0, 0.0, 0.0, 0.0]
    assert not vote.tied
    assert vote.counts[0] == ("2", 2)


def test_equal_means_leave_the_tie():
    vote = majority_vote(["1", "2", "2", "1"], log_probs=[-0.1, -0.2, -0.3, -0.4])
    assert vote.tied
    assert vote.answer is None


def test_log_probabilities_do_not_overrule_votes():
    vote = majority_vote(["1", "1", "2"], log_probs=[-9.0, -9.0, -0.1])
    assert vote.answer == "1"


def test_log_probabilities_must_fit():
    with pytest.raises(ValueError, match="2 log_probs do not fit 4 answers"):
        majority_vote(["1", "1", "2", "2"], log_probs=[-1.0, -2.0])


def test_one_vote_is_no_majority():
    vote = majority_vote([None, "5", None])
    assert vote.answer is None
    assert vote.rewards == [0.0, 0.0, 0.0]
    assert not vote.tied
    assert vote.majority_ratio == 1 / 3
    assert majority_vote(["1", "2"], log_probs=[-1.0, -2.0]).answer is None


@pytest.mark.parametrize("answers", [[], [None], [None] * 16])
def test_without_a_parsable_answer_there_is_no_group(answers):
    vote = majority_vote(answers)
    assert vote.answer is None
    assert vote.majority_ratio == 0.0
    assert vote.rewards == [0.0] * len(answers)
    assert vote.num_unparsable == len(answers)
    assert vote.counts == ()
    assert vote.runner_up is None
    assert not vote.tied


def test_what_is_no_answer_of_the_kind_is_unparsable():
    vote = majority_vote(["5", "five", "5.0", None], kind="number")
    assert vote.num_unparsable == 2
    assert vote.majority_ratio == 0.5
    assert vote.rewards == [1.0, 0.0, 1.0, 0.0]


def test_the_commonest_spelling_stands_for_a_class():
    assert majority_vote(["0.5", "1/2", "1/2"]).answer == "1/2"
    assert majority_vote(["\\frac12", "1/2", "0.5"]).answer == "0.5"


def test_groups_are_voted_on_apart():
    groups = [["1", "1", "2"], ["2", "2", "1"], [], ["1", None]]
    assert vote_groups(groups) == [majority_vote(group) for group in groups]
    log_probs = [[-1.0, -2.0]] * 2
    votes = vote_groups([["1", "2"], ["2", "2"]], log_probs=log_probs)
    assert [vote.answer for vote in votes] == [None, "2"]


def test_a_vote_survives_json():
    vote = majority_vote(["1", "1", "2"])
    assert Vote(**asdict(vote)) == vote


def test_plain_numbers_take_milliseconds_and_no_worker():
    groups = [[str(number * (k % 4)) for k in range(16)] for number in range(1, 101)]
    with Verifier(batch_s=600) as verifier:
        best = min(timed(groups, verifier) for _ in range(3))
        assert verifier.stats()["worker_starts"] == 0
    assert best / len(groups) < 0.03


def timed(groups, verifier):
    begin = time.process_time()
    vote_groups(groups, verifier=verifier)
    return time.process_time() - begin


@given(PLAIN, st.randoms(use_true_random=False))
def test_the_vote_ignores_the_order_of_completions(answers, rnd):
    order = list(range(len(answers)))
    rnd.shuffle(order)
    vote, other = majority_vote(answers), majority_vote([answers[i] for i in order])
    assert other.rewards == [vote.rewards[i] for i in order]
    assert (other.answer, other.majority_ratio, other.counts) == (
        vote.answer,
        vote.majority_ratio,
        vote.counts,
    )


@given(PLAIN)
def test_the_vote_keeps_its_bounds(answers):
    vote = majority_vote(answers)
    assert 0 <= vote.margin <= vote.majority_ratio <= 1
    assert set(vote.rewards) <= {0.0, 1.0}
    assert len(vote.rewards) == len(vote.classes) == len(answers)
    assert sum(count for _, count in vote.counts) + vote.num_unparsable == len(answers)
    assert (vote.answer is None) == (sum(vote.rewards) == 0)
    if vote.answer is not None:
        assert sum(vote.rewards) == vote.majority_ratio * len(answers) >= 2


@pytest.mark.parametrize(
    ("ratio", "inside"),
    [(0.2, True), (0.8, True), (0.19, False), (0.81, False), (0.5, True), (0.1 + 0.1, True)],
)
def test_the_band_includes_both_ends(ratio, inside):
    assert in_band(ratio, low=0.2, high=0.8) == inside


@given(st.integers(1, 64), st.data())
def test_the_band_includes_its_ends_for_every_group_size(size, data):
    low = data.draw(st.integers(0, size))
    high = data.draw(st.integers(low, size))
    share = 1 / size
    assert in_band(sum([share] * low), low=low / size, high=high / size)
    assert in_band(high * share, low=low / size, high=high / size)
