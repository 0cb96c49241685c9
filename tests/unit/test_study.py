"""What the studies in `benchmarks` share."""

import json
import shutil

import pytest

from benchmarks import hard, labels, real, sandbox, sources, study
from benchmarks.study import Arm, complete, interval, is_whole, over_seeds, run_all
from serl_trl.common.files import read_lines
from serl_trl.labels.registry import LABELLERS
from serl_trl.propose.sources.registry import needed_sets
from serl_trl.train.config_checks import find_problems
from serl_trl.train.options import PRESETS


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


def test_a_study_is_continued_on_another_machine_with_its_finished_runs(tmp_path, monkeypatch):
    def command(work_dir, seed):
        data = work_dir / "test.jsonl"
        paths = ["--config", str(study.ROOT / "a.yaml"), "--benchmark_files", f"reviews={data}"]
        return ["nonsense", "--seed", seed, *paths, "--output_dir", str(work_dir / "serl-seed1")]

    here, there = tmp_path / "here" / "work", tmp_path / "there" / "runs"
    here.mkdir(parents=True)
    (here / "serl-seed1.json").write_text(json.dumps({"steps": 3}))
    complete(command(here, "1"), here / "serl-seed1", machine=["--use_cpu", "true"])

    here.parent.rename(tmp_path / "moved")
    shutil.copytree(tmp_path / "moved" / "work", there)
    monkeypatch.setattr(study, "ROOT", tmp_path / "another")
    monkeypatch.setattr(study.sys, "executable", "/another/python")

    found = complete(command(there, "1"), there / "serl-seed1", machine=["--use_cpu", "false"])
    assert found == {"steps": 3}
    with pytest.raises(SystemExit, match="was made by other flags"):
        complete(command(there, "2"), there / "serl-seed1")


def test_only_whole_names_of_folders_become_relative(tmp_path):
    paths = [
        f"{tmp_path}",
        f"{tmp_path}2/x",
        f"{tmp_path}/x",
        f"see{tmp_path}/x",
        f"{study.ROOT}/y",
    ]
    assert study.portable(paths, tmp_path) == [
        "WORK", f"{tmp_path}2/x", "WORK/x", f"see{tmp_path}/x", "ROOT/y",
    ]  # fmt: skip


@pytest.mark.parametrize("jobs", [1, 2, 7])
def test_any_number_of_runs_at_a_time_gives_the_same_table(jobs):
    arms, seeds = [Arm("one", ""), Arm("two", "")], [2, 1]
    found = run_all(arms, seeds, lambda arm, seed: {"was": [arm.name, seed]}, jobs=jobs)
    assert found == {arm.name: [{"was": [arm.name, seed]} for seed in seeds] for arm in arms}


# The study of a real model.


def rated(number):
    label = "positive" if number % 3 else "negative"
    return {"id": f"movie-{number}", "text": f"Film number {number}.", "label": label}


