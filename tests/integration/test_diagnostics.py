"""What a probe says of the labels, in a run of the sandbox."""

import json
from pathlib import Path

import pytest
import yaml

from serl_trl.cli.inputs import load_inputs
from serl_trl.cli.inputs import test_set_warning as say_test_set
from serl_trl.cli.parser import RunArguments, SeRLConfigError, SeRLParser
from serl_trl.common.files import read_lines
from serl_trl.loop.label_trust import check_label
from serl_trl.sandbox import heldout, load_model, load_tokenizer, seed_set
from serl_trl.train.config import SeRLConfig
from serl_trl.train.trainer import SeRLTrainer

CONFIGS = Path(__file__).parents[2] / "configs"


def build(folder, **options):
    config = SeRLConfig(
        output_dir=str(folder),
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
        validity="careful",
        **options,
    )
    return SeRLTrainer(
        load_model(), config, seed_set(), heldout()[:6], processing_class=load_tokenizer()
    )


def logged(trainer):
    return {key: value for entry in trainer.state.log_history for key, value in entry.items()}


def test_a_probe_checks_its_labels_and_estimates_those_of_the_run(tmp_path):
    sampling = {"temperature": 0.7, "top_p": 0.9}
    trainer = build(tmp_path, **sampling)
    trainer.train()

    logs = logged(trainer)
    # Next to nothing was learnt, so the same measurement finds the same answers: as many samples
    # as a group has, drawn in the same way.
    again = trainer.measure(trainer.probe_set, num_samples=8, greedy=False, **sampling)
    assert logs["serl/probe/mean_length"] == again.summary()["mean_length"]
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
    assert trainer.selfplay.labelling.take_label_ratios() == []


def test_a_probe_with_another_number_of_votes_estimates_nothing(tmp_path):
    trainer = build(tmp_path, probe_samples=4)
    trainer.train()
    logs = logged(trainer)
    assert "serl/probe/label_accuracy" in logs
    assert not [key for key in logs if key.startswith("serl/kept_label_accuracy_")]


def parsed(**options):
    flags = ["--config", str(CONFIGS / "sandbox_cpu.yaml"), "--output_dir", "unused"]
    for name, value in options.items():
        flags += [f"--{name}", value]
    return SeRLParser(prog="serl").parse(flags)


def test_gold_is_read_out_of_the_solutions_of_a_probe_set(tmp_path):
    file = tmp_path / "probe.jsonl"
    rows = [
        {"problem": "1+1?", "solution": "It is \\boxed{1}, no: $\\boxed{2}$."},
        {"problem": "2+1?", "solution": "3"},
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    args = parsed(probe_set=str(file), probe_answer_column="solution")
    assert load_inputs(args).probe_set.answers == ("2", "3")
    # What cannot be graded must not come out in the middle of a run.
    file.write_text(json.dumps({"problem": "1+1?", "solution": "who knows"}) + "\n")
    args.config.answer_kind = "number"
    with pytest.raises(
        SeRLConfigError, match=r"probe\.jsonl:1: the answer 'who knows' cannot be read"
    ):
        load_inputs(args)


def test_solutions_without_a_readable_box_are_passed_over_as_far_as_allowed(tmp_path):
    file = tmp_path / "probe.jsonl"
    solutions = ["$\\boxed{2}$", "the answer is $\\boxed 5$", "$\\boxed{4}$"]
    rows = [{"problem": f"{i}+{i}?", "solution": text} for i, text in enumerate(solutions)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(SeRLConfigError, match=r"1 answer that cannot be read, allowed are max_bad"):
        load_inputs(parsed(probe_set=str(file), probe_answer_column="solution"))
    args = parsed(probe_set=str(file), probe_answer_column="solution", max_bad_rows="1")
    probe_set = load_inputs(args).probe_set
    assert (probe_set.instructions, probe_set.answers) == (("0+0?", "2+2?"), ("2", "4"))
    assert "probe.jsonl:2: the answer 'the answer is $" in probe_set.warnings[0]


@pytest.mark.parametrize(
    ("probe", "split", "config", "warned"),
    [
        ("HuggingFaceH4/MATH-500", "test[:100]", None, True),
        ("openai/gsm8k", "test", "main", True),
        ("openai/gsm8k", "train", "main", False),
        ("mine/own", "test", None, False),
    ],
)
def test_a_probe_set_that_is_a_benchmark_is_warned_of(probe, split, config, warned):
    run = RunArguments(probe_set=probe, probe_split=split, probe_config=config)
    assert bool(say_test_set(run)) == warned


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_no_preset_probes_on_a_benchmark_or_on_its_seeds(path):
    values = yaml.safe_load(path.read_text())
    names = ("probe_set", "probe_split", "probe_config", "probe_answer_column")
    run = RunArguments(**{name: values[name] for name in names if name in values})
    assert not say_test_set(run)
    if "probe_set" in values and not path.stem.startswith("sandbox_"):
        assert values["probe_set"] == values["seed_set"]
        assert (values["seed_split"], run.probe_split[:10]) == ("train[:500]", "train[500:")
