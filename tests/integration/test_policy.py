"""The policy over its backends: order of results, sampling values, lengths, processes."""

import json
import logging
import os
import sys
from collections import defaultdict
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from serl_trl.common.completion import Sampling
from serl_trl.sandbox import MODEL_PATH, seed_set
from serl_trl.train.config import SeRLConfig
from serl_trl.train.policy import pieces
from serl_trl.train.sampling import same_kernels, swapped_sampling
from serl_trl.train.trainer import SeRLTrainer
from serl_trl.train.vllm import LogProbGapError, check_gap
from tests.integration.processes import run_to_end
from tests.integration.replay import ASKING, decisions, make_trainer, record
from tests.integration.tiny import CONTINUOUS, OPTIONS, SEEDS

ROOT = Path(__file__).parents[2]
SCRIPT = Path(__file__).with_name("replay.py")


def rolled_out(trainer, instructions):
    return trainer.policy.sample(instructions, trainer.args.num_generations)


def build(model: str, folder: Path, **options: Any) -> SeRLTrainer:
    return SeRLTrainer(model, SeRLConfig(output_dir=str(folder), **{**OPTIONS, **options}), SEEDS)


@given(st.lists(st.integers(0, 50), min_size=1, max_size=40), st.integers(1, 12))
def test_pieces_hold_every_row_once_and_no_more_than_most(lengths, most):
    found = pieces(lengths, most)
    assert sorted(row for piece in found for row in piece) == list(range(len(lengths)))
    assert all(0 < len(piece) <= most for piece in found)


@given(st.lists(st.integers(0, 50), min_size=5, max_size=40))
def test_pieces_are_alike_in_length(lengths):
    found = [[lengths[row] for row in piece] for piece in pieces(lengths, 4)]
    assert all(max(a) <= min(b) for a, b in pairwise(found))


@given(st.lists(st.integers(0, 50), min_size=1, max_size=8))
def test_what_fits_one_piece_keeps_its_order(lengths):
    assert pieces(lengths, 8) == [list(range(len(lengths)))]


@pytest.mark.parametrize("backend", [{}, CONTINUOUS], ids=["generate", "continuous"])
def test_greedy_results_come_in_the_order_of_their_prompts(tmp_path, backend, monkeypatch):
    monkeypatch.setattr("serl_trl.train.policy.CPU_PIECE", 3)
    # The tiny model says the same to everything.
    texts = seed_set()[:7]
    greedy = Sampling(0.0, 1.0, 16)
    plain = build(str(MODEL_PATH), tmp_path)
    alone = [plain.policy.sample([text], 1, greedy)[0] for text in texts]
    together = build(str(MODEL_PATH), tmp_path, **backend).policy.sample(texts, 1, greedy)
    assert [c.token_ids for [c] in together] == [c.token_ids for [c] in alone]
    assert len({tuple(c.token_ids) for [c] in together}) > 3


