"""Paths in a config file: those of the working directory first, then those beside the file.

A config and its seeds can then be started from anywhere, and moved together.
"""

from pathlib import Path
from typing import Any

from serl_trl.measure.benchmarks import BENCHMARKS

# Options that name what is read; what a run writes lies in the working directory alone.
PATHS = (
    "model_name_or_path",
    "seed_set",
    "labelled_set",
    "unlabelled_set",
    "probe_set",
    "evaluation_sets",
    "accelerate_config",
)


def found_beside(value: Any, folder: Path) -> Any:
    """Return a path, or a list of paths, each with `folder` before it where it lies only there."""
    if isinstance(value, list):
        return [found_beside(each, folder) for each in value]
    return str(folder / value) if _only_in(value, folder) else value


def is_nowhere(value: Any, folder: Path) -> bool:
    """Return whether a path, or one of a list, lies neither in the working directory nor beside."""
    if isinstance(value, list):
        return any(is_nowhere(each, folder) for each in value)
    return _is_tried(value) and not _exists(Path(value)) and not _exists(folder / value)


def is_here(folder: Path) -> bool:
    """Return whether `folder` is the working directory, where nothing else is to be tried."""
    return folder.absolute() == Path.cwd()


def _only_in(value: Any, folder: Path) -> bool:
    return _is_tried(value) and not _exists(Path(value)) and _exists(folder / value)


def _is_tried(value: Any) -> bool:
    """Return whether `value` may be a relative path; built-in sets and benchmarks are names."""
    if not isinstance(value, str) or not value or value in BENCHMARKS:
        return False
    return not (value.startswith("~") or Path(value).is_absolute())


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):
        # Too long, or with a NUL: named where the value is checked.
        return False
