"""Alarms are pure functions of a history; the sentinel set tells a change of mind from learning."""

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serl_trl.measure.alarms import (
    ALARMS,
    METRICS,
    MOVING,
    About,
    enough_learnt,
    may_stop,
    read_alarms,
    readings,
    safe_until,
    sentinel_due,
)
from serl_trl.measure.sentinel import MIN_SETTLED, Sentinel

NAMED = {alarm.name: alarm for alarm in ALARMS}
SUPPORT = "serl/sentinel/support_ratio"
share = st.floats(0, 1)
rows = st.lists(
    st.dictionaries(st.sampled_from(sorted(METRICS - {"step"})), share), max_size=30
).map(lambda found: [{**row, "step": step} for step, row in enumerate(found, 1)])


def history(metric: str, *values: float, every: int = 1, **more: float) -> list[dict[str, float]]:
    return [{"step": step * every, metric: v, **more} for step, v in enumerate(values, 1)]


def ringing(found, about=None) -> set[str]:
    return {each.alarm.name for each in read_alarms(found, about or About()) if each.rings}


@given(rows, st.integers(0, 30))
def test_a_run_that_is_over_is_read_as_it_was_while_it_trained(found, cut):
    whole = [each for alarm in ALARMS for each in readings(alarm, found, About())]

    then = [each for each in whole if each.step == cut]

    assert then == (read_alarms(found[:cut], About()) if 0 < cut <= len(found) else [])


@given(rows)
def test_a_reading_rings_only_beyond_its_threshold_and_counts_what_rang_in_a_row(found):
    for alarm in ALARMS:
        num = 0
        for each in readings(alarm, found, About()):
            assert each.rings == (
                each.value > each.threshold if alarm.above else each.value < each.threshold
            )
            num = num + 1 if each.rings else 0
            assert each.num_rings == num
            assert (each.since is None) == (num == 0)
            assert each.sentence


def test_one_answer_for_different_problems_rings_against_chance_and_its_own_start():
    labels = About(num_labels=2)
    metric, groups = "serl/commonest_answer_ratio", {"serl/num_groups": 8.0}
    healthy = history(metric, *[0.67] * 5, *[0.83] * 5, **groups)
    collapsed = history(metric, *[0.67] * 5, *[0.95] * 5, **groups)
    open_answers = history(metric, *[0.1] * 5, *[0.4] * 5, **groups)

    assert "one_answer" not in ringing(healthy, labels)
    assert "one_answer" in ringing(collapsed, labels)
    assert "one_answer" in ringing(open_answers)


def test_of_few_groups_one_answer_may_win_by_chance():
    few = history("serl/commonest_answer_ratio", *[0.1] * 5, *[1.0] * 5, **{"serl/num_groups": 1.0})

    assert "one_answer" not in ringing(few)


@pytest.mark.parametrize(
    ("support", "rings"),
    [
        ((0.9, 0.88, 0.85), set()),
        ((0.9, 0.8, 0.8), {"flips"}),
        ((0.9, 0.7), {"flips", "many_flips"}),
        ((0.5,), {"flips", "many_flips"}),
    ],
)
def test_flips_ring_at_once_when_many_and_over_two_checks_when_few(support, rings):
    assert ringing(history(SUPPORT, *support, every=10)) == rings


def test_flips_stop_no_run_whose_labels_come_from_outside_the_model():
    found = read_alarms(history(SUPPORT, 0.5), About(own_labels=False))

    assert all(each.rings and not may_stop(each.alarm, About(own_labels=False)) for each in found)


def test_the_probe_decides_only_where_it_is_let():
    fallen = history("serl/probe/pass@1", 0.8, 0.82, 0.6, 0.6, every=10)
    (reading,) = [
        each for each in read_alarms(fallen, About(num_probe=200)) if each.alarm.name == "probe"
    ]

    assert reading.rings and reading.num_rings == 2 and reading.since == 30
    assert not may_stop(reading.alarm, About(num_probe=200))
    assert may_stop(reading.alarm, About(num_probe=200, probe_decides=True))


def test_a_fall_of_the_probe_within_chance_does_not_ring():
    fallen = history("serl/probe/pass@1", 0.8, 0.82, 0.78, 0.78, every=10)

    assert "probe" not in ringing(fallen, About(num_probe=200))


def test_a_run_may_go_back_to_the_last_check_at_which_the_sentinel_set_was_silent():
    steady = [{"step": step, "serl/num_groups": 1.0} for step in range(1, 46)]
    steady[19][SUPPORT], steady[39][SUPPORT] = 0.95, 0.93

    assert safe_until(steady[:10], About()) is None
    # What came after the last check may be worse already.
    assert safe_until(steady[:39], About()) == 20
    assert safe_until(steady, About()) == 40
    steady[39][SUPPORT] = 0.5
    assert safe_until(steady, About()) == 20


