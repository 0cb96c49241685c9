"""pass@k, maj@k and intervals against brute force."""

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serl_trl.evaluation import Measurement, bootstrap, grade, majority_right, pass_at_k


def graded(answers, *, gold="7", greedy=()):
    n = len(answers)
    return grade("How many?", gold, answers, truncated=[False] * n, lengths=[3] * n, greedy=greedy)


@given(st.lists(st.booleans(), min_size=1, max_size=8), st.data())
def test_pass_at_k_equals_the_share_of_subsets_with_a_right_one(right, data):
    k = data.draw(st.integers(1, len(right)))
    subsets = list(combinations(right, k))
    brute = sum(any(subset) for subset in subsets) / len(subsets)
    assert pass_at_k(len(right), sum(right), k) == pytest.approx(brute)


@pytest.mark.parametrize("k", [0, 5])
def test_pass_at_k_refuses_a_k_outside_the_samples(k):
    with pytest.raises(ValueError, match=f"k={k} must lie in"):
        pass_at_k(4, 2, k)


def test_unparsable_answers_count_as_wrong():
    summary = Measurement((graded([None, None, "7", "8"]),), 4).summary()
    assert summary["pass@1"] == 0.25
    assert summary["unparsable_rate"] == 0.5


def test_a_model_that_never_answers_scores_zero():
    summary = Measurement((graded([None] * 4),), 4).summary()
    assert [summary[name] for name in ("pass@1", "maj@4", "pass@4")] == [0.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("answers", "share"),
    [(["7", "7", "8"], 1.0), (["7", "8"], 0.5), (["8", "8", "7"], 0.0), (["7", "8", "9"], 1 / 3)],
)
def test_a_tie_for_the_majority_counts_its_share(answers, share):
    assert majority_right(graded(answers)) == pytest.approx(share)


def test_greedy_is_graded_apart_from_the_samples():
    measured = Measurement((graded(["8", "8"], greedy=["7"]),), 2)
    assert measured.summary()["greedy"] == 1.0
    assert measured.summary()["pass@1"] == 0.0


def test_a_gold_that_is_no_answer_is_the_users_mistake():
    with pytest.raises(ValueError, match="gold='' is no answer"):
        graded(["7"], gold="")


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_the_interval_holds_the_mean_and_stays_in_range(values):
    interval = bootstrap(values, num_resamples=200)
    assert min(values) - 1e-9 <= interval.low <= interval.high <= max(values) + 1e-9
    assert interval.low <= interval.mean + 1e-9


def test_intervals_repeat_for_the_same_seed():
    values = [0.0, 1.0, 0.5, 0.25]
    assert bootstrap(values, seed=3) == bootstrap(values, seed=3)
