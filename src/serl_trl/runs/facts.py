"""What a run is made of: its base, seeds, options, versions and machine. Cards quote it.

Written when training begins, because nothing of it can be found out afterwards. It holds no path
and no instruction, so that all of it may be published.
"""

import hashlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import re
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from datetime import UTC, datetime
from functools import cache
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from serl_trl import __version__
from serl_trl.cli.config_file import is_secret
from serl_trl.train.options import SelfPlayOptions
from serl_trl.common.folder import Folder, FolderError
from serl_trl.common.plain_yaml import MAX_CHARS, load_yaml
from serl_trl.common.records import ANY, fits
from serl_trl.runs.reader import FACTS
from serl_trl.data.tables import is_hub_id

if TYPE_CHECKING:
    from serl_trl.train.trainer import SeRLTrainer

LOCAL = "(a local path)"
_HOME_PATH = re.compile(
    r"(?:file://)?(?:[A-Za-z]:[\\/]{1,2}Users[\\/]|/(?:home|Users|root)/)[^\s\"'`<>|,;)\]}]*",
    re.IGNORECASE,
)
PACKAGES = ("torch", "trl", "transformers", "accelerate", "peft", "datasets", "math-verify", "vllm")

# What says where a run writes and reports, or is worked out from other options: no recipe.
_NO_RECIPE = re.compile(
    r"output_dir|run_name|project|report_to|resume_from_checkpoint|disable_tqdm|show_steps"
    r"|generation_batch_size|ignore_data_skip|pad_to_multiple_of|accelerator_config"
    r"|activation_checkpointing|dataloader_.*|push_to_hub|save_.*|logging_.*|log_.*|.*hub_.*|trackio_.*"
    r"|vllm_server_.*|.*_token"
)


@dataclass(frozen=True)
class RunFacts:
    """The facts. `base` is `None` for a model that is not on the Hub; licences are SPDX-like names.

    `base_revision` is the commit of the base where it is known. `options` holds what differs from
    the defaults, or everything where the defaults were not looked at (`all_options`).
    `evaluation_sets` maps the names of what was kept out of training to numbers of problems.
    """

    run_id: str
    started: str = ""
    base: str | None = None
    base_revision: str | None = None
    base_license: str | None = None
    architecture: str = ""
    num_parameters: int = 0
    adapter: bool = False
    seed_source: str | None = None
    seed_sha256: str = ""
    num_seeds: int = 0
    num_gold_seeds: int = 0
    num_probe_problems: int = 0
    evaluation_sets: dict[str, int] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    all_options: bool = False
    versions: dict[str, str] = field(default_factory=dict)
    device: str = ""
    num_processes: int = 1


_SHAPES = {
    **dict.fromkeys(("run_id", "started", "architecture", "seed_sha256", "device"), str),
    **dict.fromkeys(("base", "base_revision", "base_license", "seed_source"), (str, None)),
    **dict.fromkeys(("num_parameters", "num_seeds", "num_gold_seeds", "num_probe_problems"), int),
    "num_processes": int,
    "adapter": bool,
    "all_options": bool,
    "evaluation_sets": {ANY: int},
    "options": dict,
    "versions": {ANY: str},
}
# What these texts look like where a run wrote them; they stand in code, links and metadata.
_FORMS = {
    "run_id": re.compile(r"[\w-]{1,40}"),
    "base_revision": re.compile(r"[\w./-]{1,100}"),
    "base_license": re.compile(r"[\w.+-]{1,60}"),
    "seed_source": re.compile(r"sandbox[ \w-]{0,40}|[\w.-]{1,96}/[\w.-]{1,96}"),
}
_OPTION_SOURCES = (
    ("transformers", "training_args.py"),
    ("trl", "trainer/base_config.py"),
    ("trl", "trainer/grpo_config.py"),
)
_FIELD = re.compile(r"^    ([a-z]\w*): .+(?: = |\()", re.MULTILINE)


def gather_facts(trainer: "SeRLTrainer") -> RunFacts:
    """Look at a trainer that is about to train."""
    model = trainer.model
    adapters = getattr(model, "peft_config", None)
    name = str(getattr(model.config, "_name_or_path", "") or "")
    if adapters:
        name = str(next(iter(adapters.values())).base_model_name_or_path or name)
    on_hub = is_hub_id(name) and not Path(name).exists()
    init_kwargs = trainer.args.model_init_kwargs or {}
    assert not isinstance(init_kwargs, str), "the config reads JSON"
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


def write_facts(folder: Path, facts: RunFacts) -> None:
    """Write `facts` to `folder`; a run that goes on keeps the id and the start it had."""
    run, name = Folder(folder.parent), f"{folder.name}/{FACTS}"
    try:
        earlier = run.read_json(name, {"run_id": str, "started": str}) if run.has(name) else {}
    except FolderError:
        earlier = {}
    kept = {key: earlier[key] for key in ("run_id", "started") if key in earlier}
    run.write(name, json.dumps(asdict(facts) | kept, indent=2) + "\n")