def test_the_parts_of_the_data_are_disjoint_balanced_and_the_same_in_any_order(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(real, "PARTS", {"seeds": 8, "test": 20})
    rows = [rated(number) for number in range(60)]
    copy = {**rated(0), "text": rated(0)["text"].upper()}
    parts = {}
    for name, order in {"there": [*rows, copy], "back": [copy, *reversed(rows)]}.items():
        data = tmp_path / f"{name}.jsonl"
        data.write_text("".join(json.dumps(row) + "\n" for row in order))
        real.split(data, tmp_path / name)
        parts[name] = {
            part: list(read_lines(tmp_path / name / f"{part}.jsonl")) for part in real.PARTS
        }
    seeds, test = parts["there"].values()
    assert [len(seeds), len(test)] == [8, 20]
    for part in (seeds, test):
        assert sum(row["answer"] == "positive" for row in part) == len(part) / 2
    assert len({row["text"].casefold() for row in (*seeds, *test)}) == 28
    assert [[row["text"].casefold() for row in part] for part in parts["back"].values()] == [
        [row["text"].casefold() for row in part] for part in (seeds, test)
    ]


def test_arms_with_several_seeds_vary_over_seeds_and_single_runs_over_texts():
    figures = {name: {"mean": 0.5, "low": 0.4, "high": 0.6} for name in real.FIGURES}
    better = {name: {"mean": 0.7, "low": 0.6, "high": 0.8} for name in real.FIGURES}
    told = {"label_accuracy": None, "kept_ratio": 0.5, "accepted_ratio": None}
    told |= {"accepted": 9, "rollouts": 640, "seconds": 60.0, "over_time": {10: 0.6}}
    runs = {"serl": [{"figures": figures, **told}, {"figures": better, **told}]}
    runs["gold_given"] = [{"figures": better, **told, "label_accuracy": 0.75}]
    arms = [arm for arm in real.ARMS if arm.name in runs]

    summary = json.loads(json.dumps(real.summarise({"figures": figures}, runs, arms, 30)))

    assert (summary["seeds"], summary["steps"]) == (2, 30)
    assert summary["base"]["pass@1"] == figures["pass@1"]
    serl, gold = summary["arms"]["serl"], summary["arms"]["gold_given"]
    assert serl["pass@1"]["values"] == [0.5, 0.7] and serl["label_accuracy"] is None
    assert gold["pass@1"] == better["pass@1"] and gold["label_accuracy"]["mean"] == 0.75
    table = real.as_markdown(summary)
    assert "| base |  | 0.500 [0.400, 0.600] |" in table
    assert "| gold_given | 1 | 0.700 [0.600, 0.800] |" in table


# The study of the hard sandbox.


def hard_run(pass_at_1, maj):
    figures = {"pass@1": 0.45, "maj@16": 0.7, "pass@16": 0.99, "greedy": 0.72}
    told = dict.fromkeys(("label_accuracy", "kept_label_accuracy", "no_gold_rate"), 0.8)
    told |= dict.fromkeys(("rollouts", "accepted", "phrasings", "steps", "seconds"), 5)
    told |= {"kept_no_gold_rate": 0.3, "starved": False, "label_accuracy_over_time": []}
    told |= {"phrasings_over_time": [], "over_time": [{"step": 0, **figures}]}
    moved = dict.fromkeys(("learnt", "sharpened", "kept", "lost", "never"), 0)
    lost = round(20 * pass_at_1)
    told |= {"transitions": {**moved, "lost": lost, "never": 20 - lost}}
    return {"before": figures, "after": {**figures, "pass@1": pass_at_1, "maj@16": maj}, **told}


def test_two_arms_are_apart_from_two_standard_errors_in_one_figure_on():
    runs = {
        "serl": [hard_run(0.60, 0.7), hard_run(0.62, 0.7)],
        "random": [hard_run(0.40, 0.7), hard_run(0.44, 0.7)],
        "gold_generated": [hard_run(0.61, 0.7), hard_run(0.63, 0.7)],
    }
    found = hard.pair("serl", "random", runs)
    # Variances .0002 and .0008 over two seeds each: the error is the root of .0005.
    assert found["pass@1"]["standard_errors"] == pytest.approx(0.19 / 0.0005**0.5)
    assert found["maj@16"]["standard_errors"] is None
    assert found["apart"]
    assert not hard.pair("gold_generated", "serl", runs)["apart"]
    assert not hard.pair("serl", "random", {name: each[:1] for name, each in runs.items()})["apart"]


def test_the_summary_of_the_hard_study_has_its_keys_and_every_pair_once():
    arms = [arm for arm in hard.ARMS if arm.name in ("serl", "gold_generated", "random")]
    runs = {arm.name: [hard_run(0.5, 0.7), hard_run(0.6, 0.8)] for arm in arms}

    found = json.loads(json.dumps(hard.summarise(runs, arms, [1, 2], 60)))

    assert {"pass@1", "maj@16", "pass@16", "vote_wrong_kinds"} <= found["base"].keys()
    assert 0 <= found["base"]["invalid_proposals"] <= 1
    assert found["arms"]["serl"]["pass@1"]["mean"] == pytest.approx(0.55)
    assert {"greedy", "kept_without_gold", "label_accuracy"} <= found["arms"]["random"].keys()
    assert (found["seeds"], found["steps"]) == (2, 60)
    assert [each["pair"] for each in found["pairs"]] == [
        ["gold_generated", "serl"], ["gold_generated", "random"], ["serl", "random"],
    ]  # fmt: skip
    table = hard.as_markdown(found, runs)
    assert "| serl - random | +0.000 | +0.0 |" in table
    # Of 20 problems 10 were lost by one run and 12 by the other.
    assert found["arms"]["serl"]["transitions"]["lost"] == pytest.approx(0.55)
    assert "| serl | 0.000 | 0.000 | 0.000 | 0.550 | 0.450 |" in table


def test_a_summary_knows_no_transitions_unless_every_run_noted_them():
    runs = [hard_run(0.5, 0.7), {**hard_run(0.6, 0.7), "transitions": None}]

    assert sandbox.transition_shares(runs) is None
    assert sandbox.transition_table({"serl": {"transitions": None}, "base": {}}) == []


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ('{"run": "x", "steps": 60}', True),
        ('{"run": "x", "steps": 21, "stopped_by": "SIGTERM"}', False),
        ('{"run": "x", "st', False),
        ("{}", False),
    ],
)
def test_a_run_that_was_stopped_or_cut_off_is_not_done(tmp_path, text, whole):
    (tmp_path / "run.json").write_text(text)

    assert is_whole(tmp_path / "run.json") is whole
    assert not is_whole(tmp_path / "other.json")


