"""Labellers and sources from outside the package, and what a reward of None does to the loss."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from serl_trl.cli.entry import main
from serl_trl.common.files import read_lines
from serl_trl.train.config import SeRLConfig
from serl_trl.train.trainer import SeRLTrainer
from serl_trl.train.unrewarded import TRAINED
from tests.integration.own_parts import Half
from tests.integration.tiny import OPTIONS, SAVING, SEEDS

ROOT = Path(__file__).parents[2]
LABEL, SOURCE = "own_parts.Half(share=0.25)", "own_parts.Longest(most=6)"


def run_two(folder: Path, **values) -> None:
    """Train on two processes by the command line, from a YAML that names the parts."""
    config = {
        **SAVING,
        "model_name_or_path": "sandbox",
        "seed_set": "sandbox",
        "label_reward": LABEL,
        "sources": [{"few_shot": 0.5}, {SOURCE: 0.5}],
        "use_band": False,
        "ddp_backend": "gloo",
        "output_dir": str(folder),
        **values,
    }
    file = folder.parent / f"{folder.name}.yaml"
    file.write_text(yaml.safe_dump(config))
    launch = [sys.executable, "-m", "accelerate.commands.launch"]
    launch += ["--config_file", str(ROOT / "configs/accelerate/cpu2.yaml"), str(ROOT / "train.py")]
    done = subprocess.run(
        [*launch, "--config", str(file), "--plugins", "own_parts"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path_with(Path(__file__).parent)},
    )
    assert done.returncode == 0, done.stderr[-3000:]


def path_with(folder: Path) -> str:
    return os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH", "")]))


def result_of(folder: Path) -> dict:
    lines = read_lines(folder / "_serl" / "ledger.jsonl")
    metrics = read_lines(folder / "_serl" / "metrics.jsonl")
    logged = [line["serl/label/num_groups"] for line in metrics if "serl/label/num_groups" in line]
    weights = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    return {"ledger": lines, "logged": logged, "weights": weights}


def whole_and_resumed(folder: Path, **values) -> tuple[dict, dict]:
    """Return the result of a run on two processes, and that of its resumption from its first step.

    They lie in `whole` and `cut` below `folder`.
    """
    whole, cut = folder / "whole", folder / "cut"
    run_two(whole, **values)
    shutil.copytree(whole, cut)
    later = {*cut.glob("checkpoint-*")} - {cut / "checkpoint-1"}
    assert later
    for each in later:
        shutil.rmtree(each)
    run_two(cut, **values, resume="auto")
    return result_of(whole), result_of(cut)


def test_parts_of_ones_own_train_on_two_processes_and_resume_as_if_never_stopped(tmp_path):
    expected, found = whole_and_resumed(tmp_path, max_steps=2)
    assert found == expected
    groups = [line for line in expected["ledger"] if line["type"] == "group"]
    origins = {group["origin"].partition(":")[0] for group in groups}
    assert origins == {"proposal", "seed"}
    assert {group["keep"] for group in groups} == {True}
    assert expected["logged"] == sorted(expected["logged"]) != []


@pytest.mark.parametrize(("name", "value"), [("label_reward", LABEL), ("sources", [SOURCE])])
def test_a_config_file_alone_has_no_code_of_a_stranger_run(tmp_path, capsys, name, value):
    file = tmp_path / "run.yaml"
    values = {"model_name_or_path": "sandbox", "seed_set": "sandbox", name: value}
    file.write_text(
        yaml.safe_dump({**values, "output_dir": str(tmp_path / "run"), "use_cpu": True})
    )
    assert main(["check", "--config", str(file)]) == 2
    said = capsys.readouterr().err
    assert "would run code of own_parts, which is not a plug-in" in said
    assert "--plugins own_parts" in said


class Halved(Half):
    """Rewards the first two completions of each group of four; the others carry no signal."""

    def _one(self, group):
        found = super()._one(group)
        return type(found)((1.0, 0.0, None, None), found.verdict, 0.5)


def masked_batch(tiny_model, tmp_path, **options) -> tuple[SeRLTrainer, dict]:
    """Return a trainer and its first micro-batch, half of whose completions carry no signal."""
    config = SeRLConfig(output_dir=str(tmp_path), **{**OPTIONS, "learning_rate": 1e-12, **options})
    trainer = SeRLTrainer(tiny_model, config, SEEDS)
    trainer.selfplay.labelling.labeller = Halved()
    return trainer, first_batch(trainer)


def first_batch(trainer) -> dict:
    """Train, and return the first micro-batch that the loss was given."""
    batches = []
    loss = trainer.compute_loss

    def keep(model, inputs, *rest, **named):
        batches.append(inputs)
        return loss(model, inputs, *rest, **named)

    trainer.compute_loss = keep
    trainer.train()
    trainer.compute_loss = loss
    return batches[0]


@pytest.mark.parametrize("loss_type", ["grpo", "dapo", "bnpo", "dr_grpo"])
@pytest.mark.parametrize("advantage", ["grpo", "rloo", "reinforce_pp"])
def test_completions_without_a_reward_are_as_if_they_were_not_there(
    tiny_model, tmp_path, loss_type, advantage
):
    options = {"loss_type": loss_type, "advantage": advantage, "beta": 0.1}
    trainer, batch = masked_batch(tiny_model, tmp_path, max_steps=1, **options)
    assert float(batch[TRAINED]) == 0.5
    assert trainer.state.log_history[0]["serl/num_masked"] == 4
    silent = batch["tool_mask"].sum(dim=1) == 0
    assert silent.sum() == 4
    trainer.model.train()
    trainer.current_gradient_accumulation_steps = 1
    whole = trainer.compute_loss(trainer.model, batch)
    rows = {
        name: value[~silent] if isinstance(value, torch.Tensor) and value.ndim else value
        for name, value in batch.items()
        if name != TRAINED
    }
    alone = trainer.compute_loss(trainer.model, rows)
    assert torch.isfinite(whole)
    assert float(whole) == pytest.approx(float(alone), rel=1e-4, abs=1e-7)


def test_a_run_without_a_none_has_no_mask_and_no_count(tiny_model, tmp_path):
    config = SeRLConfig(output_dir=str(tmp_path), **{**OPTIONS, "max_steps": 1})
    trainer = SeRLTrainer(tiny_model, config, SEEDS)
    trainer.train()
    assert not any("serl/num_masked" in entry for entry in trainer.state.log_history)
