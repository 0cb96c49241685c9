"""Options of the short runs of the tiny model, and its seeds."""

from typing import Any

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
    "prompt_source": "given",
    "label_reward": "random",
    "use_band": False,
    "learning_rate": 1e-2,
}
CONTINUOUS = {
    "use_transformers_continuous_batching": True,
    "transformers_continuous_batching_config": {"num_blocks": 64, "max_batch_tokens": 256},
}
