"""The ledger as a data set: every proposal once, with its fate, votes and lineage, and no seed."""

import json
from pathlib import Path
from typing import Any

import pytest

from serl_trl.filters.gate import ProposalFilter
from serl_trl.runs.reader import read_run
from serl_trl.share import dataset as export
from serl_trl.share.dataset import COLUMNS, examples_of, read_rows, withheld_because, write_dataset


def proposal(number: int, text: str, *, reason: str = "", step: int = 0, **more: Any) -> dict:
    record = {
        "type": "proposal",
        "id": number,
        "step": step,
        "text": text,
        "shots": [],
        "detail": {},
    }
    return {**record, "keep": not reason, "reason": reason, **more}


def group(number: int, origin: str, answers: dict[str, int], *, reason: str = "", step: int = 0):
    most = max(answers, key=lambda answer: answers[answer])
    return {
        "type": "group",
        "id": number,
        "step": step,
        "origin": origin,
        "instruction": "...",
        "answers": answers,
        "num_unparsable": 1,
        "majority_answer": None if reason == "tie" else most,
        "majority_ratio": answers[most] / (sum(answers.values()) + 1),
        "keep": not reason,
        "reason": reason,
    }


LEDGER = [
    proposal(
        0, "What is 1 + 1?", shots=["seed:3", "seed:1"], detail={"rouge_l": 0.4, "nearest": "s"}
    ),
    proposal(1, "too short", reason="length"),
    proposal(2, "A seed again?", reason="duplicate"),
    proposal(3, "What is 1 + 1?", reason="duplicate"),
    proposal(
        4, "Known test?", reason="contamination", detail={"evaluation_set": "gsm8k", "row": 3}
    ),
    group(0, "proposal:0", {"3": 1, "2": 5}),
    group(1, "seed:4", {"2": 5}),
    {"type": "iteration", "step": 1, "number": 2},
    proposal(5, "What is 2 + 2?", step=1, shots=["seed:0"]),
    proposal(6, "What is 3 + 3?", step=1, shots=["pool:0", "pool:7"]),
    group(2, "proposal:5", {"1": 2, "4": 2}, reason="tie", step=2),
]


def run_of(folder: Path, records: list[dict], **config: Any):
    private = folder / "_serl"
    private.mkdir()
    (private / "config.yaml").write_text(json.dumps({"temperature": 1.0, **config}))
    lines = "".join(json.dumps(record) + "\n" for record in records)
    (private / "ledger.jsonl").write_text(lines)
    return read_run(folder)


@pytest.fixture
def rows(tmp_path) -> dict[str, dict[str, Any]]:
    found = read_rows(run_of(tmp_path, LEDGER), run_id="abc")
    return {row["id"]: row for row in found}


def test_every_proposal_is_one_row_with_its_fate(rows):
    assert list(rows) == [f"proposal:{number}" for number in range(7)]
    assert [row["accepted"] for row in rows.values()] == [
        True,
        False,
        False,
        False,
        False,
        True,
        True,
    ]
    assert rows["proposal:1"]["reason"] == "length"
    assert rows["proposal:0"]["reason"] is None
    assert rows["proposal:0"]["similarity"] == 0.4
    assert set().union(*rows.values()) <= set(COLUMNS)


def test_a_row_holds_the_votes_of_its_group(rows):
    row = rows["proposal:0"]

    assert row["answers"] == [{"answer": "2", "votes": 5}, {"answer": "3", "votes": 1}]
    assert (row["majority_answer"], row["majority_ratio"]) == ("2", 5 / 7)
    assert (row["num_completions"], row["num_unparsable"], row["kept"]) == (7, 1, True)
    tied = rows["proposal:5"]
    assert (tied["majority_answer"], tied["kept"], tied["group_reason"]) == (None, False, "tie")
    assert (tied["policy_revision"], tied["voted_step"]) == ("abc@1", 2)
    assert rows["proposal:6"]["rolled_out"] is False


def test_lineage_names_proposals_across_iterations(rows, tmp_path):
    assert rows["proposal:0"]["shots"] == ["seed:3", "seed:1"]
    # The pool was emptied, so its first text is the first of the new iteration.
    assert rows["proposal:6"]["shots"] == ["proposal:5", "pool:7"]
    (tmp_path / "kept").mkdir()
    found = list(read_rows(run_of(tmp_path / "kept", LEDGER, reset_pool=False), run_id="abc"))
    assert found[6]["shots"] == ["proposal:0", "pool:7"]


