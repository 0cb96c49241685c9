"""What is known about the labels, by hand, against brute force, and in simulation."""

import random
from collections import Counter
from fractions import Fraction
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serl_trl.answers.voting import majority_vote
from serl_trl.loop.label_trust import (
    CheckedLabel,
    SplitHalf,
    calibration_error,
    check_label,
    estimate_label_accuracy,
    probe_metrics,
    reliability_curve,
    reward_gap,
    split_half,
    split_half_error_bound,
)

CLASSES = st.lists(st.none() | st.integers(0, 3), min_size=1, max_size=8)
LABELS = st.lists(
    st.builds(
        CheckedLabel,
        majority_ratio=st.integers(2, 8).map(lambda votes: votes / 8),
        right=st.booleans(),
        reward_accuracy=st.just(0.5),
    ),
    min_size=1,
    max_size=30,
)
RATIOS = st.lists(st.integers(1, 16).map(lambda votes: votes / 16), min_size=1, max_size=30)


def label(majority_ratio: float, right: bool) -> CheckedLabel:
    return CheckedLabel(majority_ratio, right, 0.5)


def winner(classes) -> int | None:
    """The vote's rules once more, in their plainest form."""
    counts = Counter(c for c in classes if c is not None)
    best = [c for c, count in counts.items() if count == max(counts.values())]
    return best[0] if len(best) == 1 and counts[best[0]] >= 2 else None


def halved(classes) -> SplitHalf:
    counts = Counter(c for c in classes if c is not None)
    return split_half(tuple(counts.values()), num_unparsable=classes.count(None))


def test_a_label_is_checked_by_the_rules_of_the_vote():
    # Majority 0 has 3 of 5; gold is 1. Right rewards: the completion without an answer only.
    assert check_label([0, 0, 0, 1, None], 1) == CheckedLabel(0.6, False, 0.2)
    assert check_label([0, 0, 0, 1, None], 0) == CheckedLabel(0.6, True, 1.0)
    # Gold that nobody wrote: a wrong label, whose rewards are wrong for its own members only.
    assert check_label([0, 0, 1, 2], 9) == CheckedLabel(0.5, False, 0.5)


@pytest.mark.parametrize("classes", [[], [0], [None, None], [0, 0, 1, 1], [0, 1, None]])
def test_a_group_without_a_majority_answer_has_no_label_to_check(classes):
    assert check_label(classes, 0) is None


@given(CLASSES)
def test_labels_are_checked_where_the_vote_gives_one(classes):
    vote = majority_vote([None if c is None else str(c) for c in classes])
    checked = check_label(classes, 0)
    assert (checked is None) == (vote.answer is None)
    if checked is not None:
        assert checked.right == (vote.answer == "0")
        assert checked.majority_ratio == vote.majority_ratio


def test_the_reliability_curve_by_hand():
    curve = reliability_curve(
        [label(0.5, True), label(0.5, False), label(0.75, True), label(1.0, True)], num_bins=4
    )
    # A ratio on a border is in the upper bin, and 1.0 in the last one with 0.75.
    assert [(b.num_labels, b.majority_ratio, b.accuracy) for b in curve] == [
        (2, 0.5, 0.5),
        (2, 0.875, 1.0),
    ]
    # Wilson for 1 of 2 and 2 of 2 at z = 1.96.
    assert [round(bound, 3) for b in curve for bound in (b.low, b.high)] == [0.095, 0.905, 0.342, 1]


def test_the_calibration_error_weighs_the_gaps_by_their_labels():
    labels = [label(0.5, True), label(0.5, False), label(1.0, True), label(1.0, False)]
    assert calibration_error(labels) == 0.25
    assert calibration_error(labels[:2]) == 0.0
    assert calibration_error([]) == 0.0
    assert reliability_curve([]) == []


@pytest.mark.parametrize("votes", range(1, 11))
def test_ratios_of_whole_tenths_each_have_a_bin(votes):
    curve = reliability_curve([label(votes / 10, True), label(votes / 10 - 0.05, True)])
    assert len(curve) == (1 if votes == 10 else 2)


