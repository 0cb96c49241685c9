"""A full disk: how it is recognised, and what is said about it."""

import errno
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path


class DiskFullError(OSError):
    """Something that a run writes found no room on the disk; the message begins "disk full"."""


def is_disk_full(error: BaseException) -> bool:
    """Return whether `error` comes from a full disk, which torch and safetensors wrap in others."""
    full = (errno.ENOSPC, errno.EDQUOT)
    text = str(error)
    return (
        isinstance(error, DiskFullError)
        or (isinstance(error, OSError) and error.errno in full)
        # Rust and C++ writers raise errors of their own, which keep no number of the system's.
        or "No space left on device" in text
        or "PytorchStreamWriter failed" in text
        or ("inline_container" in text and "unexpected pos" in text)
    )


@contextmanager
def naming_a_full_disk(path: Path, *, needed: int) -> Generator[None]:
    """Raise a `DiskFullError` that names `path` where what is done inside finds the disk full."""
    try:
        yield
    except OSError as error:
        if isinstance(error, DiskFullError) or not is_disk_full(error):
            raise
        free = shutil.disk_usage(path.parent).free
        text = describe_full_disk(path, needed=needed, free=free)
        raise DiskFullError(f"{text} {path.name} could not be written.") from error


def describe_full_disk(path: Path, *, needed: int, free: int) -> str:
    """Return "disk full: need X, have Y" with the folder that `path` lies in."""
    return (
        f"disk full: need {_size(needed)}, have {_size(free)} in {path.parent}; free some space, "
        "or lower save_total_limit."
    )


def _size(num_bytes: float) -> str:
    for unit in ("bytes", "kB", "MB"):
        if num_bytes < 1000:
            return f"{num_bytes:.3g} {unit}"
        num_bytes /= 1000
    return f"{num_bytes:,.1f} GB"
