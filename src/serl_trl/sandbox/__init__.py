"""The built-in domain and its two models, on which the method can be watched on a laptop CPU.

The easy one visibly learns within minutes. The hard one tells strategies apart: the vote is wrong
on some kinds of problem, and many proposals have no valid answer.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from serl_trl.common.quiet import own_lines_only
from serl_trl.sandbox.domain import (
    EASY,
    HARD,
    NUM_LABELLED,
    STYLE,
    given_problems,
    heldout_problems,
    seed_problems,
)
from serl_trl.sandbox.faults import check_sound, fault_of
from serl_trl.sandbox.solver import kind_of, num_phrasings, solve

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

_FOLDER = Path(__file__).parent
MODEL_PATHS = {EASY: _FOLDER / "model", HARD: _FOLDER / "model_hard"}
CONFIG_PATHS = {EASY: _FOLDER / "sandbox_cpu.yaml", HARD: _FOLDER / "sandbox_hard_cpu.yaml"}
MODEL_PATH, CONFIG_PATH = MODEL_PATHS[EASY], CONFIG_PATHS[EASY]

__all__ = [
    "CONFIG_PATH",
    "CONFIG_PATHS",
    "EASY",
    "HARD",
    "MODEL_PATH",
    "MODEL_PATHS",
    "STYLE",
    "check_sound",
    "fault_of",
    "heldout",
    "kind_of",
    "labelled_set",
    "load_model",
    "load_tokenizer",
    "num_phrasings",
    "seed_set",
    "solve",
    "unlabelled_set",
]


def seed_set(name: str = EASY) -> list[str]:
    """Return the 64 seed instructions of a sandbox, without answers."""
    return [problem.instruction for problem in seed_problems(name)]


def labelled_set(name: str = EASY) -> list[dict[str, str]]:
    """Return 64 further problems of a sandbox as rows of instruction and answer."""
    given = given_problems(name)[:NUM_LABELLED]
    return [{"instruction": each.instruction, "answer": each.answer} for each in given]


def unlabelled_set(name: str = EASY) -> list[str]:
    """Return 256 further problems of a sandbox, without answers."""
    return [each.instruction for each in given_problems(name)[NUM_LABELLED:]]


def heldout(name: str = EASY) -> list[dict[str, str]]:
    """Return the 200 held-out problems of a sandbox as rows of instruction, answer and kind."""
    return [
        {"instruction": problem.instruction, "answer": problem.answer, "kind": problem.kind}
        for problem in heldout_problems(name)
    ]


def load_model(name: str = EASY) -> LlamaForCausalLM:
    """Load a sandbox's shipped model in float32, in evaluation mode."""
    import torch
    from transformers import LlamaForCausalLM

    with own_lines_only():
        return LlamaForCausalLM.from_pretrained(MODEL_PATHS[name], dtype=torch.float32)


def load_tokenizer(name: str = EASY) -> PreTrainedTokenizerFast:
    """Load the tokenizer of a sandbox's model, with its chat template."""
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast.from_pretrained(MODEL_PATHS[name])