@given(LABELS, st.randoms())
def test_the_curve_and_its_error_keep_bounds_and_ignore_order(labels, rnd):
    curve = reliability_curve(labels)
    assert sum(b.num_labels for b in curve) == len(labels)
    assert all(0 <= b.low <= b.accuracy <= b.high <= 1 for b in curve)
    assert 0 <= calibration_error(labels) <= 1
    assert reliability_curve(rnd.sample(labels, len(labels))) == curve


def test_the_estimate_reads_the_fitted_curve_at_the_groups_ratios():
    labels = [label(0.5, True), label(0.5, False), label(1.0, True), label(1.0, True)]
    # 0.5 -> 1/2, 1.0 -> 1, 0.75 half way between, 0.25 like the nearest.
    for ratios, value in ([0.5], 0.5), ([0.75], 0.75), ([0.25], 0.5), ([0.5, 0.75, 1.0], 0.75):
        assert estimate_label_accuracy(labels, ratios, rng=random.Random(0)).value == value


def test_a_fall_of_the_curve_is_pooled():
    labels = [label(0.5, True), label(0.75, False), label(0.75, False), label(1.0, True)]
    estimate = estimate_label_accuracy(labels, [0.5, 0.75], rng=random.Random(0))
    assert estimate.value == pytest.approx(1 / 3)


def test_few_labels_that_are_all_alike_leave_room_for_others():
    right, wrong = (
        estimate_label_accuracy([label(0.5, same)] * 5, [0.5] * 50, rng=random.Random(0))
        for same in (True, False)
    )
    assert right.value == 1.0
    assert 0.3 < right.low < 0.7
    assert wrong.value == 0.0
    assert 0.3 < wrong.high < 0.7


def test_beyond_the_ratios_of_the_probe_the_interval_takes_all_that_may_be():
    labels = [label(0.5, True), label(0.5, False)] * 100
    below = estimate_label_accuracy(labels, [0.25] * 50, rng=random.Random(0))
    above = estimate_label_accuracy(labels, [1.0] * 50, rng=random.Random(0))
    assert (below.value, below.low) == (0.5, 0.0)
    assert (above.value, above.high) == (0.5, 1.0)
    assert below.high < 0.75
    assert above.low > 0.25


@pytest.mark.parametrize(("labels", "ratios"), [([], [0.5]), ([label(0.5, True)], [])])
def test_nothing_to_fit_or_to_estimate_is_an_error(labels, ratios):
    with pytest.raises(ValueError, match="at least one"):
        estimate_label_accuracy(labels, ratios, rng=random.Random(0))


@given(LABELS, RATIOS, st.randoms())
def test_the_estimate_keeps_bounds_and_ignores_order(labels, ratios, rnd):
    def estimate(labels, ratios):
        return estimate_label_accuracy(labels, ratios, rng=random.Random(0), num_resamples=5)

    found = estimate(labels, ratios)
    assert 0 <= found.low <= found.value <= found.high <= 1
    again = estimate(rnd.sample(labels, len(labels)), rnd.sample(ratios, len(ratios)))
    assert again.value == pytest.approx(found.value)


@given(LABELS)
def test_the_estimate_over_the_probe_itself_is_its_label_accuracy(labels):
    ratios = [each.majority_ratio for each in labels]
    estimate = estimate_label_accuracy(labels, ratios, rng=random.Random(0), num_resamples=1)
    assert estimate.value == pytest.approx(sum(each.right for each in labels) / len(labels))


@pytest.mark.parametrize("chance", [lambda r: r, lambda r: 0.5, lambda r: 0.9 + 0.1 * r])
def test_the_interval_covers_the_label_accuracy_of_new_groups(chance):
    rng = random.Random(0)
    covered = 0
    for _ in range(100):
        labels = [label(r, rng.random() < chance(r)) for r in rng.choices(GRID, k=50)]
        ratios = rng.choices(GRID[:4], k=40)
        right = sum(rng.random() < chance(r) for r in ratios) / len(ratios)
        found = estimate_label_accuracy(labels, ratios, rng=rng, num_resamples=80)
        covered += found.low <= right <= found.high
    assert covered >= 88


GRID = [votes / 8 for votes in range(2, 9)]


