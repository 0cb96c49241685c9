"""Looking at proposals: nothing of the run changes, and what happens is said."""

import json
import random
from pathlib import Path

import numpy as np
import torch

from serl_trl import sandbox
from serl_trl.cli.entry import main
from serl_trl.common.completion import Completion
from serl_trl.train.config import SeRLConfig
from serl_trl.train.state import private_randomness
from serl_trl.train.trainer import SeRLTrainer
from tests.integration.tiny import OPTIONS

PLAY = {"sources": ["few_shot"], "proposer_max_tokens": 128, "max_refill_rounds": 2}


def make(folder: Path, **options) -> SeRLTrainer:
    config = SeRLConfig(output_dir=str(folder), **{**OPTIONS, **PLAY, **options})
    return SeRLTrainer(str(sandbox.MODEL_PATH), config, sandbox.seed_set())


def state_of(trainer: SeRLTrainer) -> str:
    ledger = Path(trainer.args.output_dir, "_serl", "ledger.jsonl")
    trainer.ledger.flush()
    numpy_state = [str(part) for part in np.random.get_state()]
    drawn = [str(random.getstate()), numpy_state, torch.get_rng_state().tolist()]
    written = ledger.read_text() if ledger.exists() else ""
    return json.dumps([trainer.selfplay.state_dict(), drawn, written, trainer.model.training])


def test_proposing_changes_nothing_in_the_run(tmp_path):
    trainer = make(tmp_path)
    before = state_of(trainer)
    first = trainer.propose(4)
    assert first and state_of(trainer) == before
    assert trainer.propose(4) == first
    trainer.train()
    before = state_of(trainer)
    assert trainer.propose(4)
    assert state_of(trainer) == before


def test_a_private_seed_decides_what_every_generator_draws():
    def draw() -> list[float]:
        return [random.random(), float(np.random.random()), torch.rand(()).item()]

    with private_randomness(3):
        first = draw()
    own = draw()
    with private_randomness(3):
        assert draw() == first
    assert all(a != b for a, b in zip(own, draw(), strict=True))
    # Larger than the seeds that NumPy takes.
    with private_randomness(2**40):
        assert draw() != first


def test_each_round_is_told_with_the_reason_for_nothing(tmp_path, monkeypatch):
    trainer, told = make(tmp_path), []
    said = [Completion("Sure.\n***", [5, 6], False, None)]
    monkeypatch.setattr(trainer.policy, "propose", lambda requests, sampling: said * len(requests))
    assert trainer.propose(4, tell=told.append) == []
    assert len(told) == 4 and told[0].startswith("round 1 of at most 2")
    assert "nothing was read" in told[1] and "Sure. / ***" in told[1]

    seed = sandbox.seed_set()[0]
    known = [Completion(f" {seed}\n", [5, 6], False, None)]
    monkeypatch.setattr(trainer.policy, "propose", lambda requests, sampling: known * len(requests))
    told.clear()
    trainer.propose(1, tell=told.append)
    assert "0 kept; refused: " in told[1]


def test_the_command_loads_no_reference_and_shows_progress(capsys, monkeypatch):
    made = []
    init = SeRLTrainer.__init__

    def note(self, *args, **kwargs):
        init(self, *args, **kwargs)
        made.append(self)

    monkeypatch.setattr(SeRLTrainer, "__init__", note)
    config = ["--config", str(sandbox.CONFIG_PATH), "--beta", "0.1"]
    assert main(["propose", *config, "--num", "2"]) == 0
    assert made[0].ref_model is None and made[0].beta == 0
    assert "round 1 of at most" in capsys.readouterr().out
