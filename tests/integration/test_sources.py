"""Labelled and unlabelled rows in a real run: mixed, on two processes, resumed, and kept apart."""

import json
from pathlib import Path

import pytest

from serl_trl import sandbox
from serl_trl.cli.entry import main
from serl_trl.cli.parser import SeRLParser
from serl_trl.common.errors import SeRLConfigError
from serl_trl.common.files import read_lines
from serl_trl.report.pages import build_report
from serl_trl.report.render import render_markdown
from serl_trl.runs.reader import read_run
from serl_trl.sandbox import labelled_set, load_model, load_tokenizer, seed_set, unlabelled_set
from serl_trl.train.config import SeRLConfig
from serl_trl.train.trainer import SeRLTrainer
from tests.integration.test_own_parts import whole_and_resumed
from tests.integration.tiny import SAVING

SOURCES = ["few_shot(anchors=2): 1", "unlabelled: 1", "labelled(weight=2): 2"]
MIXED = {
    "label_reward": "vote",
    "sources": SOURCES,
    "labelled_set": ["sandbox"],
    "unlabelled_set": ["sandbox"],
    "max_steps": 3,
    "use_band": True,
    "per_device_train_batch_size": 8,
}
BASE = {
    "model_name_or_path": "sandbox",
    "seed_set": "sandbox",
    "use_cpu": True,
    "bf16": False,
    "max_completion_length": 64,
    "proposer_max_tokens": 64,
}


def make(folder: Path, **values) -> SeRLTrainer:
    sets = {"labelled_set": labelled_set(), "unlabelled_set": unlabelled_set()}
    sets |= {name: values.pop(name) for name in ("evaluation_sets", *sets) if name in values}
    options = {**SAVING, "sources": SOURCES, "max_steps": 2, **values}
    config = SeRLConfig(output_dir=str(folder), **options)
    tokenizer = load_tokenizer()
    return SeRLTrainer(load_model(), config, seed_set(), processing_class=tokenizer, **sets)


@pytest.mark.slow
def test_a_mixed_run_on_two_processes_is_resumed_as_if_never_stopped(tmp_path):
    expected, found = whole_and_resumed(tmp_path, **MIXED)
    assert found == expected
    groups = [line for line in expected["ledger"] if line["type"] == "group"]
    assert {group["source"] for group in groups} == {"few_shot", "unlabelled", "labelled"}
    for group in groups:
        if group["source"] == "labelled" and group["keep"]:
            # The label is the gold answer, also where most completions said something else.
            assert group.get("label", group["majority_answer"]) == group["gold"]


def test_gold_rewards_and_weights_reach_the_update_and_the_report_tells_sources_apart(tmp_path):
    trainer = make(tmp_path / "run", use_band=False, max_steps=3)
    rows = []
    own_rows = trainer.batches._own_rows

    def note(groups):
        found = own_rows(groups)
        rows.extend(zip([g for g in groups for _ in g.completions], found, strict=True))
        return found

    trainer.batches._own_rows = note
    trainer.train()
    trainer.ledger.flush()
    assert {group.rollouts.task.source for group, _ in rows} >= {"labelled"}
    for place, (group, row) in enumerate(rows):
        task = group.rollouts.task
        size = len(group.completions)
        if task.source == "labelled":
            right = group.rollouts.right[place % size]
            assert row["label_reward"] == float(right) and group.labelled.weights == (2.0,) * size
    run = read_run(tmp_path / "run")
    assert run.facts["num_labelled"] == 64 and run.facts["num_unlabelled"] == 256
    page = render_markdown(build_report([run]))
    assert "What each source gave" in page and "| labelled |" in page.replace("`", "")
    assert "rewarded by their gold answers instead" in page


