"""A save that a crash, a full disk or a damaged file interrupts costs no whole checkpoint."""

import errno
import json
import logging
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import TrainerCallback

from serl_trl.common.disk import DiskFullError
from serl_trl.sandbox import load_model, load_tokenizer, seed_set
from serl_trl.train import checkpoint
from serl_trl.train.checkpoint import find_damage, list_checkpoints
from serl_trl.train.config import SeRLConfig
from serl_trl.train.saving import Failure
from serl_trl.train.trainer import SeRLTrainer
from tests.integration.tiny import SAVING

SMALL: dict[str, Any] = {**SAVING, "max_steps": 2, "save_total_limit": 1}
# The parts of a checkpoint that TRL writes, by the methods that write them, in their order.
PARTS = ("save_model", "_save_optimizer_and_scheduler", "_save_scaler", "_save_rng_state")


class Crash(BaseException):
    """Ends a save as a kill does: nothing in its way catches it."""


def make(folder: Path, **options: Any) -> SeRLTrainer:
    config = SeRLConfig(output_dir=str(folder), **{**SMALL, **options})
    return SeRLTrainer(load_model(), config, seed_set(), processing_class=load_tokenizer())


def ending(trainer: SeRLTrainer) -> tuple[bytes, bytes]:
    weights = b"".join(p.detach().numpy().tobytes() for p in trainer.model.parameters())
    return weights, (Path(trainer.args.output_dir) / "_serl" / "ledger.jsonl").read_bytes()


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> tuple[bytes, bytes]:
    trainer = make(tmp_path_factory.mktemp("whole"))
    trainer.train()
    return ending(trainer)


class Faults(TrainerCallback):
    """Puts a fault in place when step 2 begins, so that the checkpoint of step 1 is whole."""

    def __init__(self, put: Any) -> None:
        self.put = put

    def on_step_begin(self, args, state, control, **_):
        if state.global_step == 1:
            self.put()


def crash_in_second_save(trainer: SeRLTrainer, put: Any) -> None:
    trainer.add_callback(Faults(put))
    with pytest.raises(Crash):
        trainer.train()


def resume_and_compare(folder: Path, whole: tuple[bytes, bytes]) -> None:
    left = list_checkpoints(folder)
    assert left
    assert not [find_damage(path) for path in left if find_damage(path)]
    trainer = make(folder)
    trainer.train(resume_from_checkpoint=True)
    assert ending(trainer) == whole
    # A crash between rename and rotation leaves one more than the limit, until the next save.
    assert list_checkpoints(folder)[-1].name == "checkpoint-2"
    assert not any(checkpoint.saving_folder(folder).glob("*"))


@pytest.mark.parametrize("point", checkpoint.POINTS)
def test_a_crash_at_any_point_of_the_save_is_made_good(tmp_path, monkeypatch, whole, point):
    def crash(passed: str) -> None:
        if passed == point:
            raise Crash

    def put() -> None:
        monkeypatch.setattr(checkpoint, "reached", crash)

    crash_in_second_save(make(tmp_path), put)
    monkeypatch.undo()
    resume_and_compare(tmp_path, whole)


@pytest.mark.parametrize("part", PARTS)
def test_a_crash_after_any_part_of_the_trainers_own_is_made_good(tmp_path, whole, part):
    trainer = make(tmp_path)
    write = getattr(trainer, part)

    def crash(*arguments: Any, **options: Any) -> None:
        write(*arguments, **options)
        raise Crash

    crash_in_second_save(trainer, lambda: setattr(trainer, part, crash))
    assert any(checkpoint.saving_folder(tmp_path).iterdir())
    resume_and_compare(tmp_path, whole)


TWO_ITERATIONS = {"instructions_per_iteration": 2, "max_steps": 3}


@pytest.fixture(scope="module")
def two_iterations(tmp_path_factory) -> tuple[tuple[bytes, bytes], bytes]:
    folder = tmp_path_factory.mktemp("iterations")
    trainer = make(folder, **TWO_ITERATIONS)
    trainer.train()
    return ending(trainer), (folder / ITERATION / "model.safetensors").read_bytes()


