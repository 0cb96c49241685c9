"""Numbers that are none never reach weights or checkpoints; hopeless policies end the run."""

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import TrainerCallback

from serl_trl.common.completion import Completion
from serl_trl.common.errors import NonFiniteError
from serl_trl.common.files import read_lines
from serl_trl.sandbox import STYLE, load_model, load_tokenizer, seed_set
from serl_trl.train.config import SeRLConfig, find_problems
from serl_trl.train.trainer import SeRLTrainer

SMALL: dict[str, Any] = {
    "use_cpu": True,
    "bf16": False,
    "gradient_checkpointing": False,
    "report_to": "none",
    "save_strategy": "no",
    "disable_tqdm": True,
    "logging_steps": 1,
    "max_steps": 4,
    "per_device_train_batch_size": 16,
    "gradient_accumulation_steps": 2,
    "num_generations": 8,
    "max_completion_length": 48,
    "num_requests": 2,
    "proposer_max_tokens": 160,
    "max_per_template": 0,
    "learning_rate": 5e-5,
    "beta": 0.0,
    # What the gate asks has tests of its own.
    "validity": "careful",
    **asdict(STYLE),
}


def make(folder: Path, **options: Any) -> SeRLTrainer:
    config = SeRLConfig(output_dir=str(folder), **{**SMALL, **options})
    return SeRLTrainer(load_model(), config, seed_set(), processing_class=load_tokenizer())


def snapshot(trainer: SeRLTrainer) -> dict[str, torch.Tensor]:
    """Every number of the weights and of the optimizer's state."""
    held = {name: p.detach().clone() for name, p in trainer.model.named_parameters()}
    for number, state in trainer.optimizer.state_dict()["state"].items():
        held |= {f"{number}.{name}": value.clone() for name, value in state.items()}
    return held


class Looks(TrainerCallback):
    """Compares what the optimizer moves: (step, whether anything moved)."""

    def __init__(self, trainer: SeRLTrainer) -> None:
        self._trainer = trainer
        self._before: dict[str, torch.Tensor] = {}
        self.moved: list[tuple[int, bool]] = []

    def on_pre_optimizer_step(self, *_: Any, **__: Any) -> None:
        self._before = snapshot(self._trainer)

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        after = snapshot(self._trainer)
        self.moved.append((state.global_step + 1, not equal(self._before, after)))


def poison(trainer: SeRLTrainer, steps: set[int], *, value: float, where: str = "loss") -> Looks:
    """Make the loss, or one gradient under a finite loss, `value` in `steps`."""

    def bad() -> bool:
        return trainer.state.global_step + 1 in steps

    if where == "loss":
        compute = trainer._compute_loss
        trainer._compute_loss = lambda *given: compute(*given) * (value if bad() else 1.0)
    else:
        parameter = next(trainer.model.parameters())
        parameter.register_hook(lambda grad: torch.full_like(grad, value) if bad() else grad)
    looks = Looks(trainer)
    trainer.add_callback(looks)
    return looks


def equal(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[k], right[k]) for k in left)


@pytest.mark.parametrize(("where", "value"), [("loss", math.nan), ("gradient", math.inf)])
def test_a_step_that_is_not_finite_moves_neither_weights_nor_optimizer(tmp_path, where, value):
    # Momentum and decay would move the weights even with a zero gradient.
    trainer = make(tmp_path, weight_decay=0.1)
    looks = poison(trainer, {2, 4}, value=value, where=where)
    trainer.train()
    assert looks.moved == [(1, True), (2, False), (3, True), (4, False)]
    assert trainer.nonfinite.num_skipped == 2
    logged = [entry for entry in trainer.state.log_history if "loss" in entry]
    assert [entry["serl/num_skipped_steps"] for entry in logged] == [0, 1, 1, 2]
    assert all(math.isfinite(entry["loss"]) for entry in logged)
    assert math.isfinite(trainer.state.log_history[-1]["train_loss"])


def test_the_batch_of_a_skipped_step_is_written_down_with_what_was_wrong(tmp_path):
    trainer = make(tmp_path, max_steps=1)
    poison(trainer, {1}, value=math.nan)
    trainer.train()
    folder = tmp_path / "_serl" / "nonfinite"
    assert {path.name for path in folder.iterdir()} == {
        "step-1-process-0.json",
        "step-1-process-0.safetensors",
    }
    facts = json.loads((folder / "step-1-process-0.json").read_text())
    assert (facts["step"], facts["losses"]) == (1, ["nan", "nan"])
    assert facts["parameters"]
    tensors = load_file(folder / "step-1-process-0.safetensors")
    assert tensors["completion_ids"].shape[0] == SMALL["per_device_train_batch_size"]


