"""What of a run may leave the machine: an allow-list, copied to a folder of its own.

Whatever is not named here stays behind, so that a file nobody thought of is never published.
"""

import fnmatch
import json
import os
import re
import shutil
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serl_trl.config_file import is_secret
from serl_trl.ledger import PRIVATE_FOLDER
from serl_trl.plain_yaml import read_yaml
from serl_trl.run_facts import RunFacts, is_machine_path, without_paths
from serl_trl.texts import one_line

FULL_WEIGHTS, ADAPTER_WEIGHTS = "model.safetensors", "adapter_model.safetensors"
ALLOWED = (
    FULL_WEIGHTS,
    "model.safetensors.index.json",
    "model-*-of-*.safetensors",
    ADAPTER_WEIGHTS,
    "adapter_config.json",
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "tokenizer.model",
    "spiece.model",
    "chat_template.jinja",
)
RESULTS_FOLDER = ".eval_results"
MADE_ANEW = ("README.md", "figures")
"""Parts of an upload that do not come from the run's folder."""

# Files in which a library notes where it found something.
_WITH_PATHS = ("config.json", "generation_config.json", "tokenizer_config.json")
_MIN_SECRET = 12


class ReleaseError(ValueError):
    """A run that cannot be published as it is; the message says why, and what to do."""


@dataclass(frozen=True)
class RunFolder:
    """A run's folder (or one of its checkpoints), and its private part."""

    folder: Path
    private: Path

    @property
    def name(self) -> str:
        """The name of the run's own folder."""
        return self.private.parent.resolve().name

    @property
    def checkpoint(self) -> int | None:
        """The step of the checkpoint; `None` for the run's own folder."""
        return None if self.folder == self.private.parent else _step_of(self.folder)


@dataclass(frozen=True)
class Release:
    """What `stage_model` copied, and the entries of the folder that stay behind."""

    files: tuple[str, ...]
    left: tuple[str, ...]


def find_run(folder: Path) -> RunFolder:
    """Find the private part of a run folder, or of the run that a checkpoint folder belongs to.

    Raises `ReleaseError` when no run wrote the folder.
    """
    if (folder / PRIVATE_FOLDER).is_dir():
        return RunFolder(folder, folder / PRIVATE_FOLDER)
    if _step_of(folder) is not None and (folder.parent / PRIVATE_FOLDER).is_dir():
        return RunFolder(folder, folder.parent / PRIVATE_FOLDER)
    raise ReleaseError(
        f"{folder} holds no {PRIVATE_FOLDER} folder, so no run wrote it; name the output_dir of a "
        "run, or a checkpoint in it."
    )


def stage_model(run: RunFolder, target: Path, facts: RunFacts) -> Release:
    """Copy what may be published of the model to the empty folder `target`.

    Weights are linked, not copied, where the file system can. What names a path of this machine is
    written without it. Raises `ReleaseError` when the weights are missing or not all there.
    """
    _check_weights(run.folder)
    files, left = [], []
    for path in sorted(run.folder.iterdir()):
        # A link may lead anywhere.
        if path.is_file() and not path.is_symlink() and _is_allowed(path.name):
            _copy(path, target / path.name, facts)
            files.append(path.name)
        elif path.name not in MADE_ANEW:
            left.append(path.name + ("/" if path.is_dir() else ""))
    return Release(tuple(files), tuple(left))


def stage_results(evaluation: Path, run: RunFolder, target: Path) -> None:
    """Copy the evaluation-result files of `serl eval` to `target`, if it measured this very model.

    Raises `ReleaseError` when the folder holds no evaluation, or that of other weights.
    """
    from huggingface_hub import parse_eval_result_entries

    summary = evaluation / "summary.json"
    try:
        measured = json.loads(summary.read_text(encoding="utf-8"))["benchmarks"].values()
        names = {entry["settings"]["model"]["name"] for entry in measured}
        written = summary.stat().st_mtime
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        raise ReleaseError(
            f"evaluation={evaluation} is no folder that serl eval wrote; name its output_dir."
        ) from None
    weights = [path for path in run.folder.glob("*.safetensors") if _is_allowed(path.name)]
    newest = max(path.stat().st_mtime for path in weights)
    elsewhere = [name for name in names if Path(name).resolve() != run.folder.resolve()]
    if elsewhere or written < newest:
        what = f"of {elsewhere[0]}" if elsewhere else "older than the weights"
        raise ReleaseError(
            f"evaluation={evaluation} is {what}, not of what is pushed; run serl eval {run.folder}."
        )
    for path in sorted((evaluation / RESULTS_FOLDER).glob("*.yaml")):
        try:
            parse_eval_result_entries(read_yaml(path))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ReleaseError(f"{path} is no evaluation-result file: {one_line(error)}.") from None
        (target / RESULTS_FOLDER).mkdir(exist_ok=True)
        shutil.copyfile(path, target / RESULTS_FOLDER / path.name)


