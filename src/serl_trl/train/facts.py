"""What a run is made of, read from its trainer for its folder."""

import json
import uuid
from dataclasses import MISSING, fields
from datetime import UTC, datetime
from pathlib import Path, PurePath
from typing import Any

from serl_trl.common.plain_yaml import MAX_CHARS
from serl_trl.data.tables import is_hub_id
from serl_trl.propose.sources.base import LABELLED, UNLABELLED
from serl_trl.runs.facts import (
    RunFacts,
    package_versions,
    public_name,
    read_license,
    recipe,
)
from serl_trl.train.host import Host, inside


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
        **_num_rows(trainer),
        num_probe_problems=len(trainer.probe_set),
        evaluation_sets={
            PurePath(name).name: len(problems) for name, problems in trainer.evaluation_sets.items()
        },
        options=options_that_differ(trainer.args),
        versions=package_versions(),
        device=_device(),
        num_processes=trainer.accelerator.num_processes,
    )


def _num_rows(trainer: Host) -> dict[str, Any]:
    sizes = {name: len(rows) for name, rows in inside(trainer).row_sets.items()}
    return {"num_labelled": sizes.get(LABELLED, 0), "num_unlabelled": sizes.get(UNLABELLED, 0)}


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
