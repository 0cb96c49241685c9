"""Run folders are read whole or damaged, resumed or not, with little in memory."""

import json
from pathlib import Path

import pytest

from serl_trl.measure.figures import Graded, Measurement
from serl_trl.runs.reader import (
    Records,
    evaluation_record,
    read_run,
    steps_in_buckets,
    write_evaluation,
)


def proposal(number: int, step: int, *, keep: bool = True, shots=(), reason: str = "rouge_l"):
    return {
        "type": "proposal",
        "id": number,
        "step": step,
        "text": f"text {number}",
        "shots": list(shots),
        "keep": keep,
        "reason": "" if keep else reason,
        "detail": {},
    }


def group(number: int, step: int, *, origin: str = "seed:0", answer: str | None = "7", **values):
    return {
        "type": "group",
        "id": number,
        "step": step,
        "instruction": f"instruction {number}",
        "origin": origin,
        "answers": {"7": 3},
        "majority_answer": answer,
        "majority_ratio": 0.75,
        "gold": None,
        "keep": True,
        "reason": "",
        **values,
    }


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / "_serl").mkdir()
    return tmp_path


def write(folder: Path, name: str, records, *, end: str = "") -> None:
    text = "".join(json.dumps(record) + "\n" for record in records)
    (folder / "_serl" / name).write_text(text + end, encoding="utf-8")


def test_a_folder_without_a_run_is_an_error_that_says_so(tmp_path):
    with pytest.raises(ValueError, match="does not exist"):
        read_run(tmp_path / "nothing")
    with pytest.raises(ValueError, match="holds no _serl folder; name the output_dir"):
        read_run(tmp_path)
    (tmp_path / "_serl").mkdir()
    with pytest.raises(ValueError, match="neither"):
        read_run(tmp_path)


def test_columns_hold_what_was_kept_refused_and_voted(folder):
    write(
        folder,
        "ledger.jsonl",
        [
            proposal(0, 0),
            proposal(1, 0, keep=False),
            group(0, 0, origin="proposal:0", label_right=False),
            group(1, 1, answer=None, keep=False, reason="tie", majority_ratio=0.5),
        ],
    )

    run = read_run(folder)

    proposals, groups = run.ledger.proposals, run.ledger.groups
    assert (proposals.kept(), proposals.refused(), proposals.reason(1)) == ([0], [1], "rouge_l")
    assert dict(groups.reasons()) == {"tie": 1}
    assert list(groups.proposals) == [0, -1]
    assert (list(groups.voted), list(groups.rights)) == ([1, 0], [0, -1])
    assert list(groups.ratios) == [0.75, 0.5]
    assert run.ledger.read(proposals.places[1])["text"] == "text 1"
    assert list(run.ledger.answers) == [(0, "7")]


def test_what_a_crash_or_a_bad_disk_left_is_passed_over_and_said(folder):
    write(folder, "ledger.jsonl", [proposal(0, 0)], end='{"type": "prop')
    write(folder, "metrics.jsonl", [{"step": 1, "a": 1}], end="[1, 2]\n\x00\n{}\n")
    (folder / "_serl" / "config.yaml").write_text("a: [", encoding="utf-8")

    run = read_run(folder)

    assert len(run.ledger.proposals) == 1
    assert run.metrics == [{"step": 1.0, "a": 1.0}]
    assert run.notes == (
        "config.yaml cannot be read and is left out.",
        "3 lines of metrics.jsonl cannot be read and are left out.",
        "The last line of ledger.jsonl is cut off and is left out.",
    )


@pytest.mark.parametrize("line", ["[" * 100_000, '{"type": "group", "id": 1e999}', "9" * 5000, ""])
def test_no_line_can_stop_the_reading(folder, line):
    write(folder, "ledger.jsonl", [], end=line + "\n" + json.dumps(proposal(5, 0)) + "\n")

    assert list(read_run(folder).ledger.proposals.ids) == [5]


