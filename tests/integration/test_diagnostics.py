"""What a probe says of the labels, in a run of the sandbox."""

import pytest

from serl_trl.config import SeRLConfig
from serl_trl.diagnostics import check_label
from serl_trl.ledger import read_lines
from serl_trl.sandbox import heldout, load_model, load_tokenizer, seed_set
from serl_trl.trainer import SeRLTrainer


def test_a_probe_checks_its_labels_and_estimates_those_of_the_run(tmp_path):
    config = SeRLConfig(
        output_dir=str(tmp_path),
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
        logging_steps=1,
        max_steps=2,
        per_device_train_batch_size=16,
        gradient_accumulation_steps=1,
        num_generations=8,
        max_completion_length=64,
        proposer_max_tokens=200,
        max_per_template=0,
        learning_rate=1e-12,
        probe_steps=2,
        probe_samples=8,
    )
    trainer = SeRLTrainer(
        load_model(), config, seed_set(), heldout()[:6], processing_class=load_tokenizer()
    )
    trainer.train()

    logs = {key: value for entry in trainer.state.log_history for key, value in entry.items()}
    # Next to nothing was learnt, so the same measurement finds the same answers.
    again = trainer.measure(trainer.probe_set, num_samples=8, greedy=False)
    checked = [check_label(graded.classes, graded.gold_class) for graded in again.problems]
    labels = [label for label in checked if label is not None]
    assert logs["serl/probe/label_accuracy"] == pytest.approx(
        sum(label.right for label in labels) / len(labels)
    )
    low, value, high = (
        logs[f"serl/kept_label_accuracy_{name}"] for name in ("low", "estimate", "high")
    )
    assert 0 <= low <= value <= high <= 1
    records = read_lines(tmp_path / "_serl" / "ledger.jsonl")
    curves = [record for record in records if record["type"] == "calibration"]
    assert [curve["step"] for curve in curves] == [2]
    assert sum(each["num_labels"] for each in curves[0]["bins"]) == len(labels)
    assert trainer.selfplay.take_label_ratios() == []
