"""A run that somebody else packed is resumed, and the clock is set while one trains."""

import json
import logging
import pickle
import time
from pathlib import Path

import pytest
import torch
from transformers import TrainerCallback

from serl_trl.common.files import read_lines
from serl_trl.common.folder import Folder, FolderError
from serl_trl.sandbox import load_model, load_tokenizer, seed_set
from serl_trl.train.checkpoint import MANIFEST, CheckpointError, _print_of, fingerprint
from serl_trl.train.config import SeRLConfig
from serl_trl.train.trainer import SeRLTrainer
from tests.integration.tiny import SAVING


def make(folder: Path, *, steps: int) -> SeRLTrainer:
    config = SeRLConfig(output_dir=str(folder), max_steps=steps, **SAVING)
    return SeRLTrainer(load_model(), config, seed_set(), processing_class=load_tokenizer())


@pytest.fixture
def run(tmp_path) -> Path:
    trainer = make(tmp_path / "run", steps=1)
    trainer.train()
    trainer.ledger.close()
    return tmp_path / "run"


def pack(checkpoint: Path) -> None:
    """Write the manifest anew, as somebody who changed a file would."""
    manifest = json.loads((checkpoint / MANIFEST).read_text())
    del manifest["own_sha256"]
    for name in manifest["files"]:
        manifest["files"][name] = _print_of(Folder(checkpoint), name)
    whole = {**manifest, "own_sha256": fingerprint(manifest)}
    (checkpoint / MANIFEST).write_text(json.dumps(whole))


def test_a_ledger_that_was_shortened_is_said_and_begun_anew(run, caplog):
    ledger = run / "_serl" / "ledger.jsonl"
    short = ledger.read_bytes()[:-30]
    ledger.write_bytes(short)

    with caplog.at_level(logging.WARNING):
        trainer = make(run, steps=2)
        trainer.train("auto")
        trainer.ledger.flush()

    assert "_serl/ledger.jsonl is not what" in caplog.text
    assert (run / "_serl" / "cut" / "after-step-1" / "ledger.jsonl").read_bytes() == short
    assert read_lines(ledger)
    assert all(record["step"] >= 1 for record in read_lines(ledger))


def test_a_state_empties_no_file_outside(run):
    victim = run.parent / "victim.txt"
    victim.write_text("mine")
    state = run / "checkpoint-1" / "serl_state.json"
    content = json.loads(state.read_text())
    state.write_text(json.dumps({**content, "sizes": {"../../victim.txt": 0}}))
    pack(run / "checkpoint-1")

    with pytest.raises(CheckpointError, match="which a run does not write"):
        make(run, steps=2).train("auto")

    assert victim.read_text() == "mine"


def other_state(checkpoint: Path) -> None:
    state = checkpoint / "serl_state.json"
    state.write_text(json.dumps({**json.loads(state.read_text()), "num_epochs": 1}))


def other_process(checkpoint: Path) -> None:
    torch.save({"step": 1, "buffer": None, "loop": "{}"}, checkpoint / "serl_process_0.pt")


@pytest.mark.parametrize(
    ("write", "name"),
    [(other_state, "serl_state.json"), (other_process, "serl_process_0.pt")],
    ids=["shared", "process"],
)
def test_a_checkpoint_of_another_version_is_one_sentence(run, write, name):
    write(run / "checkpoint-1")
    pack(run / "checkpoint-1")

    with pytest.raises(CheckpointError, match=f"its {name} is not what this version .* writes"):
        make(run, steps=2).train("auto")


class Evil:
    def __reduce__(self):
        return exec, ("raise SystemExit('it ran')",)


@pytest.mark.parametrize("name", ["serl_process_0.pt", "optimizer.pt"])
def test_a_foreign_pickle_is_one_sentence_and_not_run(run, name):
    (run / "checkpoint-1" / name).write_bytes(pickle.dumps(Evil()))
    pack(run / "checkpoint-1")

    with pytest.raises(CheckpointError, match="a SeRLTrainer did not write one of its files, and"):
        make(run, steps=2).train("auto")


@pytest.mark.parametrize("name", ["lock", "config.yaml", "run.json", "ledger.jsonl"])
def test_training_writes_through_no_link(run, name):
    victim = run.parent / "victim"
    victim.write_text("mine")
    (run / "_serl" / name).unlink()
    (run / "_serl" / name).symlink_to(victim)

    with pytest.raises(FolderError, match=f"links where a run writes files .*{name}"):
        make(run, steps=2)

    assert victim.read_text() == "mine"


def test_the_clock_may_go_backwards(tmp_path, monkeypatch):
    class SetBack(TrainerCallback):
        def on_step_end(self, args, state, control, **_):
            real = time.time
            monkeypatch.setattr(time, "time", lambda: real() - 3600)

    trainer = make(tmp_path / "run", steps=1)
    trainer.add_callback(SetBack())
    trainer.train()

    assert 0 < trainer.state.log_history[-1]["train_runtime"] < 600
