"""Which numbers and words an option of a run takes: of ours by their fields, of TRL's from here."""

from collections.abc import Mapping
from math import inf as INF
from types import MappingProxyType

from serl_trl.common.options import Bounds, bounds_of, choices_of
from serl_trl.train.options import SelfPlayOptions
from serl_trl.train.run_arguments import RunArguments

# TRL and transformers state neither ranges nor choices of their options. A value outside fails
# hours later, or trains in silence on nothing. Where 0 is no number of the option the low end is
# the smallest value that anybody has used, so that a zero from a wrong unit is named.
BOUNDS: Mapping[str, Bounds] = MappingProxyType(
    {
        # At temperature 0 all completions of a prompt are one, and each vote is unanimous.
        "temperature": Bounds(1e-3, 10, "a vote needs differing completions; use 0.6 to 1.2"),
        "top_p": Bounds(1e-3, 1, "1 keeps every token"),
        "learning_rate": Bounds(1e-12, 1, "1e-7 to 1e-5 is usual"),
        "epsilon": Bounds(1e-6, 1, "the paper uses 0.2"),
        "num_iterations": Bounds(1, INF, "1 trains on a batch once"),
        "save_steps": Bounds(1e-9, INF, "whole numbers count steps, fractions are of the run"),
        "lora_r": Bounds(1, 4096, "it is the rank of the adapter; 16 is usual"),
        "lora_alpha": Bounds(1, INF, "twice lora_r is usual"),
        "lora_dropout": Bounds(0, 0.99, "it is a share of the activations"),
        "warmup_steps": Bounds(0, INF, "whole numbers count steps, fractions are of the run"),
        "weight_decay": Bounds(0, INF, "0 is usual here"),
        "max_grad_norm": Bounds(0, INF, "the paper uses 1.0"),
        # At 1 the averages never change, and Adam divides by zero.
        "adam_beta1": Bounds(0, 0.9999999, "0.9 is usual"),
        "adam_beta2": Bounds(0, 0.9999999, "0.95 to 0.999 is usual"),
        "adam_epsilon": Bounds(1e-30, 1, "1e-8 is usual"),
        # What numpy takes.
        "seed": Bounds(0, 2**32 - 1, "any such number will do"),
        "save_total_limit": Bounds(1, INF, "leave it out to keep every checkpoint"),
        "steps_per_generation": Bounds(1, INF, "leave it out to roll out once per optimizer step"),
        "generation_batch_size": Bounds(1, INF, "it counts rollouts"),
        "top_k": Bounds(-1, INF, "0 switches it off"),
        "min_p": Bounds(0, 1, "it is a probability"),
        "repetition_penalty": Bounds(1e-3, 10, "1 switches it off"),
        # Below a hundredth not even the context of CUDA fits.
        "vllm_gpu_memory_utilization": Bounds(0.01, 1, "it is a share of the GPU's memory"),
        "vllm_tensor_parallel_size": Bounds(1, INF, "it counts GPUs"),
        "vllm_max_model_length": Bounds(1, INF, "it counts tokens"),
        "ddp_timeout": Bounds(1, INF, "it counts seconds; 1800 is the default"),
        **bounds_of(SelfPlayOptions, RunArguments),
    }
)
CHOICES: Mapping[str, tuple[str | bool, ...]] = MappingProxyType(
    {
        # As TRL 1.16 reads them; a name that it does not know falls through to an error in a step.
        "loss_type": ("grpo", "dr_grpo", "dapo", "bnpo", "cispo", "sapo", "luspo", "vespo"),
        "scale_rewards": ("group", "batch", "none", True, False),
        "vllm_mode": ("colocate", "server"),
        "importance_sampling_level": ("token", "sequence"),
        "vllm_importance_sampling_mode": (
            *("token_truncate", "token_mask", "sequence_truncate", "sequence_mask"),
        ),
        **choices_of(SelfPlayOptions),
    }
)