@given(st.integers(1, 200), st.integers(0, 40), st.floats(0, 1))
def test_the_sentinel_set_is_asked_twice_as_often_once_its_votes_move(step, every, support):
    due = sentinel_due(step, every, [{"step": 1, SUPPORT: support}])
    calm = sentinel_due(step, every, [])

    assert calm == (every > 0 and step % every == 0)
    assert due == (calm if support >= MOVING or every < 2 else step % (every // 2) == 0)


def easy_run(support: float, share: float = 0.95) -> list[dict[str, float]]:
    counts = {"serl/num_groups": 100.0, "serl/refused/band_high": 100 * share}
    found = [{"step": step, **counts} for step in range(1, 31)]
    for row, value in zip((found[9], found[19], found[29]), (0.9, 0.9, support), strict=True):
        row[SUPPORT] = value
    return found


def test_enough_is_learnt_where_all_is_too_easy_and_the_votes_stand_still():
    assert "no longer move" in enough_learnt(easy_run(0.91))
    assert not enough_learnt(easy_run(0.8))
    assert not enough_learnt(easy_run(0.91, share=0.8))
    assert not enough_learnt([row for row in easy_run(0.91) if SUPPORT not in row])
    assert not enough_learnt([])


def votes(num: int, answer: str, of: int = 4) -> list[dict[str, int]]:
    return [{answer: of} for _ in range(num)]


def test_a_seed_counts_from_the_check_in_which_all_its_votes_agreed():
    sentinel = Sentinel()
    undecided = [{"1": 3, "2": 1}] * MIN_SETTLED

    assert "support_ratio" not in sentinel.take(undecided, num_votes=4)
    assert "support_ratio" not in sentinel.take(votes(MIN_SETTLED, "1"), num_votes=4)
    found = sentinel.take([{"1": 2, "7": 1}] * MIN_SETTLED, num_votes=4)
    assert found["support_ratio"] == 0.5 and found["flip_ratio"] == 0
    found = sentinel.take(votes(MIN_SETTLED, "7"), num_votes=4)
    assert found == {
        "support_ratio": 0,
        "flip_ratio": 1,
        "support_floor": 1,
        "moved_ratio": 1,
        "commonest_answer_ratio": 1,
    }


def test_completions_without_an_answer_support_nothing():
    sentinel = Sentinel()
    sentinel.take(votes(MIN_SETTLED, "1"), num_votes=4)

    found = sentinel.take([{} for _ in range(MIN_SETTLED)], num_votes=4)

    assert found["support_ratio"] == 0 and found["flip_ratio"] == 1
    assert "commonest_answer_ratio" not in found


@given(
    st.lists(
        st.lists(
            st.dictionaries(st.sampled_from("abc"), st.integers(1, 2), max_size=2),
            min_size=20,
            max_size=20,
        ),
        max_size=5,
    )
)
def test_the_figures_of_a_check_are_shares_and_its_state_decides_the_next(checks):
    sentinel = Sentinel()
    for check in checks:
        again = Sentinel(**sentinel.state_dict())
        found = sentinel.take(check, num_votes=4)
        assert all(0 <= value <= 1 for value in found.values())
        assert found == again.take(check, num_votes=4)
        assert sentinel == again


def look(sentinel: Sentinel, rng: random.Random, chance: float, answer: str) -> dict[str, float]:
    """Answer 64 seeds with 4 votes each, where every vote is for `answer` by `chance`."""
    votes = [
        [answer if rng.random() < chance else "x" + str(rng.random()) for _ in range(4)]
        for _ in range(64)
    ]
    return sentinel.take([Counter(each) for each in votes], num_votes=4)


@pytest.mark.parametrize("chance", [0.7, 0.8, 0.95])
def test_a_model_that_stays_as_it_is_flips_only_by_chance_and_one_that_changed_is_found(chance):
    rng, rang, found, read = random.Random(0), 0, 0, 0
    for _ in range(200):
        sentinel = Sentinel()
        look(sentinel, rng, chance, "1")
        for answer in ("1", "2"):
            row = {f"serl/sentinel/{k}": v for k, v in look(sentinel, rng, chance, answer).items()}
            rings = "many_flips" in ringing([{"step": 20, **row}])
            rang, found = rang + (rings and answer == "1"), found + (rings and answer == "2")
        read += SUPPORT in row

    assert rang <= 0.02 * read and found == read >= 20


def test_learning_moves_no_settled_seed():
    # A weak model settles on more seeds as it learns; that is no change of mind.
    rng, sentinel = random.Random(0), Sentinel()
    for agreed in (20, 40, 60):
        check = votes(agreed, "1") + [{str(rng.random()): 1} for _ in range(64 - agreed)]
        found = sentinel.take(check, num_votes=4)
    assert found["support_ratio"] == 1