ITERATION = Path("_serl", "iterations", "1")


@pytest.mark.parametrize("point", ["synced", "manifest", "renamed"])
def test_an_iterations_model_is_whole_or_absent_and_saved_once(
    tmp_path, monkeypatch, two_iterations, point
):
    def crash(name: str) -> None:
        # The first save after step 2 is that of the iteration, before its checkpoint.
        if name == point:
            raise Crash

    trainer = make(tmp_path, **TWO_ITERATIONS)
    crash_in_second_save(trainer, lambda: monkeypatch.setattr(checkpoint, "reached", crash))
    monkeypatch.undo()
    saved = tmp_path / ITERATION
    assert saved.exists() == (point == "renamed")
    assert not saved.exists() or find_damage(saved) == ""
    resumed = make(tmp_path, **TWO_ITERATIONS)
    resumed.train(resume_from_checkpoint=True)
    expected, model = two_iterations
    assert ending(resumed) == expected
    assert (saved / "model.safetensors").read_bytes() == model


class Best(TrainerCallback):
    """Notes the checkpoint of step 1 as the best."""

    def on_save(self, args, state, control, **_):
        state.best_model_checkpoint = str(Path(args.output_dir) / "checkpoint-1")


def test_the_newest_checkpoint_stays_beside_the_best_when_the_run_ends(tmp_path):
    trainer = make(tmp_path, save_total_limit=1, max_steps=3)
    trainer.add_callback(Best())
    trainer.train()
    assert [path.name for path in list_checkpoints(tmp_path)] == ["checkpoint-1", "checkpoint-3"]
    assert trainer.args.save_total_limit == 1


@pytest.mark.parametrize(
    ("problem", "kind"),
    [
        (Failure("disk full: need 2 MB, have 1 MB", disk_full=True), DiskFullError),
        (Failure("OSError: gone", disk_full=False), RuntimeError),
    ],
)
def test_no_process_goes_on_when_another_could_not_write_the_model(tmp_path, problem, kind):
    trainer = make(tmp_path)
    trainer.saving.folder = tmp_path / "saving"
    trainer.saving._gather = lambda items: [*items, problem]
    wrote: list[bool] = []
    with pytest.raises(kind, match=problem.text):
        trainer.saving.write_model(lambda: wrote.append(True))
    assert wrote


# Damage.