def test_records_of_wrong_types_become_harmless_ones(folder):
    odd = {"id": "x", "step": -3, "keep": False, "reason": ["a"], "origin": 3, "text": None}
    write(
        folder,
        "ledger.jsonl",
        [
            {"type": "proposal", **odd},
            {"type": "group", **odd, "majority_ratio": "high", "label_right": "yes"},
            {"type": "starved", "step": None, "diagnosis": None},
            {"type": "iteration"},
            {"type": ["list"]},
        ],
    )

    run = read_run(folder)

    assert (len(run.ledger.proposals), len(run.ledger.groups)) == (1, 1)
    assert run.ledger.groups.ratios[0] == 0.0


def test_two_rows_of_one_step_are_one(folder):
    write(folder, "metrics.jsonl", [{"step": 1, "a": 1}, {"step": 1, "b": 2, "c": float("nan")}])

    assert read_run(folder).metrics == [{"step": 1.0, "a": 1.0, "b": 2.0}]


def test_an_example_is_found_by_its_place_in_the_pool_of_its_iteration(folder):
    write(
        folder,
        "ledger.jsonl",
        [
            proposal(0, 0),
            proposal(1, 0, keep=False),
            proposal(2, 1),
            proposal(3, 1),
            {"type": "iteration", "step": 2, "number": 2},
            proposal(4, 2),
            proposal(5, 3),
        ],
    )

    run = read_run(folder)

    assert run.shot_row(3, "pool:1") == 2
    assert run.shot_row(6 - 1, "pool:0") == 4
    assert run.shot_row(5, "pool:7") is None
    assert run.shot_row(5, "seed:1") is None
    assert run.shot_row(5, "pool:\u0663") is None
    assert run.proposal_row(4) == 4
    assert run.proposal_row(9) is None


def test_there_is_a_limit_to_the_reasons_that_are_told_apart():
    records = Records()
    for number in range(1000):
        records.add(0, proposal(number, 0, keep=False, reason=f"reason {number}"))

    assert len(records.reasons()) <= 201
    assert records.reasons().total() == 1000


def test_buckets_hold_every_row_once():
    records = Records()
    for number, step in enumerate([0, 0, 1, 5, 5, 9]):
        records.add(0, proposal(number, step))

    spans = steps_in_buckets(records.steps, 10, 3)

    assert [row for span in spans for row in span] == list(range(6))
    assert [len(span) for span in spans] == [3, 2, 1]
    assert len(steps_in_buckets(records.steps, 10, 40)) == 10
    assert [len(span) for span in steps_in_buckets(Records().steps, 0, 5)] == [0]


def graded(right: int) -> Graded:
    classes = (0,) * right + (1,) * (4 - right)
    return Graded("q", "7", ("7",) * 4, classes, 0, (False,) * 4, (3,) * 4)


def test_the_change_is_measured_over_pairs(folder):
    before = Measurement(tuple(graded(n) for n in (0, 1, 2, 3)), 4)
    after = Measurement(tuple(graded(n) for n in (1, 2, 3, 4)), 4)

    record = evaluation_record(before, after)
    write(folder, "metrics.jsonl", [{"step": 1}])
    write_evaluation(folder, before, after)
    assert read_run(folder).evaluation == record

    assert (record["num_problems"], record["num_samples"]) == (4, 4)
    figures = record["figures"]["pass@1"]
    assert figures["before"]["mean"] == pytest.approx(0.375)
    # Every problem gained the same, so that nothing about the change is uncertain.
    assert figures["change"] == {"mean": 0.25, "low": 0.25, "high": 0.25}
    # Two of four is a tie: the majority is right on 3 before, and on 3 and 4 after.
    counts = {"learnt": 1, "sharpened": 1, "kept": 0, "lost": 0, "never": 2}
    assert record["transitions"] == counts
    vote = record["beyond_vote"]
    assert [vote[part]["mean"] for part in vote] == [0.375, 0.625, 0.25]