def test_continuous_batching_trains_and_says_what_ended(tiny_model, tmp_path):
    trainer = build(tiny_model, tmp_path, **CONTINUOUS, max_completion_length=40)
    completions = [c for group in rolled_out(trainer, SEEDS[:4]) for c in group]
    ends = {trainer.eos_token_ids[0]}
    assert all(c.truncated == (c.token_ids[-1] not in ends) for c in completions)
    assert all(len(c.token_ids) == 40 for c in completions if c.truncated)
    before = [p.detach().clone() for p in trainer.model.parameters()]
    trainer.train()
    after = trainer.model.parameters()
    assert any(not torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_continuous_batching_leaves_the_precision_of_the_trained_weights(tiny_model, tmp_path):
    trainer = build(tiny_model, tmp_path, **CONTINUOUS, bf16=True)
    rolled_out(trainer, SEEDS[:1])
    assert {p.dtype for p in trainer.model.parameters()} == {torch.float32}
    assert trainer.args.bf16


def test_continuous_batching_completes_inside_training_under_autocast(tmp_path, monkeypatch):
    trainer = build(str(MODEL_PATH), tmp_path, **CONTINUOUS, bf16=True)
    found: list[list[int]] = []
    roll_out = trainer.policy.roll_out

    def note(instructions):
        groups = roll_out(instructions)
        found.extend(c.token_ids for group in groups for c in group)
        return groups

    monkeypatch.setattr(trainer.policy, "roll_out", note)
    for max_steps in (2, 4):
        # Training again wraps the model again.
        trainer.args.max_steps = max_steps
        trainer.train()
        assert len(found) == 8 * max_steps
        assert min(map(len, found)) > 1
        found.clear()
    assert {p.dtype for p in trainer.model.parameters()} == {torch.float32}
    assert "generate_batch" not in vars(trainer.model)


class Casts(TorchDispatchMode):
    """Counts how often one weight is copied to another type."""

    def __init__(self, weight: torch.Tensor) -> None:
        super().__init__()
        self.place, self.count = weight.data_ptr(), 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        copies = func is torch.ops.aten._to_copy.default
        self.count += copies and args[0].data_ptr() == self.place
        return func(*args, **(kwargs or {}))


def test_generate_casts_a_weight_once_in_training_under_autocast(tmp_path, monkeypatch):
    trainer = build(str(MODEL_PATH), tmp_path, bf16=True)
    complete, counts = trainer.policy.roll_out, []

    def counted(prompts):
        with Casts(trainer.model.model.layers[0].mlp.up_proj.weight) as casts:
            groups = complete(prompts)
        counts.append((casts.count, max(len(c.token_ids) for group in groups for c in group)))
        return groups

    monkeypatch.setattr(trainer.policy, "roll_out", counted)
    trainer.train()
    assert len(counts) == 2
    assert all(casts == 1 and tokens > 1 for casts, tokens in counts)


def test_a_release_without_the_choice_of_kernels_is_given_a_paged_name():
    class Model:
        config = SimpleNamespace(_attn_implementation="sdpa")

        def set_attn_implementation(self, name: str) -> None:
            self.config._attn_implementation = name

    model = Model()
    with same_kernels(model, SimpleNamespace()):
        assert model.config._attn_implementation == "paged|sdpa"
    assert model.config._attn_implementation == "sdpa"


def test_a_failed_request_raises_the_backends_own_error(tiny_model, tmp_path, monkeypatch):
    trainer = build(tiny_model, tmp_path, **CONTINUOUS)

    def refuse(*args, **kwargs):
        raise ZeroDivisionError("no such kernel")

    monkeypatch.setattr(trainer.model, "forward", refuse)
    with pytest.raises(RuntimeError, match="failed on 8 of 8 requests: no such kernel"):
        rolled_out(trainer, SEEDS[:2])
    monkeypatch.undo()
    assert all(c.token_ids for group in rolled_out(trainer, SEEDS[:2]) for c in group)


def test_a_backend_that_loses_prompts_is_an_error(tiny_model, tmp_path, monkeypatch):
    trainer = build(tiny_model, tmp_path)
    complete = trainer._generate_single_turn
    monkeypatch.setattr(
        trainer, "_generate_single_turn", lambda ids, *rest: (complete(ids, *rest)[0][1:], None)
    )
    with pytest.raises(RuntimeError, match="completed 3 of 4 prompts"):
        rolled_out(trainer, SEEDS[:1])


def test_a_prompt_without_room_is_not_shown_to_the_backend(
    tiny_model, tmp_path, monkeypatch, caplog
):
    trainer = build(tiny_model, tmp_path)
    shown = []
    complete = trainer._generate_single_turn

    def note(ids, *rest):
        shown.extend(len(row) for row in ids)
        return complete(ids, *rest)

    monkeypatch.setattr(trainer, "_generate_single_turn", note)
    texts = [SEEDS[0], "word " * 3000, SEEDS[1]]
    with caplog.at_level(logging.WARNING, logger="serl_trl.train.policy"):
        groups = rolled_out(trainer, texts)
    assert len(shown) == 8 and max(shown) + OPTIONS["max_completion_length"] <= 2048
    assert all(c.truncated and c.text == "" for c in groups[1])
    assert all(c.text for c in groups[0] + groups[2])
    assert "4 of 12 prompts leave no room" in caplog.text
    assert rolled_out(trainer, texts[1:2])[0][0].truncated


def test_sampling_values_hold_inside_the_block_only(tiny_model, tmp_path):
    trainer = build(tiny_model, tmp_path)
    config, kwargs = trainer.generation_config, dict(trainer.generation_kwargs)
    with swapped_sampling(trainer, Sampling(0.5, 0.9, 33)):
        inside = trainer.generation_config
        assert (inside.temperature, inside.top_p, inside.max_new_tokens) == (0.5, 0.9, 33)
        assert trainer.generation_kwargs["max_new_tokens"] == 33
    assert trainer.generation_config is config and trainer.generation_kwargs == kwargs


class _Engine:
    """The sampling values that TRL keeps beside its engine."""

    def __init__(self) -> None:
        self.temperature, self.top_p, self.max_completion_length = 1.0, 1.0, 8
        # TRL lets them win over the attributes.
        self.generation_kwargs: dict[str, Any] = {
            "stop": ["END"],
            "frequency_penalty": 0.5,
            "temperature": 0.3,
            "top_p": 0.5,
            "max_tokens": 8,
        }


def test_an_engine_gets_the_proposer_values_and_then_its_own_again(tiny_model, tmp_path):
    trainer = build(tiny_model, tmp_path, proposer_stop=["\n21."])
    engine = _Engine()
    before = {**vars(engine), "generation_kwargs": dict(engine.generation_kwargs)}
    trainer.vllm_generation = engine
    proposer = trainer.policy._proposer
    with swapped_sampling(trainer, replace(proposer, temperature=0.7)):
        assert (engine.temperature, engine.top_p, engine.max_completion_length) == (0.7, 0.95, 16)
        assert engine.generation_kwargs == {
            "temperature": 0.7,
            "top_p": 0.95,
            "max_tokens": 16,
            "presence_penalty": 2.0,
            "stop": ["\n21."],
            "frequency_penalty": 0.5,
        }
    with swapped_sampling(trainer, Sampling(0.0, 1.0, 4)):
        kwargs = engine.generation_kwargs
        assert (kwargs["temperature"], kwargs["top_p"], kwargs["max_tokens"]) == (0.0, 1.0, 4)
    assert vars(engine) == before


def test_after_a_run_an_engine_is_sent_the_weights_that_were_loaded_last(tiny_model, tmp_path):
    class Engine:
        syncs = 0

        def sync_weights(self) -> None:
            self.syncs += 1

        def generate(self, prompts, **_):
            return None, [[5] for _ in prompts], [[[-1.0]] for _ in prompts], None

    trainer = build(tiny_model, tmp_path)
    # As if the probe of the last step had sent them.
    trainer._last_loaded_step = trainer.args.max_steps
    trainer.train()
    trainer.use_vllm, trainer.vllm_generation = True, Engine()
    trainer.policy.sample(SEEDS[:1], 2)
    trainer.policy.sample(SEEDS[:1], 2)
    assert trainer.vllm_generation.syncs == 1


def test_a_penalty_that_continuous_batching_drops_is_named(tmp_path):
    options = {**OPTIONS, "repetition_penalty": 1.2, "output_dir": str(tmp_path)}
    assert "repetition_penalty=1.2" not in SeRLConfig(**options).not_applied
    found = SeRLConfig(**options, **CONTINUOUS).not_applied
    assert found["repetition_penalty=1.2"] == "continuous batching drops it"


NAN, INF = float("nan"), float("inf")


def gap_of(engine: list[float], own: list[float]) -> float:
    """Return what `check_gap` logs for one completion with these log-probs, bounds 0.05 and 0.3."""
    trainer: Any = SimpleNamespace(
        _metrics={"train": defaultdict(list)},
        advantages=SimpleNamespace(sampling_logps=lambda output: output["old_per_token_logps"]),
        accelerator=SimpleNamespace(reduce=lambda sums, reduction: sums),
        args=SimpleNamespace(warn_logprob_gap=0.05, max_logprob_gap=0.3),
        state=SimpleNamespace(global_step=1),
    )
    output = {
        "completion_mask": torch.tensor([[1] * len(engine) + [0]]),
        "sampling_per_token_logps": torch.tensor([[*engine, 0.0]]),
        "old_per_token_logps": torch.tensor([[*own, NAN]]),
    }
    check_gap(trainer, output, [True])
    (gap,) = trainer._metrics["train"]["serl/logprob_gap"]
    return gap


def test_the_gap_is_the_mean_over_the_tokens_that_the_engine_gave_a_log_prob():
    assert gap_of([-1.0, NAN, -2.0, -INF], [-1.1, -9.0, -2.3, -9.0]) == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("engine", "own", "message"),
    [
        ([-1.0, NAN, -1.0], [-9.0, -9.0, -9.0], "gap=8 at step 1 is above max_logprob_gap=0.3"),
        ([NAN, NAN], [-1.0, -1.0], "0 of 2 log-probs of the trainer and 2 of the engine"),
        ([-1.0, -1.0], [-1.0, NAN], "1 of 2 log-probs of the trainer and 0 of the engine"),
        ([-1.0, NAN], [-1.0, -INF], "1 of 2 log-probs of the trainer and 1 of the engine"),
    ],
)
def test_no_log_prob_that_is_not_finite_hides_a_gap(engine, own, message):
    with pytest.raises(LogProbGapError, match=message):
        gap_of(engine, own)


