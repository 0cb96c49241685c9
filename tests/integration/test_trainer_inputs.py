"""What a script hands to the trainer: read as the command reads it, or refused at once."""

import json
from dataclasses import asdict
from typing import Any

import pytest
from datasets import Dataset, DatasetDict
from transformers import BitsAndBytesConfig
from trl import GRPOConfig

from serl_trl.sandbox import STYLE, heldout, load_model, load_tokenizer, seed_set
from serl_trl.train.config import SeRLConfig
from serl_trl.train.trainer import SeRLTrainer

QUIET: dict[str, Any] = {
    "use_cpu": True,
    "bf16": False,
    "report_to": "none",
    "disable_tqdm": True,
    "max_steps": 1,
    "per_device_train_batch_size": 16,
    "num_generations": 8,
    "max_completion_length": 32,
    "max_instruction_tokens": 64,
    "proposer_max_tokens": 128,
    "per_device_eval_batch_size": 8,
    "num_generations_eval": 8,
    **asdict(STYLE),
}


def make(folder, seeds, **arguments: Any) -> SeRLTrainer:
    given = {**QUIET, **arguments.pop("options", {})}
    args = arguments.pop("args", None) or SeRLConfig(output_dir=str(folder), **given)
    model = arguments.pop("model", None) or load_model()
    return SeRLTrainer(model, args, seeds, processing_class=load_tokenizer(), **arguments)


def test_a_path_and_rows_of_messages_are_the_seed_set_and_gold_may_be_a_number(tmp_path):
    rows = [{"prompt": [{"role": "user", "content": text}]} for text in seed_set()]
    path = tmp_path / "seeds.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    probe = [{"instruction": heldout()[0]["instruction"], "answer": 15}]
    trainer = make(tmp_path / "a", str(path), eval_dataset=probe)
    assert trainer.seed_set.instructions == tuple(seed_set())
    assert trainer.probe_set[0]["answer"] == "15"
    assert "eval_reward" in trainer.evaluate()
    other = make(tmp_path / "b", Dataset.from_list(rows))
    assert other.seed_set.instructions == tuple(seed_set())


NO_MODEL = "no/such-model"
"""Loading it would fail in another way."""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seeds": None}, "seed_set=None holds no rows"),
        ({"seeds": DatasetDict(train=Dataset.from_list([{"text": "a"}]))}, "a split of it: train"),
        ({"seeds": "What is 2?"}, "give instructions as a list"),
        ({"args": GRPOConfig(output_dir="x", use_cpu=True, bf16=False)}, "a SeRLConfig"),
        ({"eval_dataset": ["What is 2?"]}, "eval_dataset has no column 'answer'"),
        ({"options": {"reward_weights": [1.0, 0.5]}}, "2 of the 1 weights needed"),
        ({"options": {"label_reward": "none"}}, "at least one reward function"),
        ({"options": {"eval_strategy": "steps", "eval_steps": 1}}, "measures on a probe set"),
        ({"options": {"use_liger_kernel": True}}, "liger_kernel is not installed"),
        ({"options": {"use_vllm": True}}, "vllm is not installed; run: pip install"),
        ({"options": {"embedding_model": "a/b"}}, "sentence_transformers is not installed"),
        (
            {"quantization_config": BitsAndBytesConfig(load_in_4bit=True)},
            "bitsandbytes is not installed",
        ),
    ],
)
def test_what_cannot_be_used_is_named_before_the_weights(tmp_path, monkeypatch, arguments, message):
    monkeypatch.setattr(
        "serl_trl.train.needs.missing_package",
        lambda modules, install: f"{modules[0]} is not installed; run: pip install {install}",
    )
    seeds = arguments.pop("seeds") if "seeds" in arguments else seed_set()
    with pytest.raises(ValueError, match=message) as caught:
        make(tmp_path, seeds, model=NO_MODEL, **arguments)
    assert "\n" not in str(caught.value)
