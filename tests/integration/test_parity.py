"""With self-play off, the trainer is TRL's; with it on, the iterator alone changes nothing."""

import hashlib
from typing import Any

import pytest
import torch
from datasets import Dataset
from transformers import TrainerCallback
from trl import GRPOConfig, GRPOTrainer

from serl_trl.propose.prompts import PromptStyle, rollout_messages
from serl_trl.train.config import SeRLConfig
from serl_trl.train.trainer import SeRLTrainer

PROBLEMS = [f"Tom has {i} apples and buys {i + 3} more. How many?" for i in range(24)]
COMMON: dict[str, Any] = {
    "use_cpu": True,
    "bf16": False,
    "per_device_train_batch_size": 4,
    "num_generations": 4,
    "max_completion_length": 12,
    "max_steps": 5,
    "learning_rate": 1e-2,
    "report_to": "none",
    "save_strategy": "no",
    "gradient_checkpointing": False,
    "shuffle_dataset": False,
    "disable_tqdm": True,
    "epsilon_high": None,
}
ON_ITS_OWN = {"label_reward": "none", "advantage": "grpo"}
SCHEDULES = [
    {"gradient_accumulation_steps": 2, "beta": 0.0},
    {"gradient_accumulation_steps": 2, "beta": 0.1},
    {"gradient_accumulation_steps": 1, "steps_per_generation": 2, "num_iterations": 2, "beta": 0.0},
]


def length_reward(completions: list[Any], **_: Any) -> list[float]:
    return [float(len(completion[0]["content"]) % 7) for completion in completions]


def weight_hash(model: torch.nn.Module) -> str:
    data = b"".join(p.detach().numpy().tobytes() for p in model.parameters())
    return hashlib.sha256(data).hexdigest()


def train_plain(model: str, folder: str, schedule: dict[str, Any]) -> str:
    rows = {"prompt": [rollout_messages(text, PromptStyle()) for text in PROBLEMS]}
    config = GRPOConfig(output_dir=folder, **COMMON, **schedule)
    trainer = GRPOTrainer(model, length_reward, config, Dataset.from_dict(rows))
    trainer.train()
    return weight_hash(trainer.model)


class _DrawLikeADataLoader(TrainerCallback):
    """A DataLoader draws one global random number when an epoch begins; ours does not."""

    def on_epoch_begin(self, *_: Any, **__: Any) -> None:
        torch.empty((), dtype=torch.int64).random_()


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_without_selfplay_weights_equal_grpo_trainer_bit_for_bit(tiny_model, tmp_path, schedule):
    config = SeRLConfig(
        output_dir=str(tmp_path / "serl"), use_selfplay=False, **ON_ITS_OWN, **COMMON, **schedule
    )
    trainer = SeRLTrainer(tiny_model, config, PROBLEMS, reward_funcs=length_reward)
    trainer.train()
    assert weight_hash(trainer.model) == train_plain(tiny_model, str(tmp_path / "trl"), schedule)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_given_prompts_through_our_iterator_train_like_grpo_trainer(tiny_model, tmp_path, schedule):
    config = SeRLConfig(
        output_dir=str(tmp_path / "serl"),
        sources=["given"],
        use_band=False,
        **ON_ITS_OWN,
        **COMMON,
        **schedule,
    )
    callbacks = [_DrawLikeADataLoader()]
    trainer = SeRLTrainer(
        tiny_model, config, PROBLEMS, reward_funcs=length_reward, callbacks=callbacks
    )
    trainer.train()
    assert weight_hash(trainer.model) == train_plain(tiny_model, str(tmp_path / "trl"), schedule)


def test_rollouts_are_handed_on_with_all_of_trl_metrics(tiny_model, tmp_path):
    schedule = {"gradient_accumulation_steps": 2, "beta": 0.0, "logging_steps": 1}
    keys = []
    for cls, options, data in (
        (GRPOTrainer, GRPOConfig(output_dir=str(tmp_path / "a"), **COMMON, **schedule), None),
        (
            SeRLTrainer,
            SeRLConfig(
                output_dir=str(tmp_path / "b"),
                sources=["given"],
                use_band=False,
                **ON_ITS_OWN,
                **COMMON,
                **schedule,
            ),
            PROBLEMS,
        ),
    ):
        rows = {"prompt": [rollout_messages(text, PromptStyle()) for text in PROBLEMS]}
        if data is None:
            trainer = cls(tiny_model, length_reward, options, Dataset.from_dict(rows))
        else:
            trainer = cls(tiny_model, options, data, reward_funcs=length_reward)
        trainer.train()
        keys.append({key for key in trainer.state.log_history[0] if not key.startswith("serl/")})
    assert keys[0] == keys[1]