# The study of the labellers.


def screened(*arms):
    """Return the figures of arms, each of which is (name, pass@1, maj@16)."""
    return {
        name: labels.summarise(Arm(name, ""), [hard_run(pass_at_1, maj), hard_run(pass_at_1, maj)])
        for name, pass_at_1, maj in arms
    }


def test_the_finalists_are_the_best_in_pass_and_majority_together():
    screen = screened(
        ("serl", 0.9, 0.9),
        ("sure", 0.8, 0.6),
        ("even", 0.7, 0.8),
        ("low", 0.6, 0.7),
        ("mid", 0.7, 0.75),
    )
    assert labels.finalists({"screen": screen}) == ["even", "mid"]


def test_a_default_reaches_golds_gain_and_loses_neither_votes_nor_problems():
    base = {name: interval([0.45, 0.45]) for name in sandbox.FIGURES}
    base |= {"maj@16": interval([0.7, 0.7]), "pass@16": interval([0.99, 0.99])}
    # A run loses as many problems of 20 as its pass@1 says; the base has .45.
    final = screened(
        ("serl", 0.6, 0.7), ("gold_generated", 0.65, 0.8), ("good", 0.65, 0.7), ("weak", 0.5, 0.6)
    )
    base["wrong_kinds"], final["good"]["wrong_kinds"] = interval([0.1]), interval([0.1])
    final["good"]["transitions"] = {**final["good"]["transitions"], "lost": 0.1}
    found = labels.judged(base, final)
    conditions = ("gain", "maj@16", "pass@16", "wrong_kinds", "lost")
    assert found["good"] == dict.fromkeys(conditions, True)
    assert found["weak"] == {**dict.fromkeys(conditions, False), "pass@16": True}
    assert labels.judged(base, screened(("good", 0.65, 0.7))) == {}


def test_the_numbers_of_the_labels_have_their_keys():
    found = json.loads(json.dumps(labels.slim(screened(("serl", 0.5, 0.7)))))["serl"]
    assert {"mean", "low", "high"} <= found["pass@1"].keys()
    assert found["transitions"].keys() == {"learnt", "sharpened", "kept", "lost", "never"}
    assert found["rollouts_per_step"]["mean"] == 1.0 and "over_time" not in found
    labels.as_markdown(
        "screen",
        {name: interval([0.5]) for name in (*sandbox.FIGURES, "wrong_kinds")},
        {"serl": {**screened(("serl", 0.5, 0.7))["serl"], "seeds": 2, "steps": 60}},
    )


@pytest.mark.parametrize("arm", labels.ARMS, ids=lambda arm: arm.name)
def test_the_flags_of_an_arm_name_what_there_is(arm):
    assert {*labels.ELSEWHERE} < LABELLERS.keys()
    named = dict(zip(arm.flags[::2], arm.flags[1::2], strict=True))
    values = {name.removeprefix("--"): value for name, value in named.items()}
    assert values.pop("preset", "paper") in PRESETS
    assert find_problems(values) == []


@pytest.mark.parametrize("arm", sources.ARMS, ids=lambda arm: arm.name)
def test_the_flags_of_a_source_are_a_config_with_the_sets_that_it_reads(arm):
    values: dict[str, list[str]] = {}
    for word in arm.flags:
        if word.startswith("--"):
            values[word.removeprefix("--")] = named = []
        else:
            named.append(word)
    assert find_problems({"sources": values.get("sources")}) == []
    given = {name for name in values if name.endswith("_set")}
    assert needed_sets(values.get("sources", ["few_shot"])) == given


def test_what_a_run_wrote_is_counted_without_the_rows_it_was_given():
    rows = [
        {"type": "proposal", "reason": "rouge_l"},
        {"type": "proposal", "reason": "length"},
        {"type": "proposal", "reason": ""},
        {"type": "group", "source": "labelled", "gold": None},
        {"type": "group", "source": "few_shot", "gold": "3"},
        # A run of an earlier version.
        {"type": "group", "gold": None},
    ]
    assert sources.written(rows) == {"novel": pytest.approx(2 / 3), "valid": 0.5}
    assert sources.written(rows[3:4]) == {"novel": None, "valid": None}


def test_the_kinds_that_the_bases_vote_gets_wrong_are_looked_at_alone():
    won = labels.base_kinds("kind_maj_at_k")
    wrong = [kind for kind, share in won.items() if share < 0.5]
    assert 0 < len(wrong) < len(won)
    assert labels.wrong_kinds({kind: float(kind in wrong) for kind in won}) == 1.0
