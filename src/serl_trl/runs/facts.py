"""What a run is made of: its base, seeds, options, versions and machine. Cards quote it.

Written when training begins, because nothing of it can be found out afterwards. It holds no path
and no instruction, so that all of it may be published.
"""

import importlib.metadata
import importlib.util
import json
import os
import platform
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from serl_trl._version import __version__
from serl_trl.common.folder import Folder, FolderError
from serl_trl.common.plain_yaml import MAX_CHARS, load_yaml
from serl_trl.data.tables import is_hub_id
from serl_trl.runs.reader import FACTS

# What stands for a path in what is published: it says nothing to others, and much about the user.
LOCAL = "(a local path)"
# Also inside a sentence or a link: it ends at a blank, a quote or a bracket.
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
    num_labelled: int = 0
    num_unlabelled: int = 0
    num_probe_problems: int = 0
    evaluation_sets: dict[str, int] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    all_options: bool = False
    versions: dict[str, str] = field(default_factory=dict)
    device: str = ""
    num_processes: int = 1


def write_facts(folder: Path, facts: RunFacts) -> None:
    """Write `facts` to `folder`; a resumed run keeps the id and the start it had."""
    run, name = Folder(folder.parent), f"{folder.name}/{FACTS}"
    try:
        earlier = run.read_json(name, {"run_id": str, "started": str}) if run.has(name) else {}
    except FolderError:
        earlier = {}
    # Cards of one run share its id, however often it was resumed.
    kept = {key: earlier[key] for key in ("run_id", "started") if key in earlier}
    run.write(name, json.dumps(asdict(facts) | kept, indent=2) + "\n")


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
    # A relative path looks like a Hub id (owner/name), so that only an existing one is a path.
    absolute = bool(re.match(r"(/|~|\.\.?/|[A-Za-z]:[\\/]|\\\\|file:)", text))
    # Linux raises for a longer path.
    return absolute or ("/" in text and len(text) < 4096 and os.path.lexists(text))


def public_name(source: str) -> str | None:
    """Return the name of a seed set that may be told: a Hub id or a built-in set, no file."""
    if source.startswith("sandbox"):
        return source
    return source if "/" in source and is_hub_id(source) and not os.path.lexists(source) else None


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


def recipe(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that another person needs to do the same, without paths."""
    wanted = {name: value for name, value in options.items() if not _NO_RECIPE.fullmatch(name)}
    return json.loads(json.dumps(without_paths(wanted), default=str))
