"""Run by `test_guard.py` in each process: a collapsing run, as each process saw it."""

import hashlib
import json
import sys
from dataclasses import asdict
from pathlib import Path

from serl_trl.common.processes import leave_process_group
from serl_trl.measure import sentinel
from serl_trl.train import sentinel as rolling
from tests.integration.test_guard import make


def main(folder: Path) -> None:
    sentinel.MIN_SETTLED, rolling.SIZE = 4, 24
    trainer = make(folder / "run", ddp_backend="gloo")
    trainer.train()
    data = b"".join(p.detach().numpy().tobytes() for p in trainer.model.parameters())
    seen = {
        "ended": asdict(trainer.guard.ended),
        "step": trainer.state.global_step,
        "sentinel": trainer.guard.sentinel.votes.state_dict(),
        "weights": hashlib.sha256(data).hexdigest(),
    }
    rank = trainer.accelerator.process_index
    (folder / f"rank{rank}.json").write_text(json.dumps(seen))
    leave_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