def test_rows_that_overlap_an_evaluation_set_are_left_out_and_named(tmp_path, caplog):
    held_out = [labelled_set()[3]["instruction"], unlabelled_set()[5]]
    trainer = make(tmp_path / "run", evaluation_sets={"exam": held_out})
    sizes = {name: len(rows) for name, rows in trainer.row_sets.items()}
    assert sizes["labelled_set"] < 64 and sizes["unlabelled_set"] < 256
    texts = {text for rows in trainer.row_sets.values() for text in rows.instructions}
    assert not texts & {*held_out}
    streams = trainer.selfplay.proposing.streams
    handed = {task.instruction for each in streams[1:] for task in each.source.rows(None)}
    assert handed == texts
    assert "labelled_set row 4: row 0 of exam." in caplog.text
    trainer.ledger.flush()
    lines = read_lines(tmp_path / "run" / "_serl" / "ledger.jsonl")
    named = [line for line in lines if line["type"] == "row_overlap"]
    assert {line["evaluation_set"] for line in named} == {"exam"}
    with pytest.raises(ValueError, match="overlap an evaluation set, and none is left"):
        make(
            tmp_path / "other",
            evaluation_sets={"exam": held_out},
            labelled_set=[{"question": held_out[0], "answer": "3"}],
        )


def test_a_run_is_not_resumed_with_other_labels(tmp_path):
    folder = tmp_path / "run"
    make(folder, max_steps=1).train()
    others = [{**row, "answer": "1"} for row in labelled_set()]
    trainer = make(folder, labelled_set=others)
    with pytest.raises(ValueError, match="labelled_set"):
        trainer.train(resume_from_checkpoint="auto")


def test_what_a_source_needs_is_asked_for_before_the_model_is_looked_at(tmp_path):
    with pytest.raises(ValueError, match="labelled_set is missing, and one of sources reads it"):
        make(tmp_path / "run", labelled_set=None)


def jsonl(name: str, rows: list[dict]) -> str:
    Path(name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return name


def checked(capsys, **values) -> str:
    flags = [f"--{name}={value}" for name, value in (BASE | values).items()]
    code = main(["check", *flags])
    out = capsys.readouterr()
    assert code == (2 if out.err else 0)
    return out.err or out.out


def test_check_reads_the_sets_beside_the_config_and_says_what_they_are(
    tmp_path, monkeypatch, capsys
):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path)
    seeds = seed_set()
    rows = [*labelled_set()[:3], {"instruction": seeds[0], "answer": "7"}]
    jsonl("here/labelled.jsonl", rows)
    text = "labelled_set: [labelled.jsonl]\nsources: ['few_shot: 0.9', 'labelled: 0.1']\n"
    text += "".join(f"{name}: {json.dumps(value)}\n" for name, value in BASE.items())
    Path("here/run.yaml").write_text(text + "unlabelled_set: [sandbox]\n")

    assert main(["check", "--config", "here/run.yaml"]) == 0
    said = capsys.readouterr().out
    assert "here/labelled.jsonl, 4 rows, 4 with answers" in said
    assert "1 row of labelled_set stand in the seed set too" in said
    assert "unlabelled_set: none of sources reads it" in said


@pytest.mark.parametrize(
    ("sources", "rows", "said"),
    [
        ("labelled", None, "labelled_set is missing, and one of sources reads it"),
        ("labelled", [{"question": "What is 1?"}], "labelled_set: rows.jsonl has no column"),
        ("labelled", [{"question": "What is 1?", "answer": "one"}], "cannot be read"),
        ("few_shot(anchors=2)", None, "labelled_set is missing"),
        ("labelled(weight=0)", [{"question": "What is 1?", "answer": "1"}], "must be a number"),
    ],
)
def test_a_bad_set_is_one_sentence_before_a_model_is_loaded(
    sources, rows, said, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    given = {} if rows is None else {"labelled_set": jsonl("rows.jsonl", rows)}
    found = checked(capsys, sources=sources, answer_kind="number", **given)
    assert said in found


def test_a_set_that_does_not_exist_is_named_with_those_that_do(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    jsonl("labels.jsonl", labelled_set())
    flags = ["--labelled_set", "label.jsonl", "--sources", "labelled"]
    flags += [f"--{name}={value}" for name, value in BASE.items()]
    with pytest.raises(SeRLConfigError, match=r"label.jsonl does not exist .*labels.jsonl"):
        SeRLParser().parse(flags)


def test_a_plan_names_the_sets_that_it_does_not_read(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert sandbox.MODEL_PATHS
    flags = [f"--{name}={value}" for name, value in BASE.items()]
    flags += ["--labelled_set", "owner/labels", "--sources", "labelled", "few_shot"]
    assert main(["plan", *flags]) == 0
    assert "labelled_set: owner/labels is not read" in capsys.readouterr().out
