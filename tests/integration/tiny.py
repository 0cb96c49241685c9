"""Options of short runs: of the tiny model and its seeds, and of the sandbox with checkpoints."""

from dataclasses import asdict
from typing import Any

from serl_trl.sandbox import STYLE

SEEDS = [f"Tom has {i} apples and buys {i + 3} more. How many?" for i in range(12)]
OPTIONS: dict[str, Any] = {
    "use_cpu": True,
    "bf16": False,
    "per_device_train_batch_size": 8,
    "gradient_accumulation_steps": 1,
    "num_generations": 4,
    "max_completion_length": 8,
    "proposer_max_tokens": 16,
    "max_steps": 2,
    "report_to": "none",
    "save_strategy": "no",
    "gradient_checkpointing": False,
    "disable_tqdm": True,
    "sources": ["given"],
    "label_reward": "random",
    "use_band": False,
    "learning_rate": 1e-2,
}
CONTINUOUS = {
    "use_transformers_continuous_batching": True,
    "transformers_continuous_batching_config": {"num_blocks": 64, "max_batch_tokens": 256},
}
SAVING: dict[str, Any] = {
    "use_cpu": True,
    "bf16": False,
    "gradient_checkpointing": False,
    "report_to": "none",
    "save_strategy": "steps",
    "save_steps": 1,
    "disable_tqdm": True,
    "logging_steps": 1,
    "per_device_train_batch_size": 4,
    "gradient_accumulation_steps": 1,
    "num_generations": 4,
    "max_completion_length": 32,
    "num_requests": 2,
    "num_shots": 2,
    "num_pool_shots": 1,
    "proposer_max_tokens": 64,
    "max_per_template": 0,
    "difficulty_low": 0.4,
    "difficulty_high": 1.0,
    "learning_rate": 1e-3,
    "beta": 0.0,
    # What the gate asks has tests of its own.
    "validity": "careful",
    **asdict(STYLE),
}
"""A run of the sandbox that saves each of its steps, which take a fraction of a second."""
