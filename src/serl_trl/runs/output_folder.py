"""Which folders a run may write to: empty ones, and those that a run of ours wrote."""

import os
from pathlib import Path

from serl_trl.common.files import PRIVATE_FOLDER
from serl_trl.common.folder import Folder, FolderError
from serl_trl.common.records import ANY
from serl_trl.common.text import list_names, visible
from serl_trl.measure.session import SUMMARY
from serl_trl.runs.reader import FACTS

# What a run writes beside `_serl`: weights and their settings, the card, checkpoints.
_WRITTEN = ("*.json", "*.safetensors", "*.jinja", "*.txt", "*.model", "*.bin")
_WRITTEN += ("README.md", "figures", "checkpoint-*", f"{PRIVATE_FOLDER}/*")


def output_problem(folder: Path) -> str:
    """Return why no run may write to `folder`, or nothing when it may.

    Refused are `/`, the home folder, the current folder, its repository, and all folders above
    them; folders with files that no run wrote; and links in the place of a run's own files.
    """
    shown = visible(str(folder))
    if place := _protected(folder):
        return f"output_dir={shown} is {place}; name a folder for this run alone, as in runs/mine."
    if not folder.is_dir():
        return ""
    try:
        if not is_run(folder):
            names = sorted(path.name for path in folder.iterdir() if path.name != PRIVATE_FOLDER)
            if names:
                return (
                    f"output_dir={shown} holds files that no run wrote ({list_names(names)}), and "
                    "a run would overwrite them; name an empty folder, or one that does not exist."
                )
        links = [path for form in _WRITTEN for path in folder.glob(form) if path.is_symlink()]
    except (OSError, FolderError) as error:
        return f"output_dir={shown} cannot be used: {error}"
    if links:
        listed = list_names(sorted(path.relative_to(folder).as_posix() for path in links))
        return f"output_dir={shown} holds links where a run writes files ({listed}); remove them."
    return ""


def is_run(folder: Path) -> bool:
    """Return whether a run wrote `folder`: it left its facts, or a checkpoint's manifest."""
    inside = Folder(folder)
    if _holds(inside, f"{PRIVATE_FOLDER}/{FACTS}", {"run_id": str}):
        return True
    return any(
        inside.has_folder(path.name) and inside.has(f"{path.name}/serl_manifest.json", shared=True)
        for path in folder.glob("checkpoint-*")
        if not path.is_symlink()
    )


def is_evaluation(folder: Path) -> bool:
    """Return whether `serl eval` wrote `folder`."""
    # The settings tell it from a summary.json of anybody else's.
    return _holds(Folder(folder), SUMMARY, {"benchmarks": {ANY: {"settings": dict}}})


def may_be_renamed(folder: Path) -> str:
    """Return why `folder` cannot be put aside for a new run, or nothing when it can."""
    shown = visible(str(folder))
    if place := _protected(folder):
        return f"overwrite=True: {shown} is {place}, and is not renamed."
    names = {path.name for path in folder.iterdir()}
    if not names - {PRIVATE_FOLDER} or is_run(folder) or is_evaluation(folder):
        return ""
    return (
        f"overwrite=True renames only what a run or an evaluation wrote, and {shown} is neither; "
        "name another output_dir."
    )


def _holds(folder: Folder, name: str, shape: object) -> bool:
    try:
        return folder.has(name) and bool(folder.read_json(name, shape))
    except FolderError:
        return False


def _protected(folder: Path) -> str:
    """Return what `folder` is when it is too much for a run, or nothing."""
    resolved = folder.expanduser().resolve()
    # Resolved: a link or ".." may lead to the same place by another name.
    here = Path.cwd()
    repository = next((path for path in (here, *here.parents) if (path / ".git").exists()), here)
    for name, path in (
        ("the root of the file system", Path(here.anchor)),
        ("the home folder", Path(os.path.expanduser("~")).resolve()),
        ("the current folder", here),
        ("the repository of the current folder", repository),
    ):
        if resolved == path:
            return name
        if resolved in path.parents:
            return f"above {name}"
    return ""
