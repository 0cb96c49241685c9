"""What a run writes down about itself: JSON lines in the private part of its folder."""

import json
import os
import shutil
from collections.abc import Mapping
from contextlib import AbstractContextManager
from io import BufferedReader, BufferedWriter
from pathlib import Path
from typing import Any

from serl_trl.common.disk import naming_a_full_disk
from serl_trl.common.folder import Folder, FolderError

# Folder inside a run that `push_to_hub` skips, because its name begins with an underscore.
PRIVATE_FOLDER = "_serl"
# The files of JSON lines in it whose sizes a checkpoint knows. A resumed run cuts them back to that
# size, so that no step stands in them twice.
WRITTEN = ("ledger.jsonl", "metrics.jsonl")


class JsonLines:
    """An append-only file of JSON lines; `None` as path writes nothing (the other processes).

    What writes raises `DiskFullError` when the disk is full.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._file: BufferedWriter | None = None
        self._start: int | None = None
        self._num_waiting = 0

    def write(self, record: dict[str, Any]) -> None:
        """Append `record`. Numbers that JSON cannot hold (NaN, infinities) are written as null."""
        if self.path is None:
            return
        if self._file is None:
            folder, name = _place(self.path)
            self._file = folder.append(name)
            if self._start is None:
                # From here on the lines are those of this object; see `take_own`.
                self._start = self.path.stat().st_size
        try:
            text = json.dumps(record, allow_nan=False)
        except ValueError:
            text = json.dumps(finite(record))
        # Escaped as ASCII: model output may hold lone surrogates, which UTF-8 cannot.
        line = text.encode("ascii") + b"\n"
        self._num_waiting += len(line)
        with self._naming_a_full_disk():
            self._file.write(line)

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
            _truncate(self.path, size)

    def take_own(self) -> bytes:
        """Take what this object has written out of the file, which then is as it was before."""
        if self.path is None or self._start is None:
            return b""
        self.flush()
        with open_lines(self.path) as file:
            file.seek(self._start)
            own = file.read()
        _truncate(self.path, self._start)
        return own

    def put_back(self, own: bytes) -> None:
        """Append what `take_own` returned."""
        if self.path is not None and own:
            # The file was cut meanwhile, so that these lines begin elsewhere now.
            self._start = self.size()
            folder, name = _place(self.path)
            with folder.append(name) as file:
                file.write(own)

    def _naming_a_full_disk(self) -> AbstractContextManager[None]:
        assert self.path is not None, "without a path nothing is written"
        return naming_a_full_disk(self.path, needed=self._num_waiting)

    def close(self) -> None:
        """Flush and close; a later write opens the file again."""
        if self._file is not None:
            self._file.close()
            self._file = None


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Read a file of JSON lines; a last line that a crash cut in half is left out."""
    with open_lines(path) as file:
        return [json.loads(line) for line in file if line.endswith(b"\n")]


def cut_lines(path: Path, size: int, rest: Path) -> None:
    """Move what `path` holds beyond `size` bytes to the new file `rest`, whose folder exists."""
    with open_lines(path) as source, rest.open("xb") as target:
        source.seek(size)
        shutil.copyfileobj(source, target)
        target.flush()
        # Before the original is cut: whenever the machine stops, one of them holds the lines.
        os.fsync(target.fileno())
    _truncate(path, size)


def find_misfits(run: Path, sizes: Mapping[str, int]) -> list[str]:
    """Return which of `WRITTEN` do not hold whole lines up to their size in `sizes`.

    They were shortened or changed since those sizes were noted. Raises `FolderError` when `sizes`
    is about any other file.
    """
    # The sizes may come from a stranger's checkpoint: another name would have us cut another file.
    if unknown := [name for name in sizes if name not in WRITTEN]:
        raise FolderError(f"sizes names {unknown[0][:200]!r}, which a run does not write.")
    return [name for name, size in sizes.items() if size and not _ends_line(run, name, size)]


def _ends_line(run: Path, name: str, size: int) -> bool:
    """Return whether a line ends after `size` bytes."""
    folder, place = Folder(run), f"{PRIVATE_FOLDER}/{name}"
    if not folder.has(place):
        return False
    with folder.open(place) as file:
        file.seek(size - 1)
        return file.read(1) == b"\n"


def open_lines(path: Path) -> BufferedReader:
    """Open a file of JSON lines for reading, by the rules of `Folder`."""
    folder, name = _place(path)
    return folder.open(name)


def _place(path: Path) -> tuple[Folder, str]:
    """Return the folder of a run or an evaluation that `path` lies in, and its name in there."""
    if path.parent.name == PRIVATE_FOLDER:
        return Folder(path.parent.parent), f"{PRIVATE_FOLDER}/{path.name}"
    return Folder(path.parent), path.name


def _truncate(path: Path, size: int) -> None:
    folder, name = _place(path)
    handle = folder.handle(name, os.O_WRONLY)
    try:
        os.ftruncate(handle, size)
    finally:
        os.close(handle)


def finite(value: Any) -> Any:
    """Return a JSON value with null for NaN and the infinities, which are not numbers in JSON."""
    # The writer puts NaN and Infinity down as bare words, of which the reader makes null.
    return json.loads(json.dumps(value), parse_constant=lambda _: None)
