"""What of a run may leave the machine: an allow-list, copied to a folder of its own.

Whatever is not named here stays behind, so that a file nobody thought of is never published.
"""

import fnmatch
import json
import os
import shutil
from collections.abc import Collection
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from serl_trl.common.files import PRIVATE_FOLDER
from serl_trl.common.folder import Folder, FolderError
from serl_trl.common.plain_yaml import load_yaml
from serl_trl.common.records import ANY
from serl_trl.common.secrets import KNOWN, is_secret, secret_in
from serl_trl.common.text import one_line
from serl_trl.measure.comparison import RESULTS_FOLDER
from serl_trl.measure.session import SUMMARY
from serl_trl.runs.facts import RunFacts, is_machine_path, without_paths
from serl_trl.train.checkpoint import list_checkpoints, step_of

FULL_WEIGHTS, ADAPTER_WEIGHTS = "model.safetensors", "adapter_model.safetensors"
# The files of a model that may be published, as patterns.
ALLOWED = files("serl_trl.share").joinpath("published.txt").read_text("utf-8").split()
# Parts of an upload that do not come from the run's folder.
MADE_ANEW = ("README.md", "figures")

# Files in which a library notes where it found something.
_WITH_PATHS = ("config.json", "generation_config.json", "tokenizer_config.json")
# A shorter value of such a variable, as "1" or "none", is in every file.
_MIN_SECRET = 12
# Their many thousand short pieces look like anything; what this shell knows is searched there too.
_VOCABULARIES = ("tokenizer.json", "vocab.json", "vocab.txt", "merges.txt", "*.model")
_MAX_SETTINGS = 100_000_000
_MEASURED = {"benchmarks": {ANY: {"settings": {"model": {"name": str}}}}}


class ReleaseError(FolderError):
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
        return None if self.folder == self.private.parent else step_of(self.folder)


@dataclass(frozen=True)
class Release:
    """What `stage_model` copied, and the entries of the folder that stay behind."""

    files: tuple[str, ...]
    left: tuple[str, ...]


def find_run(folder: Path) -> RunFolder:
    """Find the private part of a run folder, or of the run that a checkpoint folder belongs to.

    Raises `ReleaseError` when no run wrote the folder.
    """
    if Folder(folder).has_folder(PRIVATE_FOLDER):
        return RunFolder(folder, folder / PRIVATE_FOLDER)
    beside = Folder(folder.parent)
    numbered = step_of(folder) is not None and beside.has_folder(PRIVATE_FOLDER)
    if numbered and beside.has_folder(folder.name):
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
    copied, left = [], []
    source = Folder(run.folder)
    for path in source.entries():
        # A link may lead anywhere; what is not sent is not looked at either.
        if _is_allowed(path.name) and source.has(path.name, shared=_is_weights(path.name)):
            _copy(source, path.name, Folder(target), facts)
            copied.append(path.name)
        elif path.name not in MADE_ANEW:
            left.append(path.name + ("/" if path.is_dir() else ""))
    return Release(tuple(copied), tuple(left))


def stage_results(evaluation: Path, run: RunFolder, target: Path) -> None:
    """Copy the evaluation-result files of `serl eval` to `target`, if it measured this very model.

    Raises `ReleaseError` when the folder holds no evaluation, or that of other weights.
    """
    from huggingface_hub import parse_eval_result_entries

    source = Folder(evaluation)
    try:
        measured = source.read_json(SUMMARY, _MEASURED)["benchmarks"].values()
        names = {entry["settings"]["model"]["name"] for entry in measured}
        written = source.at(SUMMARY).stat().st_mtime
    except FolderError:
        raise ReleaseError(
            f"evaluation={evaluation} was not written by serl eval; name its output_dir."
        ) from None
    # Figures measured before the last training belong to other weights.
    # `_check_weights` has seen that there are some.
    weights = [path for path in run.folder.glob("*.safetensors") if _is_allowed(path.name)]
    newest = max(path.stat().st_mtime for path in weights)
    here = run.folder.resolve()
    # `resolve` raises at a NUL, and the names come out of a file.
    elsewhere = sorted(name for name in names if "\0" in name or Path(name).resolve() != here)
    if elsewhere or written < newest:
        what = f"of {elsewhere[0]}" if elsewhere else "older than the weights"
        raise ReleaseError(
            f"evaluation={evaluation} is {what}, not of what is pushed; run serl eval {run.folder}."
        )
    for path in source.entries(RESULTS_FOLDER):
        if path.suffix != ".yaml":
            continue
        name = f"{RESULTS_FOLDER}/{path.name}"
        try:
            text = source.read_text(name)
            parse_eval_result_entries(load_yaml(text))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ReleaseError(
                f"{path} is not an evaluation-result file: {one_line(error)}."
            ) from None
        Folder(target).write(name, text)


