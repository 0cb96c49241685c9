"""`serl try`: a verdict before a night of training, and nothing of the run changes."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from serl_trl import sandbox
from serl_trl.cli.entry import main
from serl_trl.measure.rules import GO, judge
from serl_trl.train.trying import _portions
from tests.integration.test_propose import make, state_of


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def config(**values) -> str:
    content = {**yaml.safe_load(sandbox.CONFIG_PATH.read_text()), "output_dir": "out", **values}
    Path("run.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    return "run.yaml"


def test_the_sandbox_is_a_go_and_its_folder_stays_untouched(capsys):
    Path("out").mkdir()
    size = ["--try_seeds", "8", "--try_proposals", "6"]

    assert main(["try", "--config", config(num_generations=8), *size, "--json", "o.json"]) == 0

    found, page = json.loads(Path("o.json").read_text()), capsys.readouterr().out
    assert found["verdict"] == GO and found["findings"] == []
    # As many votes as in a run.
    assert found["votes"]["num_votes"] == 8
    assert found["answers"]["num_completions"] == 64
    assert found["known"]["source"] == "probe set" and found["known"]["num_problems"] == 8
    assert found["known"]["right_ratio"] > found["known"]["agreed_wrong_ratio"]
    assert found["proposals"]["num_proposals"] == 6
    assert found["cost"]["num_steps"] == 40 and found["cost"]["step_s"] > 0
    assert "Verdict: go" in page
    assert "rolled out 64 of 64: " in page
    assert list(Path("out").iterdir()) == []


def test_a_model_without_answers_is_found_out_after_sixteen_completions(tiny_model, capsys):
    values = {"model_name_or_path": tiny_model, "probe_set": None, "gold_oracle": None}

    assert main(["try", "--config", config(**values), "--json", "-"]) == 0

    out, err = capsys.readouterr()
    found = json.loads(out)
    assert found["findings"][0]["rule"] == "nothing to vote on"
    assert found["answers"]["num_completions"] == 16
    assert found["stopped_early"] and found["proposals"] is None and found["cost"] is None
    assert "Nothing to vote on: " in err
    assert "rolled out 16 of 256: 0 have an answer, so few that the others are left out" in err


@pytest.mark.parametrize(
    ("values", "flags", "said"),
    [
        ({"answer_kind": "maths"}, [], "answer_kind=maths"),
        ({"seed_set": "nothing.jsonl"}, [], "nothing.jsonl"),
        ({}, ["--try_votes", "1"], "try_votes=1 must be at least 2"),
    ],
)
def test_a_bad_option_is_named_before_the_weights(capsys, values, flags, said):
    assert main(["try", "--config", config(**values), *flags]) == 2

    assert said in capsys.readouterr().err


@pytest.mark.parametrize(("seeds", "votes"), [(1, 2), (2, 3), (7, 2), (16, 16), (5, 9)])
def test_every_seed_is_rolled_out_as_often_as_asked(seeds, votes):
    drawn = Counter(
        row for rows, num in _portions(seeds, votes) for row in rows for _ in range(num)
    )

    assert drawn == dict.fromkeys(range(seeds), votes)


def test_a_trial_changes_nothing_in_the_run_and_counts_the_same_again(tmp_path):
    trainer = make(tmp_path / "run")
    before = state_of(trainer)

    first = trainer.try_out(num_seeds=4, num_votes=4, num_proposals=2)

    assert state_of(trainer) == before
    again = trainer.try_out(num_seeds=4, num_votes=4, num_proposals=2)
    assert replace(again, speed=first.speed) == first
    assert judge(first) == judge(again)