def facts_of(stored: Mapping[str, Any], config: Mapping[str, Any]) -> RunFacts:
    """Return the facts that a run stored, without what cannot be one.

    Where it stored none (or damaged ones) the id is taken from its config, and the options are all
    that the config names. No other options than those that this version knows are among them.
    """
    whole = {
        name: stored[name]
        for name, shape in _SHAPES.items()
        if name in stored and fits(stored[name], shape)
    }
    for name, form in _FORMS.items():
        if isinstance(text := whole.get(name), str) and not form.fullmatch(text):
            del whole[name]
    if not is_hub_id(whole.get("base") or ""):
        whole["base"] = whole["base_revision"] = None
    whole["options"] = _known(whole.get("options", {}))
    try:
        return RunFacts(**whole)
    except TypeError:
        content = json.dumps(config, sort_keys=True, default=str).encode()
        return RunFacts(
            run_id=hashlib.sha256(content).hexdigest()[:12],
            options=_known(_recipe(config)),
            all_options=True,
        )


@cache
def known_options() -> frozenset[str]:
    """Return the names of all options of a run, without importing TRL and torch.

    They are read from the source of the classes that define them; of a class that lies elsewhere
    in another version none is known, and none of its options is shown.
    """
    names = {f.name for f in fields(SelfPlayOptions)}
    for package, file in _OPTION_SOURCES:
        spec = importlib.util.find_spec(package)
        for folder in (spec.submodule_search_locations if spec else None) or ():
            if (path := Path(folder) / file).is_file():
                names |= set(_FIELD.findall(path.read_text(encoding="utf-8")))
    return frozenset(name for name in names if not is_secret(name))


def _known(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name in known_options()}


def options_that_differ(args: Any) -> dict[str, Any]:
    """Return the options of a config that are not at their defaults, as `to_dict` shows them."""
    defaults = {
        f.name: f.default_factory() if f.default_factory is not MISSING else f.default
        for f in fields(args)
    }
    shown = args.to_dict()
    return _recipe(
        {
            name: value
            for name, value in shown.items()
            if _comparable(value) != _comparable(defaults.get(name))
        }
    )


def without_paths(value: Any) -> Any:
    """Return `value` with every path of this machine in it replaced by `LOCAL`."""
    if isinstance(value, dict):
        return {key: without_paths(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_paths(item) for item in value]
    if not isinstance(value, str):
        return value
    return LOCAL if is_machine_path(value) else without_home_paths(value)


def without_home_paths(text: str) -> str:
    """Return `text` with `LOCAL` in place of every path in it that leads through a home folder."""
    return _HOME_PATH.sub(LOCAL, text)


def is_machine_path(text: str) -> bool:
    """Return whether a text is a path that means something on one machine only."""
    absolute = bool(re.match(r"(/|~|\.\.?/|[A-Za-z]:[\\/]|\\\\|file:)", text))
    return absolute or ("/" in text and len(text) < 4096 and _exists(text))


def public_name(source: str) -> str | None:
    """Return the name of a seed set that may be told: a Hub id or a built-in set, no file."""
    if source.startswith("sandbox"):
        return source
    return source if "/" in source and is_hub_id(source) and not _exists(source) else None


def package_versions() -> dict[str, str]:
    """Return the versions of Python, of this package and of what it is built on."""
    return {"serl-trl": __version__, "Python": platform.python_version(), **installed(PACKAGES)}


def installed(packages: Iterable[str]) -> dict[str, str]:
    """Return the versions of those packages that are installed."""
    found = {}
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def read_license(card_text: str) -> str | None:
    """Return the licence that the front matter of a card names, or `None`."""
    front = re.match(r"\s*---[ \t]*\r?\n(.*?)\r?\n---", card_text[:MAX_CHARS], re.DOTALL)
    try:
        data = load_yaml(front[1]) if front else None
    except ValueError:
        return None
    found = data.get("license") if isinstance(data, dict) else None
    return found if isinstance(found, str) and re.fullmatch(r"[\w.+-]{1,60}", found) else None


def _recipe(options: Mapping[str, Any]) -> dict[str, Any]:
    wanted = {name: value for name, value in options.items() if not _NO_RECIPE.fullmatch(name)}
    return json.loads(json.dumps(without_paths(wanted), default=str))


def _comparable(value: Any) -> Any:
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


def _exists(text: str) -> bool:
    try:
        return os.path.lexists(text)
    except ValueError:
        return False


def _device() -> str:
    import torch

    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else "CPU"