def list_files(folder: Path) -> list[str]:
    """Return every file below `folder` by its relative name."""
    return sorted(Folder(folder).files(shared=True))


def known_secrets(token: str | None) -> set[str]:
    """Return the secrets that this process knows: `token`, and what variables called so hold."""
    values = {value for name, value in os.environ.items() if is_secret(name)} | {token or ""}
    long = {value for value in values if len(value) >= _MIN_SECRET}
    # Also as JSON writes it.
    return long | {json.dumps(value)[1:-1] for value in long}


def check_secrets(folder: Path, secrets: Collection[str]) -> None:
    """Raise `ReleaseError` when a text below `folder` holds one of `secrets`, or looks like one.

    Weights and pictures are not read, and of a data set the rows were, before they were compressed.
    The secret itself is not told.
    """
    for name in list_files(folder):
        if name.endswith((".safetensors", ".parquet", ".png")):
            continue
        with Folder(folder).open(name) as file:
            text = file.read().decode("utf-8", "replace")
        vocabulary = any(fnmatch.fnmatchcase(name, form) for form in _VOCABULARIES)
        search = _known_in if vocabulary else secret_in
        if kind := search(text, secrets):
            # A secret over several lines, such as a key, is found in none of them alone.
            lines = enumerate(text.split("\n"), start=1)
            number = next((number for number, line in lines if search(line, secrets)), 1)
            raise ReleaseError(
                f"{name} holds {kind} (line {number}); nothing was sent. Take it out of that file "
                "(or of what wrote it), and change the secret."
            )


def _known_in(text: str, secrets: Collection[str]) -> str:
    return KNOWN if any(value in text for value in secrets) else ""


def _is_allowed(name: str) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in ALLOWED)


def _check_weights(folder: Path) -> None:
    inside, index = Folder(folder), "model.safetensors.index.json"
    if inside.has(index):
        try:
            content = inside.read_json(index, {"weight_map": {ANY: str}}, max_bytes=_MAX_SETTINGS)
        except FolderError:
            problem = f"{index} in {folder} is damaged; save the model again."
            raise ReleaseError(problem) from None
        shards = set(content["weight_map"].values())
        if missing := sorted(name for name in map(str, shards) if not _is_there(folder, name)):
            raise ReleaseError(
                f"{folder} lacks {len(missing)} of {len(shards)} weight files, first {missing[0]}; "
                "save the model again."
            )
    elif not any(inside.has(name, shared=True) for name in (FULL_WEIGHTS, ADAPTER_WEIGHTS)):
        found = list_checkpoints(folder)
        hint = f"its newest checkpoint can be pushed: {found[-1]}" if found else "train it first"
        raise ReleaseError(f"{folder} holds no weights ({FULL_WEIGHTS} or an adapter's); {hint}.")


def _is_there(folder: Path, name: str) -> bool:
    # An index may name any path; a file that is not published is none of its shards.
    return _is_allowed(name) and Folder(folder).has(name, shared=True)


def _is_weights(name: str) -> bool:
    return name.endswith(".safetensors")


def _copy(source: Folder, name: str, target: Folder, facts: RunFacts) -> None:
    if name == "adapter_config.json":
        content = source.read_json(name, dict, max_bytes=_MAX_SETTINGS)
        # PEFT notes the path it loaded from, which is a path of this machine for a local base.
        named = str(content.get("base_model_name_or_path") or "")
        keep = named if facts.base is None and not _is_local(named) else facts.base
        content["base_model_name_or_path"] = keep
        content["revision"] = facts.base_revision or content.get("revision")
        _write_json(target, name, without_paths(content))
    elif name in _WITH_PATHS:
        content = source.read_json(name, dict, max_bytes=_MAX_SETTINGS)
        local = ("_name_or_path", "name_or_path")
        kept = {key: value for key, value in content.items() if key not in local}
        _write_json(target, name, {key: _without_path(value) for key, value in kept.items()})
    elif _is_weights(name):
        _link(source, name, target)
    else:
        _duplicate(source, name, target)


def _is_local(name: str) -> bool:
    return not name or is_machine_path(name) or Path(name).exists()


def _without_path(value: Any) -> Any:
    """Return a top-level setting without a path; the texts of tokens further down stay."""
    return without_paths(value) if isinstance(value, str) else value


def _write_json(folder: Folder, name: str, content: dict[str, Any]) -> None:
    folder.write(name, json.dumps(content, indent=2) + "\n")


def _link(source: Folder, name: str, target: Folder) -> None:
    try:
        # Weights are gigabytes, and the link is gone as soon as they are sent.
        os.link(source.at(name), target.at(name), follow_symlinks=False)
    except OSError:
        _duplicate(source, name, target)


def _duplicate(source: Folder, name: str, target: Folder) -> None:
    with source.open(name, shared=_is_weights(name)) as file, target.append(name) as copy:
        shutil.copyfileobj(file, copy)
