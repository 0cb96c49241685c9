"""pass@k, maj@k and intervals against brute force."""

from collections import Counter
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serl_trl.common.completion import Completion
from serl_trl.measure.figures import (
    Attempts,
    Measurement,
    bootstrap,
    grade,
    grade_attempts,
    maj_at_k,
    majority_right,
    pass_at_k,
)


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


def brute_majority(answers, gold):
    counts = Counter(answer for answer in answers if answer is not None)
    most = max(counts.values(), default=0)
    winners = [answer for answer, count in counts.items() if count == most]
    return (gold in winners) / len(winners) if winners else 0.0


@given(st.lists(st.sampled_from(["7", "8", "9", "10", None]), min_size=1, max_size=9), st.data())
def test_maj_at_k_equals_the_mean_over_all_subsets(answers, data):
    k = data.draw(st.integers(1, len(answers)))
    subsets = list(combinations(answers, k))
    brute = sum(brute_majority(subset, "7") for subset in subsets) / len(subsets)
    assert maj_at_k(graded(answers), k) == pytest.approx(brute)


@given(st.lists(st.sampled_from(["7", "8", "9", None]), min_size=1, max_size=9))
def test_maj_at_1_is_pass_at_1_and_maj_at_n_the_majority(answers):
    one = graded(answers)
    assert maj_at_k(one, 1) == pytest.approx(one.num_right / len(answers))
    assert majority_right(one) == pytest.approx(brute_majority(answers, "7"))


@pytest.mark.parametrize("k", [0, 3])
def test_maj_at_k_refuses_a_k_outside_the_samples(k):
    with pytest.raises(ValueError, match=f"k={k} must lie in"):
        maj_at_k(graded(["7", "8"]), k)


def test_maj_at_k_of_many_samples_costs_no_time():
    answers = ["7"] * 20 + [str(n) for n in range(100, 130)] * 2
    assert 0 < maj_at_k(graded(answers), 40) <= 1


def completion(text, *, truncated=False):
    return Completion(text, [0] * len(text.split()), truncated)


def test_completions_of_many_problems_are_graded_as_one_by_one():
    samples = ("so \\boxed{1/2}", "it is \\boxed{0.5}", "hm", "\\boxed{3}")
    attempts = [
        Attempts("Half?", gold, tuple(map(completion, samples)), completion("\\boxed{3}"))
        for gold in ("0.5", "3")
    ]
    half, three = grade_attempts(attempts)
    assert (half.num_right, three.num_right) == (2, 1)
    assert (half.greedy_right, three.greedy_right) == (False, True)
    assert half == grade(
        "Half?",
        "0.5",
        ["1/2", "0.5", None, "3"],
        truncated=[False] * 4,
        lengths=[2, 3, 1, 1],
        greedy=["3"],
    )


def test_a_truncated_completion_has_no_answer():
    cut = completion("\\boxed{7} and", truncated=True)
    (one,) = grade_attempts([Attempts("How many?", "7", (cut,), cut)])
    assert (one.answers, one.num_right, one.greedy_right) == ((None,), 0, False)
    assert one.truncated == (True,)


def test_further_k_are_measured_beside_n():
    names = Measurement((graded(["7", "8", "7", "9"]),), 4, ks=(1, 2)).summary()
    assert {"pass@1", "pass@2", "maj@2", "pass@4", "maj@4"} <= set(names)
    assert "maj@1" not in names


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
    with pytest.raises(ValueError, match="gold='' is not an answer"):
        graded(["7"], gold="")


@pytest.mark.parametrize("answers", [["7"] * 500 + ["8"] * 300 + [None] * 300, ["7", "8"] * 550])
def test_maj_at_k_of_half_of_a_thousand_samples_is_no_overflow(answers):
    assert 0 < maj_at_k(graded(answers), 550) <= 1


def test_maj_at_k_of_all_of_many_samples_is_the_majority_and_takes_no_time():
    answers = [str(n) for n in range(40)] * 25 + ["7"]
    assert maj_at_k(graded(answers), len(answers)) == 1.0


@pytest.mark.parametrize(("values", "mean"), [([], 0.0), ([0.5], 0.5)])
def test_fewer_than_two_problems_have_no_interval(values, mean):
    found = bootstrap(values)
    assert (found.mean, found.low, found.high, found.bounds()) == (mean, None, None, "-")


@given(st.lists(st.floats(0, 1), min_size=2, max_size=30))
def test_the_interval_holds_the_mean_and_stays_in_range(values):
    interval = bootstrap(values, num_resamples=200)
    assert min(values) - 1e-9 <= interval.low <= interval.high <= max(values) + 1e-9
    assert interval.low <= interval.mean + 1e-9


def test_intervals_repeat_for_the_same_seed():
    values = [0.0, 1.0, 0.5, 0.25]
    assert bootstrap(values, seed=3) == bootstrap(values, seed=3)
