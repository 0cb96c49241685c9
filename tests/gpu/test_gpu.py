"""Self-play on one GPU, with a 40 M parameter model made here; skipped where there is none."""

import gc
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from serl_trl.sandbox import MODEL_PATH, STYLE, load_tokenizer, seed_set
from serl_trl.train.config import SeRLConfig
from serl_trl.train.state import private_randomness
from serl_trl.train.trainer import SeRLTrainer

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU"),
]

OPTIONS: dict[str, Any] = {
    "max_steps": 2,
    "bf16": True,
    "report_to": "none",
    "save_strategy": "no",
    "disable_tqdm": True,
    "logging_steps": 1,
    "per_device_train_batch_size": 32,
    "gradient_accumulation_steps": 2,
    "num_generations": 8,
    "max_completion_length": 64,
    "proposer_max_tokens": 128,
    "max_refill_rounds": 2,
    "learning_rate": 1e-4,
    # Random weights agree on nothing: the given prompts, and any reward, exercise the machine.
    "sources": ["given"],
    "label_reward": "random",
    "use_band": False,
    "domain": STYLE.domain,
    "answer_instruction": STYLE.answer_instruction,
}


@pytest.fixture(scope="module")
def model_path(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Path of a Llama with random weights and the sandbox's tokenizer."""
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("model")
    tokenizer = load_tokenizer()
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=512,
        intermediate_size=1536,
        num_hidden_layers=12,
        num_attention_heads=8,
        num_key_value_heads=4,
        max_position_embeddings=2048,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def build(model_path: str, folder: Path, *, peft: bool = False, **options: Any) -> SeRLTrainer:
    from peft import LoraConfig

    quantised = options.pop("quantization_config", None)
    return SeRLTrainer(
        model_path,
        SeRLConfig(output_dir=str(folder), **{**OPTIONS, **options}),
        seed_set(),
        peft_config=LoraConfig(r=8, target_modules="all-linear") if peft else None,
        quantization_config=quantised,
    )


def train(model_path: str, folder: Path, **options: Any) -> SeRLTrainer:
    trainer = build(model_path, folder, **options)
    trainer.train()
    # A backend that fails may return completions of one token, the end.
    lengths = [row["completions/mean_length"] for row in trainer.state.log_history if "loss" in row]
    assert lengths and min(lengths) > 2
    return trainer


def norms(trainer: SeRLTrainer) -> list[float]:
    return [row["grad_norm"] for row in trainer.state.log_history if "grad_norm" in row]


def test_two_bf16_steps_move_the_weights_and_stay_finite(model_path, tmp_path):
    trainer = train(model_path, tmp_path)
    assert trainer.state.global_step == 2
    assert all(0 < norm < float("inf") for norm in norms(trainer))
    assert all(torch.isfinite(p).all() for p in trainer.model.parameters())


def test_self_play_writes_and_judges_proposals_and_trains_on_them(tmp_path):
    # The sandbox's own model: random weights write no proposals.
    texts = {"proposer_system": STYLE.proposer_system, "proposer_request": STYLE.proposer_request}
    play = {"sources": ["few_shot"], "label_reward": "vote", "max_refill_rounds": 16}
    options = {**texts, **play, "proposer_max_tokens": 256, "max_per_template": 0}
    trainer = train(str(MODEL_PATH), tmp_path, max_steps=1, **options)
    judged = trainer.propose(8)
    assert len(judged) == 8
    assert all(each.verdict.keep or each.verdict.reason for each in judged)
    assert trainer.state.global_step == 1 and trainer.starved is None
    lines = (tmp_path / "_serl" / "ledger.jsonl").read_text(encoding="utf-8").splitlines()
    kept = [line["type"] for line in map(json.loads, lines) if line.get("keep")]
    assert {"proposal", "group"} <= set(kept)


@pytest.mark.parametrize("peft", [False, True], ids=["full", "lora"])
def test_continuous_batching_trains(model_path, tmp_path, peft):
    trainer = train(model_path, tmp_path, peft=peft, use_transformers_continuous_batching=True)
    assert trainer.state.global_step == 2
    assert all(0 < norm < float("inf") for norm in norms(trainer))


def test_lora_leaves_the_base_bit_identical(model_path, tmp_path):
    trainer = train(model_path, tmp_path, peft=True, beta=1e-3)
    from transformers import AutoModelForCausalLM

    fresh = AutoModelForCausalLM.from_pretrained(model_path).state_dict()
    base = trainer.model.get_base_model().state_dict()
    for name, weight in base.items():
        if "lora" not in name:
            assert torch.equal(
                weight.float().cpu(), fresh[name.replace(".base_layer", "")].float()
            ), name


def test_qlora_trains_with_finite_gradients(model_path, tmp_path):
    pytest.importorskip("bitsandbytes")
    from transformers import BitsAndBytesConfig

    quantised = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16
    )
    trainer = train(model_path, tmp_path, peft=True, quantization_config=quantised)
    trained = [p for p in trainer.model.parameters() if p.requires_grad]
    assert {p.dtype for p in trained} == {torch.float32}
    assert all(0 < norm < float("inf") for norm in norms(trainer))


def test_a_run_resumes_with_the_random_state_of_the_gpu(model_path, tmp_path):
    train(model_path, tmp_path, save_strategy="steps", save_steps=1)
    # A trainer holds its folder for as long as it lives.
    gc.collect()
    again = build(model_path, tmp_path, save_strategy="steps", save_steps=1)
    again.train(str(tmp_path / "checkpoint-1"))
    assert again.state.global_step == 2
    assert all(0 < norm < float("inf") for norm in norms(again))


def test_a_private_seed_decides_what_the_gpu_draws_and_leaves_the_runs_own_state():
    def draw() -> list[float]:
        return torch.rand(3, device="cuda").tolist()

    torch.manual_seed(1)
    expected = draw()
    torch.manual_seed(1)
    with private_randomness(3):
        first = draw()
    assert draw() == expected != first
    with private_randomness(3):
        assert draw() == first
