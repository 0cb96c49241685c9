"""The built-in domain and model on which the whole method can be watched on a laptop CPU."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from serl_trl.common.quiet import own_lines_only
from serl_trl.sandbox.domain import STYLE, heldout_problems, seed_problems
from serl_trl.sandbox.solver import kind_of, num_phrasings, solve

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

MODEL_PATH = Path(__file__).parent / "model"
CONFIG_PATH = Path(__file__).parent / "sandbox_cpu.yaml"

__all__ = [
    "CONFIG_PATH",
    "MODEL_PATH",
    "STYLE",
    "heldout",
    "kind_of",
    "load_model",
    "load_tokenizer",
    "num_phrasings",
    "seed_set",
    "solve",
]


def seed_set() -> list[str]:
    """Return the 64 seed instructions, without answers."""
    return [problem.instruction for problem in seed_problems()]


def heldout() -> list[dict[str, str]]:
    """Return the 200 held-out problems as rows of instruction, answer and kind."""
    return [
        {"instruction": problem.instruction, "answer": problem.answer, "kind": problem.kind}
        for problem in heldout_problems()
    ]


def load_model() -> LlamaForCausalLM:
    """Load the shipped model in float32, in evaluation mode."""
    import torch
    from transformers import LlamaForCausalLM

    with own_lines_only():
        return LlamaForCausalLM.from_pretrained(MODEL_PATH, dtype=torch.float32)


def load_tokenizer() -> PreTrainedTokenizerFast:
    """Load the shipped model's tokenizer, with its chat template."""
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast.from_pretrained(MODEL_PATH)
