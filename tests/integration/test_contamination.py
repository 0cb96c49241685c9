"""Problems that a model will be measured on are kept out of what it trains on."""

from pathlib import Path

import pytest

from serl_trl import trainer_from_config
from serl_trl.cli.parser import SeRLConfigError
from serl_trl.common.files import read_lines
from serl_trl.sandbox import heldout, load_model, load_tokenizer, seed_set
from serl_trl.train.config import SeRLConfig
from serl_trl.train.trainer import SeRLTrainer

OPTIONS = {
    "use_cpu": True,
    "bf16": False,
    "gradient_checkpointing": False,
    "report_to": "none",
    "save_strategy": "no",
    "disable_tqdm": True,
    "per_device_train_batch_size": 8,
    "gradient_accumulation_steps": 1,
    "num_generations": 4,
    "proposer_max_tokens": 256,
    "max_per_template": 0,
}


def make(folder: Path, **arguments) -> SeRLTrainer:
    config = SeRLConfig(output_dir=str(folder), **OPTIONS)
    return SeRLTrainer(
        load_model(), config, seed_set(), processing_class=load_tokenizer(), **arguments
    )


def test_what_overlaps_the_probe_set_or_a_named_set_is_refused_counted_and_listed(tmp_path):
    held = heldout()[:20]
    trainer = make(
        tmp_path, eval_dataset=held, evaluation_sets={"exam": [heldout()[30]["instruction"]]}
    )
    judge = trainer.selfplay.proposing.filter.judge

    assert judge(held[3]["instruction"]).detail["evaluation_set"] == "probe_set"
    assert judge(heldout()[30]["instruction"]).detail["evaluation_set"] == "exam"
    assert judge(heldout()[40]["instruction"]).reason != "contamination"


def test_without_evaluation_sets_nothing_is_refused_as_contamination(tmp_path):
    trainer = make(tmp_path)
    assert (
        trainer.selfplay.proposing.filter.judge(heldout()[0]["instruction"]).reason
        != "contamination"
    )


def test_refusals_for_contamination_stand_in_the_ledger_with_their_set(tmp_path):
    trainer = make(tmp_path, evaluation_sets={"exam": [p["instruction"] for p in heldout()]})
    trainer.model.train()
    for _ in range(4):
        trainer.selfplay.proposing.judge_proposals(0)
    trainer.ledger.flush()
    records = read_lines(tmp_path / "_serl" / "ledger.jsonl")
    refused = [r for r in records if r["type"] == "proposal" and r["reason"] == "contamination"]
    assert refused
    assert {r["detail"]["evaluation_set"] for r in refused} == {"exam"}
    assert all(0 <= r["detail"]["row"] < 200 for r in refused)


def test_seeds_that_overlap_are_named_and_stay(tmp_path, caplog):
    seed = seed_set()[5]
    trainer = make(tmp_path, evaluation_sets={"exam": [seed]})
    assert "1 of 64 seeds overlap an evaluation set (rows 5)" in caplog.text
    assert seed in trainer.selfplay.proposing.pool.seeds


def test_a_benchmark_is_kept_out_by_its_name_and_an_unknown_file_is_refused(tmp_path):
    run = {"output_dir": str(tmp_path / "run"), "overwrite": True}
    trainer = trainer_from_config("sandbox", evaluation_sets=["sandbox"], **run)
    assert len(trainer.evaluation_sets["sandbox"]) == len(heldout())
    with pytest.raises(SeRLConfigError, match=r"evaluation_sets=.*nowhere\.jsonl"):
        trainer_from_config("sandbox", evaluation_sets=[str(tmp_path / "nowhere.jsonl")], **run)
