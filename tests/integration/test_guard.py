"""A run that collapses stops itself and goes back; one that does not is left as it is."""

import hashlib
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig
from safetensors.torch import load_file

from serl_trl.cli.entry import main
from serl_trl.common.console import COLLAPSED, OK
from serl_trl.common.files import read_lines
from serl_trl.measure import sentinel
from serl_trl.runs.reader import read_run
from serl_trl.sandbox import heldout, load_model, load_tokenizer, seed_set
from serl_trl.train import sentinel as rolling
from serl_trl.train.config import SeRLConfig
from serl_trl.train.trainer import SeRLTrainer
from tests.integration.processes import run_to_end
from tests.integration.tiny import SAVING

ROOT = Path(__file__).parents[2]

# At this rate random rewards leave the model without any answer after two steps.
STOP, RESTORED = 2, "checkpoint-1"
COLLAPSING: dict[str, Any] = {
    **SAVING,
    "max_steps": 6,
    "sources": ["given"],
    "label_reward": "random",
    "use_band": False,
    "learning_rate": 1e-2,
    "sentinel_steps": 2,
}


@pytest.fixture(autouse=True, scope="module")
def few_settled():
    """The sandbox's model settles on few seeds before it is trained, and these runs are short."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sentinel, "MIN_SETTLED", 4)
        patch.setattr(rolling, "SIZE", 24)
        yield


def make(folder: Path, *, lora: bool = False, probe: Any = None, **options: Any) -> SeRLTrainer:
    return SeRLTrainer(
        load_model(),
        SeRLConfig(output_dir=str(folder), **{**COLLAPSING, **options}),
        seed_set(),
        probe,
        processing_class=load_tokenizer(),
        peft_config=LoraConfig(r=4, target_modules="all-linear") if lora else None,
    )


def weights(trainer: SeRLTrainer) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in trainer.model.parameters()])


def ledger(folder: Path, *kinds: str) -> list[dict[str, Any]]:
    lines = read_lines(folder / "_serl" / "ledger.jsonl")
    return [line for line in lines if line["type"] in kinds]


@pytest.fixture(scope="module")
def collapsed(tmp_path_factory) -> tuple[Path, SeRLTrainer]:
    folder = tmp_path_factory.mktemp("collapsed")
    trainer = make(folder)
    trainer.train()
    return folder, trainer


def test_a_collapsing_run_stops_and_goes_back_to_the_checkpoint_before_the_alarm(collapsed):
    folder, trainer = collapsed

    assert trainer.state.global_step == STOP
    assert (trainer.guard.ended.action, trainer.guard.ended.alarm) == ("rollback", "many_flips")
    assert trainer.guard.ended.restored == RESTORED
    saved = load_file(folder / RESTORED / "model.safetensors")
    now = trainer.model.state_dict()
    assert all(torch.equal(now[name], saved[name]) for name in saved)
    # Nothing is deleted, the collapsed weights included.
    assert (folder / f"checkpoint-{STOP}").is_dir()
    assert ledger(folder, "guard")[-1]["restored"] == RESTORED
    assert read_run(folder).ledger.ended == trainer.guard.ended


def test_where_the_probe_decides_the_untrained_model_is_its_baseline(tmp_path):
    problems = heldout()[:4]
    options = {"probe_decides": True, "probe_steps": 1, "probe_samples": 4, "max_steps": 1}
    trainer = make(tmp_path, probe=problems, **options)
    before = trainer.measure(problems, num_samples=4, temperature=1.0, top_p=1.0, greedy=False)
    trainer.train()

    assert trainer.guard.history.probed[0] == before.summary()["pass@1"]
    resumed = make(tmp_path, probe=problems, **options)
    resumed.train(resume_from_checkpoint=True)
    assert resumed.guard.history.probed == trainer.guard.history.probed
    assert set(resumed.guard.history.probed) == {0, 1}


def test_a_run_killed_at_each_stage_of_going_back_comes_to_the_same_end(tmp_path, collapsed):
    command = [sys.executable, "-m", "tests.integration.guard_kills", str(tmp_path)]
    done = run_to_end(command, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr[-3000:]

    folder, uninterrupted = collapsed
    seen = json.loads((tmp_path / "seen.json").read_text())
    assert seen["ended"] == asdict(uninterrupted.guard.ended)
    data = weights(uninterrupted).numpy().tobytes()
    assert seen["weights"] == hashlib.sha256(data).hexdigest()
    final = load_file(tmp_path / "model.safetensors")
    saved = load_file(folder / RESTORED / "model.safetensors")
    assert all(torch.equal(final[name], saved[name]) for name in saved)
    kinds = ("group", "sentinel", "guard")
    assert ledger(tmp_path, *kinds) == ledger(folder, *kinds)


def test_a_run_goes_back_over_the_boundary_of_an_iteration(tmp_path):
    trainer = make(tmp_path, instructions_per_iteration=1)
    trainer.train()

    # Its second iteration collapsed; the checkpoint is the last of the first one.
    assert trainer.args.steps_per_iteration == 1
    assert (trainer.guard.ended.step, trainer.guard.ended.restored) == (STOP, RESTORED)
    saved = load_file(tmp_path / RESTORED / "model.safetensors")
    now = trainer.model.state_dict()
    assert all(torch.equal(now[name], saved[name]) for name in saved)


def test_an_adapter_goes_back(tmp_path):
    trainer = make(tmp_path, lora=True, learning_rate=0.2)
    trainer.train()

    assert trainer.guard.ended is not None
    folder = tmp_path / str(trainer.guard.ended.restored)
    saved = load_file(folder / "adapter_model.safetensors")
    now = trainer.model.state_dict()
    same = [
        torch.equal(now[name.replace(".weight", ".default.weight")], value)
        for name, value in saved.items()
    ]
    assert same and all(same)


def test_without_a_checkpoint_the_run_stops_and_says_so(tmp_path, caplog):
    trainer = make(tmp_path, save_strategy="no")
    trainer.train()

    assert trainer.state.global_step == STOP
    assert trainer.guard.ended.restored is None
    assert "there is no checkpoint from before the alarm" in caplog.text


@pytest.mark.parametrize("guard", ["warn", "off"])
def test_a_guard_that_only_looks_lets_the_run_end_as_planned(tmp_path, guard):
    trainer = make(tmp_path, collapse_guard=guard, max_steps=4)
    trainer.train()

    assert trainer.state.global_step == 4
    assert trainer.guard.ended is None
    assert bool(ledger(tmp_path, "guard", "sentinel")) == (guard == "warn")


@pytest.mark.slow
def test_a_stopped_run_trains_on_when_it_is_resumed_without_its_guard(tmp_path):
    make(tmp_path, max_steps=5).train()
    trainer = make(tmp_path, max_steps=5, collapse_guard="warn")
    trainer.train(resume_from_checkpoint=True)

    assert trainer.state.global_step == 5
    assert read_run(tmp_path).ledger.ended is None


def test_the_sentinel_changes_nothing_of_the_run(tmp_path):
    found = []
    for steps in (0, 1):
        folder = tmp_path / str(steps)
        options = {"sources": ["few_shot"], "label_reward": "vote", "learning_rate": 1e-4}
        options |= {"collapse_guard": "warn", "sentinel_steps": steps, "max_steps": 3}
        trainer = make(folder, **options)
        trainer.train()
        lines = read_lines(folder / "_serl" / "ledger.jsonl")
        found.append(([x for x in lines if x["type"] not in ("sentinel", "guard")], trainer))
    (without, plain), (with_it, watched) = found

    assert without == with_it
    assert torch.equal(weights(plain), weights(watched))
    assert len(ledger(tmp_path / "1", "sentinel")) == 4


def test_command_report_and_card_say_that_the_run_went_back(tmp_path, capsys):
    flags = [item for name, value in COLLAPSING.items() for item in (f"--{name}", flag(value))]
    run, numbers = tmp_path / "run", tmp_path / "numbers.json"
    command = ["train", "--config", "sandbox", *flags, "--output_dir", str(run)]
    command += ["--probe_steps", "0", "--json", str(numbers)]

    code = main(command)

    restored = json.loads(numbers.read_text())["ended"]["restored"]
    said = capsys.readouterr().out.strip().splitlines()[-1]
    assert code == COLLAPSED
    assert "stopped itself at step" in said and restored in said
    report = (run / "_serl" / "report.md").read_text(encoding="utf-8")
    assert report.index("Why did it stop?") < report.index("Did it improve?")
    assert restored in (run / "README.md").read_text(encoding="utf-8")
    saved = load_file(run / restored / "model.safetensors")
    final = load_file(run / "model.safetensors")
    assert all(torch.equal(final[name], saved[name]) for name in saved)
    # A run that stopped itself is over.
    assert main([*command, "--resume", "auto"]) == OK


def flag(value: Any) -> str:
    return ",".join(value) if isinstance(value, list) else str(value)


def test_the_checkpoint_before_the_last_check_outlives_those_that_follow(tmp_path):
    # A rate at which the model stays as it is.
    options = {"learning_rate": 1e-12, "sentinel_steps": 4, "max_steps": 7, "save_total_limit": 1}
    trainer = make(tmp_path, label_reward="vote", **options)
    trainer.train()

    assert trainer.guard.ended is None
    looked = ledger(tmp_path, "sentinel")[-1]["step"]
    assert 0 < looked < 7
    found = {path.name for path in tmp_path.glob("checkpoint-*")}
    assert found == {f"checkpoint-{looked}", "checkpoint-7"}


def test_two_processes_stop_at_one_step_and_go_back_to_one_model(tmp_path):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc_per_node", "2", "-m", "tests.integration.guarded_processes", str(tmp_path)]
    done = run_to_end(command, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr[-3000:]

    one, two = (json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in range(2))
    assert one == two
    assert one["ended"]["action"] == "rollback"
    assert one["ended"]["restored"] == f"checkpoint-{one['step'] - 1}"
    found = load_file(tmp_path / "run" / one["ended"]["restored"] / "model.safetensors")
    assert found and len(ledger(tmp_path / "run", "guard")) >= 2
