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
    History,
    Reading,
    may_stop,
    readings,
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


def last(found, about=None) -> list[Reading]:
    """Return what the alarms read at the last row."""
    return History(about or About(), found[:-1]).add(found[-1])


def ringing(found, about=None) -> set[str]:
    return {each.alarm.name for each in last(found, about) if each.rings}


@given(rows, st.integers(1, 30))
def test_a_run_that_is_over_is_read_as_it_was_while_it_trained(found, cut):
    whole = [each for alarm in ALARMS for each in readings(alarm, found, About())]

    then = [each for each in whole if each.step == cut]

    # A run that was resumed has read the rows of its checkpoint at once.
    assert then == (last(found[:cut]) if cut <= len(found) else [])


class Row(dict):
    """A row that counts how often it is looked at."""

    looks = 0

    def __getitem__(self, key):
        Row.looks += 1
        return super().__getitem__(key)

    def get(self, key, default=None):
        Row.looks += 1
        return super().get(key, default)


@pytest.mark.parametrize("support", [0.9, None])
def test_the_work_of_a_step_does_not_grow_with_the_run(support):
    full = dict.fromkeys(METRICS, 0.5) | {SUPPORT: 0.9, "serl/refused/band_high": 0.5}
    history, looks = History(About()), []
    history.rows = Kept()
    for step in range(1, 201):
        before = Row.looks
        row = {**full, "step": float(step)}
        if support is None:
            del row[SUPPORT]
        history.add(row)
        history.enough_learnt()
        history.sentinel_due(step, 20)
        history.safe_until()
        looks.append(Row.looks - before)

    assert looks[50] == looks[199] > 0


class Kept(list):
    """Keeps rows as `Row`."""

    def append(self, row):
        super().append(Row(row))


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
    found = last(history(SUPPORT, 0.5), About(own_labels=False))

    assert all(each.rings and not may_stop(each.alarm, About(own_labels=False)) for each in found)


def test_the_probe_decides_only_where_it_is_let():
    fallen = history("serl/probe/pass@1", 0.8, 0.82, 0.6, 0.6, every=10)
    (reading,) = [each for each in last(fallen, About(num_probe=200)) if each.alarm.name == "probe"]

    assert reading.rings and reading.num_rings == 2 and reading.since == 30
    assert not may_stop(reading.alarm, About(num_probe=200))
    assert may_stop(reading.alarm, About(num_probe=200, probe_decides=True))


def test_a_fall_of_the_probe_within_chance_does_not_ring():
    fallen = history("serl/probe/pass@1", 0.8, 0.82, 0.78, 0.78, every=10)

    assert "probe" not in ringing(fallen, About(num_probe=200))


def test_the_untrained_model_is_a_baseline_of_the_probe():
    # The first probe of the run, at step 10, is below what the model could do before.
    rows = [{"step": 0, "serl/probe/pass@1": 0.8}, {"step": 10, "serl/probe/pass@1": 0.6}]

    (reading,) = [each for each in last(rows, About(num_probe=200)) if each.alarm.name == "probe"]

    assert (reading.rings, reading.baseline, reading.value) == (True, 0.8, 0.6)
    assert "probe" not in ringing(rows[1:], About(num_probe=200))


@pytest.mark.parametrize(
    ("name", "began", "limit"),
    [
        # Each limit by hand from the first figure.
        ("probe_gap", 0.3, 0.4),
        ("probe_gap", 0.05, 0.25),
        ("moved", 0.3, 0.25),
        ("answer_kl", 0.5, 3.0),
        ("answer_kl", 2.0, 6.0),
        ("alike", 0.5, 0.98),
        ("alike", 0.98, 0.99),
        ("repetition", 0.02, 0.3),
        ("repetition", 0.2, 0.6),
        ("distinct_answers", 0.8, 0.48),
    ],
)
def test_an_alarm_that_only_warns_rings_past_its_limit_and_not_at_it(name, began, limit):
    alarm = NAMED[name]
    for beyond in (False, True):
        value = limit + (0.01 if alarm.above else -0.01) * (1 if beyond else -1)
        found = history(alarm.metric, *[began] * 5, *[value] * 5)
        (reading,) = [each for each in last(found) if each.alarm.name == name]
        assert reading.rings == beyond
        assert reading.threshold == pytest.approx(limit)
        assert not may_stop(alarm, About(probe_decides=True))


def test_a_limit_that_no_run_has_taught_says_so_and_stops_nothing():
    found = history("serl/repetition_ratio", *[0.02] * 5, *[0.5] * 5)
    (reading,) = last(found)

    assert "no finished run has taught it" in reading.sentence
    assert not any(alarm.acts for alarm in ALARMS if alarm.guessed)


def test_a_run_may_go_back_to_the_last_check_at_which_the_sentinel_set_was_silent():
    steady = [{"step": step, "serl/num_groups": 1.0} for step in range(1, 46)]
    steady[19][SUPPORT], steady[39][SUPPORT] = 0.95, 0.93

    assert History(About(), steady[:10]).safe_until() is None
    # What came after the last check may be worse already.
    assert History(About(), steady[:39]).safe_until() == 20
    assert History(About(), steady).safe_until() == 40
    steady[39][SUPPORT] = 0.5
    assert History(About(), steady).safe_until() == 20


@given(st.integers(1, 200), st.integers(0, 40), st.floats(0, 1))
def test_the_sentinel_set_is_asked_twice_as_often_once_its_votes_move(step, every, support):
    due = History(About(), [{"step": 1, SUPPORT: support}]).sentinel_due(step, every)
    calm = History(About()).sentinel_due(step, every)

    assert calm == (every > 0 and step % every == 0)
    assert due == (calm if support >= MOVING or every < 2 else step % (every // 2) == 0)


def easy_run(support: float, share: float = 0.95) -> list[dict[str, float]]:
    counts = {"serl/num_groups": 100.0, "serl/refused/band_high": 100 * share}
    found = [{"step": step, **counts} for step in range(1, 31)]
    for row, value in zip((found[9], found[19], found[29]), (0.9, 0.9, support), strict=True):
        row[SUPPORT] = value
    return found


def test_enough_is_learnt_where_all_is_too_easy_and_the_votes_stand_still():
    def why(found) -> str:
        return History(About(), found).enough_learnt()

    assert "no longer move" in why(easy_run(0.91))
    assert not why(easy_run(0.8))
    assert not why(easy_run(0.91, share=0.8))
    assert not why([row for row in easy_run(0.91) if SUPPORT not in row])
    assert not why([])
    # Steps that rolled nothing out say nothing.
    assert not why(
        [{**row, "serl/num_groups": 0, "serl/refused/band_high": 0} for row in easy_run(0.91)]
    )


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
