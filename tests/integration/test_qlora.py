"""QLoRA on a CPU: a 4-bit base that no step touches, under an adapter that learns."""

import hashlib
import math
from typing import Any

import pytest
import torch
from peft import LoraConfig
from transformers import BitsAndBytesConfig

from serl_trl.config import SeRLConfig
from serl_trl.sandbox import MODEL_PATH
from serl_trl.trainer import SeRLTrainer

pytest.importorskip("bitsandbytes", reason="needs the extra `qlora`")

SEEDS = [f"Tom has {i} apples and buys {i + 3} more. How many?" for i in range(12)]
CONTINUOUS = {
    "use_transformers_continuous_batching": True,
    "transformers_continuous_batching_config": {"num_blocks": 64, "max_batch_tokens": 256},
}


def base_hash(model: Any) -> tuple[int, str]:
    """Count the packed weights; hash them with their scales and everything else of the base."""
    digest, count = hashlib.sha256(), 0
    for name, value in sorted(model.get_base_model().state_dict().items()):
        if "lora_" not in name:
            digest.update(name.encode() + value.contiguous().view(torch.uint8).numpy().tobytes())
            count += name.endswith("weight.absmax")
    return count, digest.hexdigest()


@pytest.mark.parametrize("backend", [{}, CONTINUOUS], ids=["generate", "continuous"])
def test_two_steps_have_finite_gradients_and_leave_the_packed_base(tmp_path, backend):
    config = SeRLConfig(
        output_dir=str(tmp_path),
        use_cpu=True,
        bf16=False,
        per_device_train_batch_size=8,
        gradient_accumulation_steps=1,
        num_generations=4,
        max_completion_length=8,
        proposer_max_tokens=16,
        max_steps=2,
        report_to="none",
        save_strategy="no",
        gradient_checkpointing=False,
        disable_tqdm=True,
        prompt_source="given",
        label_reward="random",
        use_band=False,
        learning_rate=1e-2,
        beta=0.1,
        **backend,
    )
    trainer = SeRLTrainer(
        # Rows of the tiny model are shorter than a block of the 4-bit kernel.
        str(MODEL_PATH),
        config,
        SEEDS,
        peft_config=LoraConfig(r=4, target_modules="all-linear"),
        quantization_config=BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4"),
    )
    before = base_hash(trainer.model)
    trainer.train()
    problems = [{"instruction": text, "answer": "1"} for text in SEEDS[:2]]
    trainer.measure(problems, num_samples=2)
    assert before[0] == 28
    assert base_hash(trainer.model) == before
    norms = [row["grad_norm"] for row in trainer.state.log_history if "grad_norm" in row]
    assert len(norms) == 2 and all(0 < norm < math.inf for norm in norms)
    moved = [p for name, p in trainer.model.named_parameters() if "lora_B" in name]
    assert any(p.abs().sum() > 0 for p in moved)
