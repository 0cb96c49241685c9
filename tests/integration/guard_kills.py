"""Run by `test_guard.py`: a run that is killed at each stage of going back, and then resumed.

Each try is a child of this process, which has imported everything and run nothing, and the kernel
ends it: no handler, no `finally` and no buffer of it comes to anything.
"""

import hashlib
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from serl_trl.measure import sentinel
from serl_trl.train import checkpoint
from serl_trl.train import sentinel as rolling
from serl_trl.train.trainer import SeRLTrainer
from tests.integration.test_guard import STOP, make


def die() -> None:
    """End this process as the kernel does when memory is short, or an operator."""
    os.kill(os.getpid(), signal.SIGKILL)


def when_noted(trainer: SeRLTrainer, folder: Path) -> None:
    """Die when the end stands in the ledger, and in no checkpoint."""
    note = trainer.guard._note
    trainer.guard._note = lambda ended: (note(ended), die())  # ty: ignore[invalid-assignment]


def while_saving(trainer: SeRLTrainer, folder: Path) -> None:
    """Die in the middle of the checkpoint that says how the run ended."""

    def reached(point: str) -> None:
        if point == "trainer" and trainer.state.global_step == STOP:
            die()

    checkpoint.reached = reached  # ty: ignore[invalid-assignment]


def while_loading(trainer: SeRLTrainer, folder: Path) -> None:
    """Die when a half of the weights are those of the checkpoint to go back to."""
    load = trainer.model.load_state_dict

    def half(weights: dict[str, Any], *given: Any, **named: Any) -> None:
        load(dict(list(weights.items())[: len(weights) // 2]), strict=False)
        die()

    trainer.model.load_state_dict = half


def while_writing(trainer: SeRLTrainer, folder: Path) -> None:
    """Die when a half of the final model is written."""

    def write(_: Callable[[], None]) -> None:
        (folder / "model.safetensors").write_bytes(b"half")
        die()

    trainer.saving.write_model = write  # ty: ignore[invalid-assignment]


STAGES = (when_noted, while_saving, while_loading, while_writing)


def train(folder: Path, put: Callable[[SeRLTrainer, Path], None] | None) -> None:
    """Train or resume to the end, which `put` may prevent, and write down how it ended."""
    trainer = make(folder)
    if put:
        put(trainer, folder)
    trainer.train(resume_from_checkpoint="auto")
    trainer.save_model(str(folder))
    trainer.ledger.flush()
    data = b"".join(p.detach().numpy().tobytes() for p in trainer.model.parameters())
    seen = {"ended": asdict(trainer.guard.ended), "weights": hashlib.sha256(data).hexdigest()}
    (folder / "seen.json").write_text(json.dumps(seen))


def in_a_child(work: Callable[[], None]) -> int:
    """Return how a child that does `work` ended, as `os.waitstatus_to_exitcode` says it."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            if code:
                traceback.print_exc()
            # A child must not run on into what only its parent should do.
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main(folder: Path) -> None:
    """Kill one run at each stage in turn, then let it end."""
    sentinel.MIN_SETTLED, rolling.SIZE = 4, 24
    for stage in STAGES:
        code = in_a_child(partial(train, folder, stage))
        assert code == -signal.SIGKILL, f"{stage.__name__}: {code}"
    assert in_a_child(partial(train, folder, None)) == 0


if __name__ == "__main__":
    main(Path(sys.argv[1]))