@pytest.fixture(scope="module")
def two_checkpoints(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("two")
    make(folder, save_total_limit=2).train()
    return folder


FILES = (
    "model.safetensors",
    "optimizer.pt",
    "scheduler.pt",
    "rng_state.pth",
    "trainer_state.json",
    "serl_state.json",
    "serl_process_0.pt",
    "serl_manifest.json",
)


@pytest.mark.parametrize("name", FILES)
def test_a_checkpoint_without_any_of_its_files_is_moved_aside(
    two_checkpoints, tmp_path, caplog, name
):
    run = Path(shutil.copytree(two_checkpoints, tmp_path / "run"))
    (run / "checkpoint-2" / name).unlink()
    with caplog.at_level(logging.WARNING):
        found = make(run).saving.start("auto")
    assert found == str(run / "checkpoint-1")
    assert (run / "_serl" / "damaged" / "checkpoint-2").is_dir()
    assert f"{name}" in caplog.text


def test_a_run_with_flipped_bytes_goes_on_from_the_older_checkpoint(
    two_checkpoints, tmp_path, whole
):
    run = Path(shutil.copytree(two_checkpoints, tmp_path / "run"))
    model = run / "checkpoint-2" / "model.safetensors"
    data = bytearray(model.read_bytes())
    data[-1000] ^= 255
    model.write_bytes(data)
    trainer = make(run)
    trainer.train(resume_from_checkpoint="auto")
    assert ending(trainer) == whole


def test_without_any_whole_checkpoint_auto_starts_afresh(two_checkpoints, tmp_path, whole):
    run = Path(shutil.copytree(two_checkpoints, tmp_path / "run"))
    for path in list_checkpoints(run):
        (path / "optimizer.pt").write_bytes(b"")
    trainer = make(run)
    trainer.train(resume_from_checkpoint="auto")
    assert ending(trainer) == whole
    assert len(list((run / "_serl" / "damaged").iterdir())) == 2


# The disk.


def fill_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the disk be full when the optimizer is written: half a file, then the error."""
    save = torch.save

    def full(value: Any, path: Any) -> None:
        if Path(path).name == "optimizer.pt":
            Path(path).write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")
        save(value, path)

    monkeypatch.setattr(torch, "save", full)


def test_a_full_disk_stops_the_run_with_its_size_and_removes_the_partial(
    tmp_path, monkeypatch, whole
):
    trainer = make(tmp_path)
    trainer.add_callback(Faults(lambda: fill_disk(monkeypatch)))
    with pytest.raises(DiskFullError, match=r"checkpoint-2 was not saved.*disk full: need .*B, ha"):
        trainer.train()
    monkeypatch.undo()
    assert [path.name for path in list_checkpoints(tmp_path)] == ["checkpoint-1"]
    assert not checkpoint.saving_folder(tmp_path).exists()
    resume_and_compare(tmp_path, whole)


def test_a_run_may_go_on_without_the_checkpoint(tmp_path, monkeypatch, caplog, whole):
    trainer = make(tmp_path, on_full_disk="continue")
    trainer.add_callback(Faults(lambda: fill_disk(monkeypatch)))
    trainer.train()
    assert ending(trainer) == whole
    assert [path.name for path in list_checkpoints(tmp_path)] == ["checkpoint-1"]
    assert caplog.text.count("The run continues") == 1


def test_space_is_checked_before_anything_is_written(tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    trainer = make(tmp_path)
    wrote: list[str] = []

    def put() -> None:
        monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1_000_000))
        monkeypatch.setattr(torch, "save", lambda value, path: wrote.append(str(path)))

    trainer.add_callback(Faults(put))
    with pytest.raises(DiskFullError, match=r"need 13\.\d MB, have 1 MB"):
        trainer.train()
    assert not wrote


def test_any_other_failure_is_raised_as_it_is(tmp_path, monkeypatch):
    def refuse(value: Any, path: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    trainer = make(tmp_path, on_full_disk="continue")
    trainer.add_callback(Faults(lambda: monkeypatch.setattr(torch, "save", refuse)))
    with pytest.raises(PermissionError):
        trainer.train()
    assert [path.name for path in list_checkpoints(tmp_path)] == ["checkpoint-1"]


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    """A real file system that holds one checkpoint and not two."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", str(folder)]
    allowed = hasattr(os, "geteuid") and os.geteuid() == 0
    if not allowed or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root can mount a file system")
    yield folder
    # Lazily, because the trainer has its ledger open.
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_disk_that_is_really_full_costs_no_whole_checkpoint(small_disk, monkeypatch):
    # The check beforehand is switched off: the disk fills while the files are written.
    monkeypatch.setattr(checkpoint, "_MARGIN", 0)
    trainer = make(small_disk / "run")
    with pytest.raises(DiskFullError, match="disk full: need"):
        trainer.train()
    assert trainer.state.global_step == 2
    left = list_checkpoints(small_disk / "run")
    assert [(path.name, find_damage(path)) for path in left] == [("checkpoint-1", "")]


def test_only_the_model_can_be_saved(tmp_path):
    make(tmp_path, save_only_model=True, max_steps=1).train()
    (saved,) = list_checkpoints(tmp_path)
    files = json.loads((saved / "serl_manifest.json").read_text())["files"]
    assert "model.safetensors" in files
    assert not {"optimizer.pt", "serl_state.json", "serl_process_0.pt"} & set(files)
    assert make(tmp_path, max_steps=1).saving.start("auto") is None
