"""Self-play with TRL's colocated engine, on the CPU build of vLLM: `make test-vllm`.

Sleep mode, server mode and quantised engines do not exist on a CPU. Sleeping is tested on a fake
that keeps TRL's own state machine; see docs/backends.md for what a GPU has still to show.
"""

import hashlib
import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig

from serl_trl.sandbox import MODEL_PATH, STYLE, load_tokenizer, seed_set
from serl_trl.train.config import SeRLConfig
from serl_trl.train.trainer import SeRLTrainer
from serl_trl.train.vllm import LogProbGapError

ROOT = Path(__file__).parents[2]
OPTIONS: dict[str, Any] = {
    "use_cpu": True,
    "bf16": False,
    "gradient_checkpointing": False,
    "report_to": "none",
    "save_strategy": "no",
    "disable_tqdm": True,
    "logging_steps": 1,
    "max_steps": 3,
    "per_device_train_batch_size": 24,
    "gradient_accumulation_steps": 1,
    "num_generations": 8,
    "max_completion_length": 48,
    "num_requests": 2,
    "proposer_max_tokens": 160,
    "max_per_template": 0,
    # Far beyond what anybody would use: every step must move the log-probs.
    "learning_rate": 1e-3,
    "lr_scheduler_type": "constant",
    "beta": 0.0,
    "use_vllm": True,
    "vllm_mode": "colocate",
    "vllm_max_model_length": 512,
    **asdict(STYLE),
}


def build(folder: Path, peft: Any = None, **options: Any) -> SeRLTrainer:
    config = SeRLConfig(output_dir=str(folder), **{**OPTIONS, **options})
    return SeRLTrainer(
        str(MODEL_PATH), config, seed_set(), processing_class=load_tokenizer(), peft_config=peft
    )


def watch(trainer: SeRLTrainer) -> dict[str, list[Any]]:
    """Note every sync, and what the engine was asked for."""
    seen: dict[str, list[Any]] = {"syncs": [], "calls": []}
    engine: Any = trainer.vllm_generation
    sync, generate = engine.sync_weights, engine.llm.generate

    def noted_sync() -> None:
        seen["syncs"].append(trainer.state.global_step)
        sync()

    def noted_generate(prompts: Any, sampling_params: Any, **rest: Any) -> Any:
        seen["calls"].append((trainer.state.global_step, sampling_params, prompts))
        return generate(prompts, sampling_params=sampling_params, **rest)

    engine.sync_weights, engine.llm.generate = noted_sync, noted_generate
    return seen


def gaps(trainer: SeRLTrainer) -> list[float]:
    key = "serl/logprob_gap"
    return [row[key] for row in trainer.state.log_history if key in row]


def weight_hash(model: Any) -> str:
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        if "lora_" not in name:
            digest.update(name.encode() + value.numpy().tobytes())
    return digest.hexdigest()


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> tuple[SeRLTrainer, dict[str, list[Any]], str]:
    trainer = build(tmp_path_factory.mktemp("full"))
    before = weight_hash(trainer.model)
    seen = watch(trainer)
    trainer.train()
    return trainer, seen, before


def test_it_trains(full):
    trainer, _, before = full
    assert trainer.state.global_step == 3 and trainer.starved is None
    assert weight_hash(trainer.model) != before
    assert all(row["grad_norm"] > 0 for row in trainer.state.log_history if "grad_norm" in row)


def test_proposals_come_from_the_engine_with_the_proposer_values(full):
    trainer, seen, _ = full
    proposing = [p for _, p, _ in seen["calls"] if p.max_tokens == 160]
    rolling = [p for _, p, _ in seen["calls"] if p.max_tokens == 48]
    assert len(proposing) + len(rolling) == len(seen["calls"])
    assert {(p.temperature, p.top_p, p.presence_penalty) for p in proposing} == {(0.8, 0.95, 2.0)}
    assert {(p.temperature, p.top_p, p.presence_penalty) for p in rolling} == {(1.0, 1.0, 0.0)}
    ledger = Path(trainer.args.output_dir) / "_serl" / "ledger.jsonl"
    lines = [json.loads(line) for line in ledger.read_text().splitlines()]
    assert any(line["type"] == "proposal" and line["keep"] for line in lines)


def test_a_step_syncs_once_though_it_generates_several_times(full):
    _, seen, _ = full
    assert seen["syncs"] == [0, 1, 2]
    assert all(sum(step == s for s, *_ in seen["calls"]) >= 2 for step in range(3))