def test_seeds_and_evaluation_problems_are_not_published(rows):
    withheld = {key: row["withheld"] for key, row in rows.items() if row["withheld"]}

    assert withheld == {
        "proposal:1": "was refused before it was compared with seeds",
        "proposal:2": "may copy a seed",
        "proposal:4": "overlaps an evaluation problem",
    }
    assert all(rows[key]["instruction"] is None for key in withheld)
    # A copy of its own text is no secret.
    assert rows["proposal:3"]["instruction"] == "What is 1 + 1?"


def test_a_near_copy_of_a_seed_is_withheld_and_one_of_an_own_text_is_not():
    near = proposal(1, "x", reason="rouge_l", detail={"rouge_l": 0.95, "nearest": "seed"})

    assert withheld_because(near, set()) == "may copy a seed"
    assert withheld_because(near, {"seed"}) is None
    assert withheld_because({**near, "detail": {"rouge_l": 0.8, "nearest": "seed"}}, set()) is None
    # Without a bound on ROUGE-L, or with a high one, a copy can be accepted.
    assert withheld_because({**near, "keep": True}, set()) == "may copy a seed"
    novel = {"rouge_l": 0.5, "nearest": "seed"}
    assert withheld_because({**near, "keep": True, "detail": novel}, set()) is None


@pytest.mark.parametrize(
    "copy",
    [
        "Look at the figure below. What is the area of the shaded region of Mrs Petrov's garden?",
        "Read the table. What is the total and how many are left? What is the mean?",
        "Tom has 3 pens and buys 4 more. How many pens does he have?",
    ],
)
@pytest.mark.parametrize("novelty", ["math", "plain"])
@pytest.mark.parametrize("known_as", ["seed", "evaluation problem"])
def test_a_copy_is_withheld_whichever_filter_refused_it(copy, novelty, known_as):
    seeds, problems = ((copy,), ["x"]) if known_as == "seed" else (("x",), [copy])
    judge = ProposalFilter(seeds, novelty=novelty, contamination={"probe": problems}).judge
    verdict = judge(copy)
    assert not verdict.keep

    record = proposal(1, copy, reason=verdict.reason, detail=dict(verdict.detail or {}))

    assert withheld_because(record, set())


def test_a_text_of_an_overused_template_was_not_compared_with_the_seeds():
    seeds = [f"Tom has {n} pens and buys 4 more. How many pens does he have?" for n in (3, 5, 6)]
    text = seeds[0].replace("3", "9")
    verdict = ProposalFilter(seeds).judge(text)
    assert verdict.reason == "template"

    record = proposal(1, text, reason=verdict.reason, detail=dict(verdict.detail or {}))

    assert withheld_because(record, set())


def test_a_copy_of_a_withheld_text_is_withheld(tmp_path):
    seed = {"rouge_l": 1.0, "nearest": "A seed?"}
    records = [proposal(0, "A seed?", detail=seed), proposal(1, "A seed?", reason="duplicate")]

    found = list(read_rows(run_of(tmp_path, records), run_id="abc"))

    assert [row["instruction"] for row in found] == [None, None]


def test_examples_are_texts_that_may_be_shown(tmp_path):
    found = examples_of(run_of(tmp_path, LEDGER).ledger)

    assert found["accepted"] == ["What is 1 + 1?", "What is 2 + 2?", "What is 3 + 3?"]
    assert found["refused"] == []


def test_refused_texts_are_shown_where_they_were_compared_and_differ(tmp_path):
    like = {"rouge_l": 0.75, "nearest": "A seed?"}
    records = [
        proposal(0, "too short", reason="length"),
        proposal(1, "rather like a seed", reason="rouge_l", detail=like),
    ]

    assert examples_of(run_of(tmp_path, records).ledger)["refused"] == ["rather like a seed"]


def test_files_are_cut_and_numbered(tmp_path, monkeypatch):
    from pyarrow import parquet

    monkeypatch.setattr(export, "ROWS_PER_FILE", 4)
    monkeypatch.setattr(export, "ROWS_PER_WRITE", 2)
    run = run_of(tmp_path, [proposal(number, f"text {number}\ud800\x1b[0m") for number in range(9)])

    counts = write_dataset(tmp_path / "out", read_rows(run, run_id="abc"))

    assert counts == {"accepted": 9, "refused": 0}
    names = sorted(path.name for path in (tmp_path / "out" / "data").iterdir())
    assert names == [f"accepted-0000{number}-of-00003.parquet" for number in range(3)]
    read = [parquet.read_table(tmp_path / "out" / "data" / name) for name in names]
    assert [len(part) for part in read] == [4, 4, 1]
    assert read[0].column_names == list(COLUMNS)
    assert read[2]["instruction"].to_pylist() == ["text 8?\ufffd[0m"]