def test_split_half_by_hand():
    # Of 20 halves of 6 completions 4 hold both votes of the second answer; 16 go to the first.
    assert split_half((4, 2), num_unparsable=0) == SplitHalf(1.0, 0.2)
    # 6 halves of 4: one elects each answer, the other 4 tie.
    assert split_half((2, 2), num_unparsable=0) == SplitHalf(2 / 6, 1 / 6)
    # Labels of the halves: 20 of 20 and 2 of 6; wrong at least 4 of 20 and 1 of 6.
    halves = [split_half((4, 2), num_unparsable=0), split_half((2, 2), num_unparsable=0)]
    assert split_half_error_bound(halves) == pytest.approx((0.2 + 1 / 6) / (1 + 1 / 3))


@pytest.mark.parametrize(
    ("counts", "num_unparsable"),
    [((), 0), ((), 8), ((1,), 0), ((2,), 0), ((1,) * 8, 0), ((3,), 0)],
)
def test_groups_whose_halves_elect_nothing_say_nothing(counts, num_unparsable):
    found = split_half(counts, num_unparsable=num_unparsable)
    assert found == SplitHalf(0.0, 0.0)
    assert split_half_error_bound([found]) is None
    assert split_half_error_bound([]) is None


def test_an_error_that_all_completions_share_is_invisible():
    assert split_half((16,), num_unparsable=0) == SplitHalf(1.0, 0.0)


@given(CLASSES)
def test_split_half_agrees_with_all_halves_drawn_by_force(classes):
    elected = [winner(half) for half in combinations(classes, len(classes) // 2)]
    wins = Counter(answer for answer in elected if answer is not None)
    most = max(wins.values(), default=0)
    found = halved(classes)
    assert found.label_rate == float(Fraction(wins.total(), len(elected)))
    assert found.wrong_rate == float(Fraction(wins.total() - most, len(elected)))


@given(CLASSES, st.integers(0, 4))
def test_halves_are_wrong_at_least_as_often_as_the_bound_whatever_is_gold(classes, gold):
    elected = [winner(half) for half in combinations(classes, len(classes) // 2)]
    wrong = sum(answer not in (None, gold) for answer in elected) / len(elected)
    assert halved(classes).wrong_rate <= wrong + 1e-12


@given(CLASSES)
def test_disjoint_halves_disagree_at_most_twice_as_often_as_the_bound(classes):
    size = len(classes) // 2
    places = range(len(classes))
    pairs = [
        (winner([classes[i] for i in one]), winner([classes[i] for i in other]))
        for one in combinations(places, size)
        for other in combinations([i for i in places if i not in one], size)
    ]
    differ = sum(None not in pair and pair[0] != pair[1] for pair in pairs) / len(pairs)
    assert differ / 2 <= halved(classes).wrong_rate + 1e-12


@given(st.lists(st.integers(1, 6), max_size=6), st.integers(0, 6), st.randoms())
def test_split_half_ignores_the_order_of_the_answers(counts, num_unparsable, rnd):
    shuffled = tuple(rnd.sample(counts, len(counts)))
    found = split_half(tuple(counts), num_unparsable=num_unparsable)
    assert split_half(shuffled, num_unparsable=num_unparsable) == found
    assert 0 <= found.wrong_rate <= found.label_rate / 2 * max(len(counts), 1)
    assert found.label_rate <= 1


def test_a_probe_without_labels_or_groups_leaves_out_what_it_cannot_know():
    rng = random.Random(0)
    assert probe_metrics([], [0.5], rng=rng) == {}
    assert probe_metrics([CheckedLabel(0.5, True, 0.75)], [], rng=rng) == {
        "probe/label_accuracy": 1.0,
        "probe/reward_accuracy": 0.75,
        "probe/calibration_error": 0.5,
    }


def test_the_gap_between_the_votes_reward_and_golds_by_hand():
    # Of four completions each, the vote rewards 3, 2 and none; gold rewards 3, 1 and none of them.
    labels = [
        check_label([0, 0, 0, 1], 0),
        check_label([0, 0, 1, 2], 1),
        check_label([0, 0, 1, 1], 2),
    ]

    assert reward_gap(labels, 4 / 12) == pytest.approx(5 / 12 - 4 / 12)
    assert reward_gap([None], 0.5) == -0.5
