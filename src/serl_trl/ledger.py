"""What a run writes down about itself: JSON lines in the private part of its folder."""

import json
import math
import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from serl_trl.disk import DiskFullError, describe_full_disk, is_disk_full

PRIVATE_FOLDER = "_serl"
"""Folder inside a run that `push_to_hub` skips, because its name begins with an underscore."""


class JsonLines:
    """An append-only file of JSON lines; `None` as path writes nothing (the other processes).

    What writes raises `DiskFullError` when the disk is full.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._file: TextIO | None = None
        self._start: int | None = None
        self._num_waiting = 0

    def write(self, record: dict[str, Any]) -> None:
        """Append `record`. Numbers that JSON cannot hold (NaN, infinities) are written as null."""
        if self.path is None:
            return
        if self._file is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("a", encoding="utf-8")
            if self._start is None:
                self._start = self.path.stat().st_size
        # Escaped as ASCII: model output may hold lone surrogates, which UTF-8 cannot.
        line = json.dumps(_finite(record), allow_nan=False)
        self._num_waiting += len(line) + 1
        with self._naming_a_full_disk():
            self._file.write(line + "\n")

    def flush(self) -> None:
        """Hand everything written so far to the operating system."""
        if self._file is not None:
            with self._naming_a_full_disk():
                self._file.flush()
            self._num_waiting = 0

    def sync(self) -> int:
        """Wait until everything is on the disk; return how many bytes that is."""
        size = self.size()
        if self._file is not None:
            with self._naming_a_full_disk():
                os.fsync(self._file.fileno())
        return size

    def size(self) -> int:
        """Return how many bytes are written so far."""
        self.flush()
        return self.path.stat().st_size if self.path is not None and self.path.exists() else 0

    def cut(self, size: int) -> None:
        """Take back what was written after `size` bytes."""
        if self.size() > size and self.path is not None:
            os.truncate(self.path, size)

    def take_own(self) -> bytes:
        """Take what this object has written out of the file, which then is as it was before."""
        if self.path is None or self._start is None:
            return b""
        self.flush()
        own = self.path.read_bytes()[self._start :]
        os.truncate(self.path, self._start)
        return own

    def put_back(self, own: bytes) -> None:
        """Append what `take_own` returned."""
        if self.path is not None and own:
            self._start = self.size()
            with self.path.open("ab") as file:
                file.write(own)

    @contextmanager
    def _naming_a_full_disk(self) -> Generator[None]:
        try:
            yield
        except OSError as error:
            if self.path is None or not is_disk_full(error):
                raise
            free = shutil.disk_usage(self.path.parent).free
            text = describe_full_disk(self.path, needed=self._num_waiting, free=free)
            raise DiskFullError(f"{text} {self.path.name} could not be written.") from error

    def close(self) -> None:
        """Flush and close; a later write opens the file again."""
        if self._file is not None:
            self._file.close()
            self._file = None


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Read a file of JSON lines; a last line that a crash cut in half is left out."""
    records = []
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
        if line.endswith("\n"):
            records.append(json.loads(line))
    return records


def cut_lines(path: Path, size: int, rest: Path) -> None:
    """Move what `path` holds beyond `size` bytes to the new file `rest`."""
    rest.parent.mkdir(parents=True, exist_ok=True)
    with path.open("rb") as source, rest.open("xb") as target:
        source.seek(size)
        shutil.copyfileobj(source, target)
        target.flush()
        os.fsync(target.fileno())
    os.truncate(path, size)


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
