"""What a run is made of, read from its trainer: for its folder, and for its checkpoints."""

import json
import platform
import uuid
from collections.abc import Mapping
from dataclasses import MISSING, fields
from datetime import UTC, datetime
from pathlib import Path, PurePath
from typing import Any

from serl_trl.common.plain_yaml import MAX_CHARS
from serl_trl.data.tables import is_hub_id
from serl_trl.runs.facts import (
    RunFacts,
    installed,
    package_versions,
    public_name,
    read_license,
    recipe,
)
from serl_trl.train.checkpoint import Facts, fingerprint
from serl_trl.train.host import Host, inside

# Options that may differ between a run and its resumption. They decide how long it is, what is
# written down and where, but nothing of what a step samples or learns.
FREE_OPTIONS = frozenset(
    {
        # How long the run is, and when it stops early.
        *("max_steps", "num_train_epochs", "num_selfplay_iterations", "max_rollouts"),
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


def gather_facts(trainer: Host) -> RunFacts:
    """Look at a trainer that is about to train."""
    model = trainer.model
    adapters = getattr(model, "peft_config", None)
    name = str(getattr(model.config, "_name_or_path", "") or "")
    # An adapter names the base that it was made for.
    if adapters:
        name = str(next(iter(adapters.values())).base_model_name_or_path or name)
    on_hub = is_hub_id(name) and not Path(name).exists()
    init_kwargs = trainer.args.model_init_kwargs or {}
    assert not isinstance(init_kwargs, str), "the config reads JSON"
    # A model that was given as an object may name no commit.
    asked = init_kwargs.get("revision")
    seeds = trainer.seed_set
    # ZeRO keeps only a part of each parameter here.
    num_parameters = sum(getattr(p, "ds_numel", p.numel()) for p in model.parameters())
    return RunFacts(
        run_id=uuid.uuid4().hex[:12],
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        base=name if on_hub else None,
        base_revision=(getattr(model.config, "_commit_hash", None) or asked) if on_hub else None,
        base_license=_license_beside(Path(name)) if name and not on_hub else None,
        architecture=", ".join(getattr(model.config, "architectures", None) or ())
        or type(model).__name__,
        num_parameters=num_parameters,
        adapter=bool(adapters),
        seed_source=public_name(seeds.source),
        seed_sha256=seeds.fingerprint,
        num_seeds=len(seeds),
        num_gold_seeds=sum(answer is not None for answer in seeds.answers),
        num_probe_problems=len(trainer.probe_set),
        evaluation_sets={
            PurePath(name).name: len(problems) for name, problems in trainer.evaluation_sets.items()
        },
        options=options_that_differ(trainer.args),
        versions=package_versions(),
        device=_device(),
        num_processes=trainer.accelerator.num_processes,
    )


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
        sets={"seed_set": fingerprint(seeds), "evaluation_sets": fingerprint(evaluated)},
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


def options_that_differ(args: Any) -> dict[str, Any]:
    """Return the options of a config that are not at their defaults, as `to_dict` shows them."""
    defaults = {
        each.name: each.default if each.default_factory is MISSING else each.default_factory()
        for each in fields(args)
    }
    given = args.to_dict().items()
    changed = {k: v for k, v in given if _comparable(v) != _comparable(defaults.get(k))}
    return recipe(changed)


def _comparable(value: Any) -> Any:
    # transformers makes members of enums of some options, and an empty value means the default.
    plain = json.loads(json.dumps(getattr(value, "value", value), default=str))
    return None if plain in ([], {}, "") else plain


def _license_beside(folder: Path) -> str | None:
    card = folder / "README.md"
    try:
        if not card.is_file():
            return None
        with card.open(encoding="utf-8") as file:
            return read_license(file.read(MAX_CHARS))
    except (OSError, UnicodeDecodeError):
        return None


def _device() -> str:
    import torch

    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else "CPU"
