"""The self-play state inside a checkpoint folder: one JSON file, written whole or not at all."""

import json
import os
from pathlib import Path
from typing import Any

STATE_FILE = "serl_state.json"


def save_state(folder: Path, state: dict[str, Any]) -> None:
    """Write `state` to `folder` atomically; the folder is made if it does not exist."""
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / STATE_FILE
    unfinished = target.with_suffix(".tmp")
    with unfinished.open("w", encoding="utf-8") as file:
        json.dump(state, file)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(target)


def load_state(folder: Path) -> dict[str, Any]:
    """Read the state that `save_state` wrote.

    Raises `ValueError` when the checkpoint holds none: it was not written by a self-play run.
    """
    path = folder / STATE_FILE
    if not path.is_file():
        raise ValueError(
            f"resume_from_checkpoint={folder} holds no {STATE_FILE}; name a checkpoint that a "
            "SeRLTrainer wrote, or start a fresh run from its weights with model_name_or_path."
        )
    return json.loads(path.read_text(encoding="utf-8"))
