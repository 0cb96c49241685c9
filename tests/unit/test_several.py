"""Several runs against one base: clustered intervals, their spread, what all of them lost."""

import json
from math import sqrt
from statistics import fmean, stdev

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serl_trl.common.intervals import clustered, student
from serl_trl.measure.figures import Measurement, grade
from serl_trl.measure.session import Evaluated
from serl_trl.measure.several import as_record, compare_several
from serl_trl.measure.sheets import as_markdown, sheet_of_several

VALUES = st.floats(0, 1, allow_subnormal=False)


def test_a_clustered_interval_by_hand():
    found = clustered([[1.0, 1.0], [0.0, 0.0], [1.0, 0.0]])

    # Summed deviations 1, -1 and 0: variance 2 / 6^2 x 3 / 2 = 1 / 12.
    assert found.mean == 0.5
    assert found.high - found.mean == pytest.approx(1.959964 / sqrt(12))
    assert found.mean - found.low == pytest.approx(1.959964 / sqrt(12))


def test_clusters_of_different_sizes_by_hand():
    found = clustered([[1.0, 1.0, 1.0], [0.0]])

    # Mean 3/4; summed deviations 3/4 and -3/4: variance 9/8 / 4^2 x 2.
    assert found.mean == 0.75
    assert found.high - found.mean == pytest.approx(1.959964 * sqrt(9 / 8 / 16 * 2))


@given(st.lists(VALUES, min_size=2, max_size=20))
def test_clusters_of_one_value_have_the_usual_standard_error(values):
    found = clustered([[value] for value in values])

    assert found.mean == pytest.approx(fmean(values))
    error = stdev(values) / sqrt(len(values))
    assert found.high - found.mean == pytest.approx(1.959964 * error, abs=1e-12)


@given(st.lists(VALUES, min_size=2, max_size=20), st.integers(1, 5))
def test_asking_the_same_problems_again_narrows_nothing(values, times):
    once = clustered([[value] for value in values])
    again = clustered([[value] * times for value in values])

    assert again.low == pytest.approx(once.low) and again.high == pytest.approx(once.high)


def test_one_cluster_or_one_run_has_no_interval():
    assert clustered([[1.0, 0.0]]).low is None and clustered([]).mean == 0.0
    assert student([0.5]).low is None
    # Two degrees of freedom: 4.303 standard errors of 0.1 / sqrt(3).
    assert student([0.4, 0.5, 0.6]).high == pytest.approx(0.5 + 4.303 * 0.1 / sqrt(3))


def evaluated(rights, **settings):
    """One problem per entry: how many of its four samples are right."""
    problems = [
        grade("x?", "7", ["7"] * n + ["8"] * (4 - n), truncated=[False] * 4, lengths=[4] * 4)
        for n in rights
    ]
    settings = {"problems": "abc", "num_samples": 4, "model": {"name": "m"}, **settings}
    return {"gsm8k": Evaluated("gsm8k", settings, True, Measurement(tuple(problems), 4))}


def test_three_runs_are_averaged_and_their_problems_clustered():
    base = evaluated([0, 4, 3, 2])
    runs = {
        "a": evaluated([4, 0, 4, 2]),
        "b": evaluated([4, 1, 3, 3]),
        "c": evaluated([0, 0, 0, 4]),
    }

    (found,) = compare_several(base, runs)

    gain = next(each for each in found.spreads if each.figure == "pass@1")
    assert gain.base == pytest.approx(9 / 16)
    assert gain.trained == pytest.approx((10 / 16, 11 / 16, 4 / 16))
    assert gain.difference.mean == pytest.approx((1 + 2 - 5) / 16 / 3)
    gaps = [[1, 1, 0], [-1, -0.75, -1], [0.25, 0, -0.75], [0, 0.25, 0.5]]
    assert gain.difference == clustered(gaps)
    assert gain.over_runs == student([1 / 16, 2 / 16, -5 / 16])
    # The base's vote is right on the second and third, and half on the fourth.
    assert found.beyond_vote.base == pytest.approx(2.5 / 4)
    assert found.beyond_vote.trained == gain.trained
    assert found.transitions["learnt"] == (1, 2, 1)
    assert found.transitions["lost"] == (1, 1, 2)
    assert found.num_always_lost == 1


def test_the_record_is_json_and_the_sheet_names_every_run():
    several = compare_several(evaluated([0, 4]), {"a": evaluated([4, 4]), "<b>": evaluated([0, 0])})
    record = json.loads(json.dumps(as_record("base", ["a", "<b>"], several)))

    assert record["runs"] == ["a", "<b>"]
    gsm8k = record["benchmarks"]["gsm8k"]
    assert gsm8k["differences"]["pass@1"]["trained"] == [1.0, 0.0]
    assert gsm8k["transition_of_each"] == [["learnt", "kept"], ["never", "lost"]]
    assert (gsm8k["transitions"]["lost"], gsm8k["num_always_lost"]) == ([0, 1], 0)
    text = as_markdown("base", "a, <b>", [sheet_of_several(each, ["a", "<b>"]) for each in several])
    assert "| pass@1 | 0.500 | 1.000 | 0.000 | +0.000 [" in text
    assert "| pass@1 - base's maj@4 | 0.500 | 1.000 | 0.000 |" in text
    assert "| run 2 | 0 (0.0%) | 0 (0.0%) | 0 (0.0%) | 1 (50.0%) | 1 (50.0%) |" in text
    assert "run 1: a." in text and "<b>" not in text


def test_a_run_that_cannot_be_compared_is_named():
    runs = {"a": evaluated([1]), "b": evaluated([1], num_samples=3), "c": {}}

    with pytest.raises(ValueError) as caught:
        compare_several(evaluated([1]), runs)

    assert "b: gsm8k: num_samples differs (4 / 3)" in str(caught.value)
    assert "c: the two evaluations share no benchmark" in str(caught.value)