def test_the_gap_stays_small_after_real_updates(full):
    trainer, _, _ = full
    assert len(gaps(trainer)) == 3
    assert max(gaps(trainer)) < 0.01
    keys = set(re.findall(r"`(serl/[^`]+)`", (ROOT / "docs" / "metrics.md").read_text()))
    assert "serl/logprob_gap" in keys


def test_without_the_sync_the_run_is_stopped(tmp_path):
    # In step it stays below 0.002; one step behind it is 0.1.
    trainer = build(tmp_path, max_logprob_gap=0.05)
    trainer.vllm_generation.sync_weights = lambda: None
    with pytest.raises(LogProbGapError, match="above max_logprob_gap"):
        trainer.train()
    assert 0 < trainer.state.global_step < 3


def test_lora_trains_with_the_engine_and_the_base_keeps_its_bits(tmp_path):
    peft = LoraConfig(r=8, lora_alpha=32, target_modules="all-linear")
    trainer = build(tmp_path, peft, learning_rate=5e-3)
    before = weight_hash(trainer.model)
    seen = watch(trainer)
    trainer.train()
    assert trainer.state.global_step == 3 and seen["syncs"] == [0, 1, 2]
    assert weight_hash(trainer.model) == before
    moved = [p for name, p in trainer.model.named_parameters() if "lora_B" in name]
    assert all(p.abs().sum() > 0 for p in moved)
    assert max(gaps(trainer)) < 0.01


def test_lora_without_the_sync_is_stopped(tmp_path):
    peft = LoraConfig(r=8, lora_alpha=32, target_modules="all-linear")
    trainer = build(tmp_path, peft, learning_rate=5e-3, max_logprob_gap=0.05)
    trainer.vllm_generation.sync_weights = lambda: None
    with pytest.raises(LogProbGapError):
        trainer.train()


def test_a_sleeping_engine_wakes_and_syncs_once_a_refill(tmp_path):
    trainer = build(tmp_path, max_steps=2)
    engine: Any = trainer.vllm_generation
    events: list[str] = []
    # No CPU engine can sleep: TRL's own bookkeeping runs, the engine only says what it was told.
    engine.llm.sleep = lambda level: events.append(f"sleep {level}")
    engine.llm.wake_up = lambda tags: events.append(f"wake {tags[0]}")
    engine.enable_sleep_mode = engine._llm_weights_sleeping = True
    generate, load = engine.llm.generate, engine.sync_weights

    def noted_generate(*args: Any, **options: Any) -> Any:
        if events[-1] != "generate":
            events.append("generate")
        return generate(*args, **options)

    def noted_sync() -> None:
        events.append("sync")
        load()

    engine.llm.generate, engine.sync_weights = noted_generate, noted_sync
    trainer.train()
    assert events == ["sync", "wake weights", "wake kv_cache", "generate", "sleep 2"] * 2
    assert max(gaps(trainer)) < 0.01


def test_a_prompt_beyond_the_context_never_reaches_the_engine(tmp_path):
    trainer = build(tmp_path)
    seen = watch(trainer)
    groups = trainer.policy.sample(["word " * 600, seed_set()[0]], trainer.args.num_generations)
    assert all(completion.truncated for completion in groups[0])
    assert all(completion.text for completion in groups[1])
    assert max(len(row["prompt_token_ids"]) for _, _, rows in seen["calls"] for row in rows) < 465


def test_a_stop_ends_the_proposer_only(tmp_path):
    trainer = build(tmp_path, proposer_stop=["."])
    seen = watch(trainer)
    trainer.model.train()
    trainer.propose(1)
    trainer.policy.sample(seed_set()[:1], trainer.args.num_generations)
    stops = {params.max_tokens: params.stop for _, params, _ in seen["calls"]}
    assert stops == {160: ["."], 48: []}
    assert torch.is_grad_enabled()


def test_generation_kwargs_of_the_rollouts_do_not_reach_the_proposer(tmp_path):
    trainer = build(
        tmp_path, generation_kwargs={"temperature": 0.5, "top_p": 0.9, "max_tokens": 40}
    )
    seen = watch(trainer)
    trainer.propose(1)
    trainer.policy.sample(seed_set()[:1], trainer.args.num_generations)
    found = {(p.max_tokens, p.temperature, p.top_p) for _, p, _ in seen["calls"]}
    assert found == {(160, 0.8, 0.95), (40, 0.5, 0.9)}