def test_an_answer_that_ended_at_a_stop_is_not_truncated(tiny_model, tmp_path, monkeypatch):
    trainer = build(tiny_model, tmp_path)
    monkeypatch.setattr(
        trainer,
        "_generate_single_turn",
        lambda ids, *_: ([[5] * (4 if i else 6) for i in range(len(ids))], None),
    )
    sampled = trainer.policy.sample(SEEDS[:2], 1, Sampling(1.0, 1.0, 6, stop=("\n",)))
    assert [c.truncated for [c] in sampled] == [True, False]
    sampled = trainer.policy.sample(SEEDS[:2], 1, Sampling(1.0, 1.0, 6))
    assert [c.truncated for [c] in sampled] == [True, True]


@pytest.mark.slow
def test_two_processes_decide_on_a_recording_as_one_did(tmp_path):
    recorded = tmp_path / "recording.json"
    alone = make_trainer(tmp_path / "alone", num_processes=1, validity=ASKING)
    calls = record(alone)
    alone.train()
    recorded.write_text(json.dumps(calls))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc_per_node", "2", str(SCRIPT), str(recorded), str(tmp_path / "two")]
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}",
    }
    done = run_to_end(command, cwd=ROOT, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    one = decisions(tmp_path / "alone", alone)
    assert json.loads((tmp_path / "two" / "decisions.json").read_text()) == one
    assert any(line["type"] == "group" and line["keep"] for line in one["ledger"])
    # Three requests, and groups of eight in odd numbers: neither divides by two processes.
    assert any(len(call) % 2 for call in calls)
