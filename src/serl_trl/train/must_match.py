"""What a resumed run must share with its checkpoint, read from the trainer."""

import json
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from serl_trl.runs.facts import installed
from serl_trl.train.checkpoint import Facts, fingerprint
from serl_trl.train.host import Host, inside

# Options that may differ between a run and its resumption. They decide how long it is, what is
# written down and where, but nothing of what a step samples or learns.
FREE_OPTIONS = frozenset(
    {
        # How long the run is, and when it stops early.
        *("max_steps", "num_train_epochs", "num_selfplay_iterations", "max_rollouts"),
        *("collapse_guard", "probe_decides", "sentinel_steps"),
        *("max_empty_refills", "warn_logprob_gap", "max_logprob_gap", "max_nonfinite_steps"),
        # What is shown, measured and kept, and where.
        *("output_dir", "plugins", "run_name", "project", "report_to", "disable_tqdm"),
        *("include_num_input_tokens_seen", "num_completions_to_print", "skip_memory_metrics"),
        *("sample_steps", "show_steps", "probe_steps", "probe_samples"),
        # How it is resumed and kept up.
        *("resume_from_checkpoint", "allow_changes", "on_full_disk", "ddp_timeout", "local_rank"),
    }
)
FREE_PREFIXES = ("logging_", "log_", "save_", "hub_", "push_to_hub", "trackio_", "vllm_server_")

_LIBRARIES = ("serl-trl", "torch", "trl", "transformers", "accelerate", "peft", "vllm")


def checkpoint_facts(trainer: Host) -> Facts:
    """Return what a run must share with a checkpoint that it is resumed from."""
    config = trainer.model.config
    options = {
        name: value
        for name, value in trainer.args.to_dict().items()
        if name not in FREE_OPTIONS and not name.startswith(FREE_PREFIXES)
    }
    # A folder may have moved; what it is called says which model it is.
    options["model"] = Path(getattr(config, "_name_or_path", "") or "").name
    options["reward_funcs"] = inside(trainer).reward_func_names
    options["chat_template_sha256"] = fingerprint(inside(trainer)._tokenizer.chat_template)
    # What is trained with given objects, not with options, is compared by what the objects say.
    adapters = getattr(trainer.model, "peft_config", None) or {}
    options |= _listed("adapter", next(iter(adapters.values()), None))
    options |= _listed("quantization", getattr(config, "quantization_config", None))
    seeds = [trainer.seed_set.instructions, trainer.seed_set.answers]
    evaluated = {name: list(texts) for name, texts in trainer.evaluation_sets.items()}
    return Facts(
        config=json.loads(json.dumps(options, default=_as_json)),
        sets={
            "seed_set": fingerprint(seeds),
            "evaluation_sets": fingerprint(evaluated),
            **{
                name: fingerprint([rows.instructions, rows.answers])
                for name, rows in inside(trainer).row_sets.items()
            },
        },
        num_processes=trainer.accelerator.num_processes,
        versions={"python": platform.python_version(), **installed(_LIBRARIES)},
    )


def _listed(name: str, config: Any) -> dict[str, Any]:
    """Return the options of an adapter or a quantisation under names of their own.

    `name` alone says whether the model has it, so that adding or dropping it is a difference too.
    """
    if config is None:
        return {name: False}
    options = config if isinstance(config, Mapping) else config.to_dict()
    # A folder may have moved, and versions are compared elsewhere.
    skipped = ("base_model_name_or_path", "peft_version")
    return {name: True} | {f"{name}.{k}": v for k, v in options.items() if k not in skipped}


def _as_json(value: Any) -> Any:
    """Turn what JSON does not know into it; the order of a set differs between processes."""
    return sorted(map(str, value)) if isinstance(value, set | frozenset) else str(value)
