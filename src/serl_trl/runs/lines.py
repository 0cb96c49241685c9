"""The JSON lines of a file that a run may still be writing."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from serl_trl.common.files import open_lines
from serl_trl.common.records import parse_json

# A bound on what a damaged or hostile file may make a reader hold in memory.
MAX_LINE = 8_000_000


class Lines:
    """Reads the objects of a file of JSON lines; each call of `read` gives those that are new.

    `num_bad` counts the lines that hold none. `is_cut` says that the last line has no end: a crash
    cut it, or it is being written, and the next call reads it again.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.num_bad = 0
        self.is_cut = False
        self._place = 0

    def read(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield each new object with its place in the file."""
        self.is_cut = False
        with open_lines(self.path) as file:
            file.seek(self._place)
            while line := file.readline(MAX_LINE):
                whole = line.endswith(b"\n")
                if not whole and len(line) < MAX_LINE:
                    self.is_cut = True
                    return
                start, self._place = self._place, self._place + len(line)
                record, blank = _object(line) if whole else None, not line.strip()
                # Longer than any record of ours: the rest of it is passed over in pieces, so that
                # it never fills the memory.
                while line and not line.endswith(b"\n"):
                    blank = False
                    line = file.readline(MAX_LINE)
                    self._place += len(line)
                if record is not None:
                    yield start, record
                elif not blank:
                    self.num_bad += 1

    def was_cut(self) -> bool:
        """Return whether the file is shorter than what was read, or no line ends there any more."""
        if not self._place or not self.path.exists():
            return bool(self._place)
        with open_lines(self.path) as file:
            if os.fstat(file.fileno()).st_size < self._place:
                return True
            file.seek(self._place - 1)
            return file.read(1) != b"\n"


def _object(line: bytes) -> dict[str, Any] | None:
    try:
        record = parse_json(line)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None
