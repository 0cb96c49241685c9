"""What the studies in `benchmarks` share."""

import json

import pytest

from benchmarks.study import Arm, complete, interval, over_seeds, run_all


def test_an_interval_over_seeds_is_students_and_stays_a_rate():
    found = interval([0.5, 0.7])
    assert found["mean"] == pytest.approx(0.6)
    assert found["high"] - found["mean"] == pytest.approx(12.706 * 0.1)
    assert interval([0.5, 0.7], is_rate=True)["high"] == 1.0
    assert interval([0.5])["low"] is None


def test_a_figure_that_no_run_has_has_no_interval():
    assert over_seeds([{"x": None}], lambda result: result["x"]) is None
    assert over_seeds([{"x": None}, {"x": 2.0}], lambda result: result["x"])["values"] == [2.0]


def test_seeds_are_outermost_and_an_arm_may_have_fewer_of_them():
    arms, order = [Arm("two", ""), Arm("one", "", num_seeds=1)], []

    def run(arm, seed):
        order.append((arm.name, seed))
        return {"seed": seed}

    found = run_all(arms, [3, 1], run, jobs=1)
    assert found == {"two": [{"seed": 3}, {"seed": 1}], "one": [{"seed": 3}]}
    assert order == [("two", 3), ("one", 3), ("two", 1)]


def test_a_run_that_is_done_is_read_and_one_of_other_flags_refused(tmp_path):
    folder = tmp_path / "serl-seed1"
    with pytest.raises(SystemExit, match=r"serl-seed1: exit code 2; see .*serl-seed1\.log"):
        complete(["nonsense"], folder)
    (tmp_path / "serl-seed1.json").write_text(json.dumps({"steps": 3}))
    assert complete(["nonsense"], folder) == {"steps": 3}
    with pytest.raises(SystemExit, match="was made by other flags"):
        complete(["nonsense", "--seed", "2"], folder)
