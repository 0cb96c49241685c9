"""QLoRA on a CPU: a 4-bit base that no step touches, under an adapter that learns."""

import hashlib
import math
from typing import Any

import pytest
import torch
from peft import LoraConfig
from transformers import BitsAndBytesConfig

from serl_trl.sandbox import MODEL_PATH
from serl_trl.train.config import SeRLConfig
from serl_trl.train.trainer import SeRLTrainer
from tests.integration.tiny import CONTINUOUS, OPTIONS, SEEDS

pytest.importorskip("bitsandbytes", reason="needs the extra `qlora`")


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
        **OPTIONS,
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
    # In bfloat16 most steps of Adam would be rounded away.
    assert {p.dtype for p in trainer.model.parameters() if p.requires_grad} == {torch.float32}
    trainer.train()
    problems = [{"instruction": text, "answer": "1"} for text in SEEDS[:2]]
    trainer.measure(problems, num_samples=2)
    assert before[0] == 28
    assert base_hash(trainer.model) == before
    norms = [row["grad_norm"] for row in trainer.state.log_history if "grad_norm" in row]
    assert len(norms) == 2 and all(0 < norm < math.inf for norm in norms)
    moved = [p for name, p in trainer.model.named_parameters() if "lora_B" in name]
    assert any(p.abs().sum() > 0 for p in moved)
