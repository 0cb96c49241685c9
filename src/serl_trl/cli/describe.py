"""What a checked config means in numbers, and what the machine holds; for people and for JSON."""

import platform
from typing import Any

from serl_trl._version import __version__
from serl_trl.answers.voting import in_band
from serl_trl.cli.build import Inputs
from serl_trl.cli.parser import Arguments
from serl_trl.common.processes import num_processes
from serl_trl.common.text import count_of
from serl_trl.runs.facts import installed

PACKAGES = (
    "torch",
    "trl",
    "transformers",
    "accelerate",
    "peft",
    "datasets",
    "huggingface_hub",
    "math-verify",
    "vllm",
    "bitsandbytes",
    "deepspeed",
)


def describe_run(args: Arguments, inputs: Inputs) -> dict[str, Any]:
    """Return what a checked config means: sizes, lengths, what is not applied, what was skipped.

    What stands for an option has the option's name.
    """
    config, seeds, probe = args.config, inputs.seed_set, inputs.probe_set
    per_step = config.per_device_train_batch_size * num_processes()
    report: dict[str, Any] = {"model_name_or_path": args.model.model_name_or_path}
    if seeds is not None:
        known = sum(answer is not None for answer in seeds.answers)
        report["num_seeds"] = len(seeds)
        report["seed_set"] = f"{seeds.source}, {known} with answers"
        report["seed_set_fingerprint"] = seeds.fingerprint
    if probe is not None:
        report["num_probe_problems"] = len(probe)
    if inputs.evaluation_sets:
        report["kept_out_of_training"] = [
            f"{name}, {count_of(len(read), 'problem')}"
            for name, read in inputs.evaluation_sets.items()
        ]
    report |= {
        "num_processes": num_processes(),
        "num_generations": config.num_generations,
        "prompts_per_generation_batch": config.prompts_per_batch,
        "rollouts_per_step": per_step * config.gradient_accumulation_steps,
        "steps_per_iteration": config.steps_per_iteration,
        "num_selfplay_iterations": config.num_selfplay_iterations,
        "max_steps": config.max_steps,
        "kept_majority_ratios": _kept_ratios(args),
    }
    if inputs.context is not None:
        report["model_context_tokens"] = inputs.context
    if longest := inputs.longest:
        report["longest_seed_tokens"] = longest.seed
        report["longest_prompt_tokens"] = longest.prompt
        report["max_completion_length"] = config.max_completion_length
        report["longest_request_tokens"] = longest.request
        report["proposer_max_tokens"] = config.proposer_max_tokens
    report["not_applied"] = [f"{each}: only vLLM knows it" for each in config.not_applied]
    report["missing_here"] = list(args.machine)
    report["skipped"] = list(inputs.skipped)
    read = [each for each in (seeds, probe) if each is not None]
    report["warnings"] = [*(warning for each in read for warning in each.warnings), *inputs.notes]
    return report


def _kept_ratios(args: Arguments) -> str:
    config = args.config
    if not config.use_selfplay or not config.use_band:
        return "all"
    votes, low, high = config.num_generations, config.difficulty_low, config.difficulty_high
    inside = [k for k in range(2, votes + 1) if in_band(k / votes, low=low, high=high)]
    return f"{inside[0]}/{votes} to {inside[-1]}/{votes}" if inside else "none"


def describe_environment() -> dict[str, str]:
    """Return names and versions, `not installed` for what is not there."""
    import torch

    count = torch.cuda.device_count()
    devices = [torch.cuda.get_device_name(index) for index in range(count)]
    return {
        "serl-trl": __version__,
        "Python": platform.python_version(),
        "platform": platform.platform(),
        "devices": ", ".join(devices) or "CPU only",
        "CUDA": torch.version.cuda or "none",
        **dict.fromkeys(PACKAGES, "not installed"),
        **installed(PACKAGES),
    }