def list_files(folder: Path) -> list[str]:
    """Return every file below `folder` by its relative name."""
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def known_secrets(token: str | None) -> set[str]:
    """Return the secrets that this process knows: `token`, and what variables called so hold."""
    values = {value for name, value in os.environ.items() if is_secret(name)} | {token or ""}
    return {value for value in values if len(value) >= _MIN_SECRET}


def check_secrets(folder: Path, secrets: Collection[str]) -> None:
    """Raise `ReleaseError` when a file below `folder` holds one of `secrets`; weights are not read.

    The secret itself is not told.
    """
    needles = [secret.encode() for secret in secrets]
    for name in list_files(folder):
        if name.endswith(".safetensors"):
            continue
        content = (folder / name).read_bytes()
        if any(needle in content for needle in needles):
            raise ReleaseError(
                f"{name} holds a secret that is set in this shell or login; nothing was sent. "
                "Take it out of that file (or of what wrote it), and change the secret."
            )


def _step_of(folder: Path) -> int | None:
    found = re.fullmatch(r"checkpoint-([0-9]{1,15})", folder.name)
    return int(found[1]) if found else None


def _is_allowed(name: str) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in ALLOWED)


def _check_weights(folder: Path) -> None:
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        try:
            shards = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        except (ValueError, KeyError, AttributeError, TypeError):
            problem = f"{index.name} in {folder} is damaged; save the model again."
            raise ReleaseError(problem) from None
        if missing := sorted(name for name in map(str, shards) if not _is_there(folder, name)):
            raise ReleaseError(
                f"{folder} lacks {len(missing)} of {len(shards)} weight files, first {missing[0]}; "
                "save the model again."
            )
    elif not any((folder / name).is_file() for name in (FULL_WEIGHTS, ADAPTER_WEIGHTS)):
        checkpoints = [p for p in folder.glob("checkpoint-*") if _step_of(p) is not None]
        newest = max(checkpoints, key=lambda path: _step_of(path) or 0, default=None)
        hint = f"its newest checkpoint can be pushed: {newest}" if newest else "train it first"
        raise ReleaseError(f"{folder} holds no weights ({FULL_WEIGHTS} or an adapter's); {hint}.")


def _is_there(folder: Path, name: str) -> bool:
    return _is_allowed(name) and (folder / name).is_file()


def _copy(path: Path, target: Path, facts: RunFacts) -> None:
    if path.name == "adapter_config.json":
        content = json.loads(path.read_text(encoding="utf-8"))
        # PEFT notes the path it loaded from, which is a path of this machine for a local base.
        named = str(content.get("base_model_name_or_path") or "")
        keep = named if facts.base is None and not _is_local(named) else facts.base
        content["base_model_name_or_path"] = keep
        content["revision"] = facts.base_revision or content.get("revision")
        _write_json(target, without_paths(content))
    elif path.name in _WITH_PATHS:
        content = json.loads(path.read_text(encoding="utf-8"))
        local = ("_name_or_path", "name_or_path")
        kept = {key: value for key, value in content.items() if key not in local}
        _write_json(target, {key: _without_path(value) for key, value in kept.items()})
    elif path.suffix == ".safetensors":
        _link(path, target)
    else:
        shutil.copyfile(path, target)


def _is_local(name: str) -> bool:
    return not name or is_machine_path(name) or Path(name).exists()


def _without_path(value: Any) -> Any:
    """Return a top-level setting without a path; the texts of tokens further down stay."""
    return without_paths(value) if isinstance(value, str) else value


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _link(path: Path, target: Path) -> None:
    try:
        os.link(path, target)
    except OSError:
        shutil.copyfile(path, target)
