"""What a run writes down about itself: JSON lines in the private part of its folder."""

import json
import math
from pathlib import Path
from typing import Any, TextIO

PRIVATE_FOLDER = "_serl"
"""Folder inside a run that `push_to_hub` skips, because its name begins with an underscore."""


class JsonLines:
    """An append-only file of JSON lines; `None` as path writes nothing (the other processes)."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._file: TextIO | None = None

    def write(self, record: dict[str, Any]) -> None:
        """Append `record`. Numbers that JSON cannot hold (NaN, infinities) are written as null."""
        if self.path is None:
            return
        if self._file is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("a", encoding="utf-8")
        # Escaped as ASCII: model output may hold lone surrogates, which UTF-8 cannot.
        line = json.dumps(_finite(record), allow_nan=False)
        self._file.write(line + "\n")

    def flush(self) -> None:
        """Hand everything written so far to the operating system."""
        if self._file is not None:
            self._file.flush()

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


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