def test_too_many_such_steps_stop_the_run_and_leave_finite_checkpoints(tmp_path):
    options = {"save_strategy": "steps", "save_steps": 1}
    trainer = make(tmp_path, max_steps=6, max_nonfinite_steps=1, **options)
    poison(trainer, {2, 4}, value=math.nan)
    with pytest.raises(NonFiniteError, match=r"step 4: .* max_nonfinite_steps=1 allows"):
        trainer.train()
    assert trainer.state.global_step == 3
    saved = {path.name for path in tmp_path.glob("checkpoint-*")}
    assert saved == {"checkpoint-1", "checkpoint-2", "checkpoint-3"}
    weights = load_file(tmp_path / "checkpoint-3" / "model.safetensors")
    assert all(torch.isfinite(tensor).all() for tensor in weights.values())


def test_weights_that_are_not_finite_are_never_saved(tmp_path):
    trainer = make(tmp_path)
    with torch.no_grad():
        list(trainer.model.parameters())[-1].view(-1)[0] = math.inf
    with pytest.raises(NonFiniteError, match="hold NaN or infinity"):
        trainer.save_model(str(tmp_path / "model"))
    with pytest.raises(NonFiniteError, match="hold NaN or infinity"):
        trainer.saving.save_model(tmp_path / "whole")
    assert not (tmp_path / "model").exists()
    assert not (tmp_path / "whole").exists()


SEED = seed_set()[0]
PROPOSED = "4. " + SEED


class Scripted:
    """A policy of which every text is written in advance; everything else is the trainer's own."""

    def __init__(self, trainer: SeRLTrainer, *, write: Any, answer: Any) -> None:
        self._policy = trainer.policy
        self._write, self._answer = write, answer
        self.num_calls = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._policy, name)

    def propose(self, requests: Any, sampling: Any = None) -> list[Completion]:
        self.num_calls += 1
        return [self._complete(self._write()) for _ in requests]

    def roll_out(self, prompts: Any) -> list[list[Completion]]:
        self.num_calls += 1
        votes = SMALL["num_generations"]
        return [[self._complete(self._answer()) for _ in range(votes)] for _ in prompts]

    def _complete(self, text: str) -> Completion:
        return Completion(text, [5, 2], False)


def play(trainer: SeRLTrainer, policy: Scripted) -> None:
    """Let every part of self-play ask `policy`."""
    selfplay = trainer.selfplay
    for part in (selfplay, selfplay.proposing, selfplay.labelling):
        part._policy = policy


def fail() -> str:
    raise RuntimeError("the engine is gone")


@pytest.mark.parametrize(
    ("write", "answer", "options", "diagnosis"),
    [
        (lambda: PROPOSED, str, {}, "duplicate"),
        (str, str, {}, "could be read"),
        (str, lambda: "\\boxed{7}", {"sources": ["given"]}, "band_high"),
        (str, lambda: "no idea", {"sources": ["given"]}, "unparsable"),
        (str, str, {"sources": ["given"]}, "unparsable"),
    ],
    ids=["duplicates", "no_proposals", "unanimous", "unparsable", "empty"],
)
def test_a_hopeless_policy_ends_the_run_within_its_bounds_with_the_diagnosis(
    tmp_path, write, answer, options, diagnosis
):
    trainer = make(tmp_path, max_refill_rounds=3, max_empty_refills=2, **options)
    policy = Scripted(trainer, write=write, answer=answer)
    play(trainer, policy)
    before = [p.detach().clone() for p in trainer.model.parameters()]
    trainer.train()
    assert policy.num_calls <= 2 * 3 * 2
    assert trainer.state.global_step == 0
    assert diagnosis in trainer.starved
    assert read_lines(tmp_path / "_serl" / "ledger.jsonl")[-1]["diagnosis"] == trainer.starved
    assert all(torch.equal(a, b) for a, b in zip(before, trainer.model.parameters(), strict=True))


@pytest.mark.parametrize("options", [{}, {"sources": ["given"]}], ids=["proposer", "solver"])
def test_a_policy_that_raises_ends_the_run_at_once_with_its_own_words(tmp_path, options):
    trainer = make(tmp_path, **options)
    play(trainer, Scripted(trainer, write=fail, answer=fail))
    with pytest.raises(RuntimeError, match="the engine is gone"):
        trainer.train()


def test_a_run_ends_as_planned_when_its_rollouts_are_spent(tmp_path):
    trainer = make(tmp_path, max_rollouts=50, sources=["given"], use_band=False)
    trainer.train()
    assert trainer.starved is None
    assert trainer.selfplay.books.counters.num_rollouts == 48
    assert trainer.state.global_step == 2
    assert read_lines(tmp_path / "_serl" / "ledger.jsonl")[-1]["type"] == "rollouts_spent"
    assert trainer.state.log_history[-2]["serl/num_rollouts"] == 48


def test_a_bound_below_one_group_is_refused():
    (problem,) = map(str, find_problems({"max_rollouts": 7, "num_generations": 8}))
    assert "max_rollouts=7" in problem
