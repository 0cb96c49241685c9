"""Checkpoints on the disk: whole or not there, chosen, refused, rotated, cut back."""

import errno
import fcntl
import json
import logging
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serl_trl.common.disk import DiskFullError, is_disk_full
from serl_trl.common.files import JsonLines, find_misfits, read_lines
from serl_trl.common.folder import FolderError
from serl_trl.train import checkpoint
from serl_trl.train.checkpoint import (
    MANIFEST,
    STATE_FILE,
    CheckpointError,
    Facts,
    choose,
    cut_back,
    find_changes,
    find_damage,
    hold,
    list_checkpoints,
    publish,
    put_damaged_aside,
    rotate,
    save_state,
    saving_folder,
)

FACTS = Facts({"beta": 0.1}, {"seed_set": "s", "evaluation_sets": "e"}, 1, {"torch": "2"})
FILES = ("model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json")


class Crash(BaseException):
    """Ends a save as a kill does: nothing in its way catches it."""


def write(run: Path, step: int, *, model_only: bool = False) -> Path:
    """Write a whole checkpoint of small files."""
    target = run / f"checkpoint-{step}"
    folder = saving_folder(run) / target.name
    checkpoint.make_room(folder, needed=0)
    if not model_only:
        save_state(folder, {"step": step})
    for name in FILES:
        (folder / name).write_bytes(f"{name} of step {step}".encode() * 50)
    publish(folder, target, step=step, facts=FACTS)
    return target


def names(run: Path) -> list[str]:
    return [path.name for path in list_checkpoints(run)]


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def halve(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


# Keeping other runs out.


HOLD = """\
import pathlib, sys, time
from serl_trl.train.checkpoint import hold
kept = hold(pathlib.Path(sys.argv[1]))
print("held", flush=True)
time.sleep(60)
"""


@contextmanager
def another_process_holding(run: Path) -> Iterator[subprocess.Popen]:
    command = [sys.executable, "-c", HOLD, str(run)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


def test_a_run_is_kept_from_other_processes_until_its_own_is_killed(tmp_path):
    with another_process_holding(tmp_path) as process:
        for _ in range(2):
            with pytest.raises(CheckpointError) as caught:
                hold(tmp_path)
            assert f"output_dir={tmp_path} is in use: process {process.pid} on" in str(caught.value)
            assert "name another output_dir" in str(caught.value)
    assert hold(tmp_path)


def test_trainers_of_one_process_share_a_run(tmp_path):
    first = hold(tmp_path)
    assert hold(tmp_path) is first
    del first
    with another_process_holding(tmp_path):
        pass


def test_a_run_that_was_moved_is_another_one(tmp_path):
    first = hold(tmp_path / "run")
    (tmp_path / "run").rename(tmp_path / "run-1")
    second = hold(tmp_path / "run")
    assert second is not first
    del first
    gone = subprocess.run(
        [sys.executable, "-c", HOLD, str(tmp_path / "run")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "is in use" in gone.stderr


def test_a_file_system_without_locks_is_warned_of(tmp_path, monkeypatch, caplog):
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOTSUP, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with caplog.at_level(logging.WARNING):
        assert hold(tmp_path)
    assert "cannot be locked" in caplog.text


# Damage.


def test_a_published_checkpoint_is_whole(tmp_path):
    assert find_damage(write(tmp_path, 1)) == ""
    assert checkpoint.load_state(tmp_path / "checkpoint-1") == {"step": 1}


@pytest.mark.parametrize("name", [*FILES, STATE_FILE, MANIFEST])
@pytest.mark.parametrize("damage", [Path.unlink, halve, flip])
def test_every_damage_to_every_file_is_seen_and_the_older_one_taken(tmp_path, name, damage):
    write(tmp_path, 1)
    newest = write(tmp_path, 2)
    damage(newest / name)
    choice = choose(tmp_path, "auto")
    assert choice.folder == tmp_path / "checkpoint-1"
    assert name in choice.damaged[newest]


def test_empty_folders_and_other_trainers_checkpoints_are_passed_over(tmp_path):
    write(tmp_path, 1)
    (tmp_path / "checkpoint-7").mkdir()
    (tmp_path / "checkpoint-8").mkdir()
    (tmp_path / "checkpoint-8" / "model.safetensors").touch()
    (tmp_path / "checkpoint-x").mkdir()
    (tmp_path / "checkpoint-9").touch()
    choice = choose(tmp_path, True)
    assert choice.folder == tmp_path / "checkpoint-1"
    assert {path.name for path in choice.damaged} == {"checkpoint-7", "checkpoint-8"}


def test_a_copy_under_another_step_is_not_taken_for_the_newest(tmp_path):
    newest = write(tmp_path, 2)
    copy = Path(shutil.copytree(newest, tmp_path / "checkpoint-9"))
    choice = choose(tmp_path, "auto")
    assert choice.folder == newest
    assert choice.damaged == {copy: "it holds step 2, which its name does not say"}
    assert find_damage(Path(shutil.copytree(newest, tmp_path / "the-best"))) == ""


def test_big_files_are_compared_by_size_and_ends(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "_WHOLE_BYTES", 500)
    monkeypatch.setattr(checkpoint, "_END_BYTES", 100)
    newest = write(tmp_path, 1)
    model = newest / "model.safetensors"
    assert find_damage(newest) == ""
    data = model.read_bytes()
    for position in (50, -50):
        broken = bytearray(data)
        broken[position] ^= 1
        model.write_bytes(broken)
        assert "were changed" in find_damage(newest)
    model.write_bytes(data[:-1])
    assert "bytes instead of" in find_damage(newest)


def test_damaged_checkpoints_are_moved_and_never_deleted(tmp_path):
    for _ in range(2):
        path = write(tmp_path, 3)
        halve(path / "optimizer.pt")
        put_damaged_aside(tmp_path, choose(tmp_path, "auto").damaged)
    kept = sorted(path.name for path in (tmp_path / "_serl" / "damaged").iterdir())
    assert kept == ["checkpoint-3", "checkpoint-3-2"]
    assert (tmp_path / "_serl" / "damaged" / "checkpoint-3" / "model.safetensors").is_file()


# Choosing.


def test_auto_starts_afresh_where_there_is_nothing_and_true_says_so(tmp_path):
    assert choose(tmp_path, "auto").folder is None
    assert choose(tmp_path, None).folder is choose(tmp_path, False).folder is None
    with pytest.raises(CheckpointError, match="holds no whole checkpoint; auto starts afresh"):
        choose(tmp_path, True)


def test_the_newest_is_that_of_the_highest_step(tmp_path):
    for step in (9, 100, 10):
        write(tmp_path, step)
    assert names(tmp_path) == ["checkpoint-9", "checkpoint-10", "checkpoint-100"]
    assert choose(tmp_path, "auto").folder == tmp_path / "checkpoint-100"


def test_a_named_folder_is_refused_with_the_reason_and_the_others(tmp_path):
    write(tmp_path, 1)
    broken = write(tmp_path, 2)
    (broken / "scheduler.pt").unlink()
    with pytest.raises(CheckpointError) as caught:
        choose(tmp_path, str(broken))
    assert "scheduler.pt is missing" in str(caught.value)
    assert str(caught.value).endswith("checkpoint-1.")
    assert choose(tmp_path, str(tmp_path / "checkpoint-1")).folder == tmp_path / "checkpoint-1"


def test_a_checkpoint_of_the_model_only_is_whole_but_not_resumed_from(tmp_path):
    write(tmp_path, 1)
    write(tmp_path, 2, model_only=True)
    choice = choose(tmp_path, "auto")
    assert choice.folder == tmp_path / "checkpoint-1"
    assert not choice.damaged
    with pytest.raises(CheckpointError, match="save_only_model"):
        choose(tmp_path, str(tmp_path / "checkpoint-2"))


def test_changes_are_listed_and_unknown_options_are_none(tmp_path):
    path = write(tmp_path, 1)
    assert find_changes(path, FACTS) == []
    other = Facts({"beta": 0.2, "new_option": 1}, {"seed_set": "t", "evaluation_sets": "e"}, 2)
    assert find_changes(path, other) == [
        "beta: 0.1 in the checkpoint, 0.2 now",
        "seed_set: not the one of the checkpoint",
        "number of processes: 1 in the checkpoint, 2 now",
    ]
    later = Facts(FACTS.config, FACTS.sets, 1, {"torch": "3"})
    assert find_changes(path, later) == []
    assert checkpoint.find_other_versions(path, later) == ["torch 2 -> 3"]


# Saving.


@pytest.mark.parametrize("point", ["room", "synced", "manifest", "renamed", "rotated"])
def test_a_crash_at_any_point_leaves_whole_checkpoints_only(tmp_path, monkeypatch, point):
    def crash(passed: str) -> None:
        if passed == point:
            raise Crash

    write(tmp_path, 1)
    monkeypatch.setattr(checkpoint, "reached", crash)
    try:
        write(tmp_path, 2)
        rotate(tmp_path, keep=1)
    except Crash:
        pass
    monkeypatch.undo()
    left = list_checkpoints(tmp_path)
    assert left
    assert not any(find_damage(path) for path in left)
    saved = names(tmp_path)[-1] == "checkpoint-2"
    assert saved == (point in ("renamed", "rotated"))
    write(tmp_path, 3)
    assert [path.name for path in saving_folder(tmp_path).iterdir()] == []


def test_rotation_keeps_the_newest_and_the_protected(tmp_path):
    for step in range(1, 6):
        write(tmp_path, step)
    rotate(tmp_path, keep=None)
    assert len(names(tmp_path)) == 5
    rotate(tmp_path, keep=2, protected={tmp_path / "checkpoint-1"})
    assert names(tmp_path) == ["checkpoint-1", "checkpoint-5"]
    rotate(tmp_path, keep=1, protected={tmp_path / "checkpoint-1"})
    assert names(tmp_path) == ["checkpoint-1", "checkpoint-5"]
    rotate(tmp_path, keep=0)
    assert names(tmp_path) == ["checkpoint-5"]


def test_a_crash_while_an_old_checkpoint_is_removed_leaves_no_half_of_it(tmp_path, monkeypatch):
    def crash(folder: Path, **_: object) -> None:
        (folder / "optimizer.pt").unlink()
        raise Crash

    for step in (1, 2):
        write(tmp_path, step)
    monkeypatch.setattr(shutil, "rmtree", crash)
    with pytest.raises(Crash):
        rotate(tmp_path, keep=1)
    assert not [find_damage(path) for path in list_checkpoints(tmp_path) if find_damage(path)]


def test_too_little_room_is_said_in_words(tmp_path):
    folder = saving_folder(tmp_path) / "checkpoint-1"
    with pytest.raises(DiskFullError, match=r"disk full: need 1,000,000,000\.0 GB, have .*B in "):
        checkpoint.make_room(folder, needed=10**18)


def test_the_next_checkpoint_is_expected_to_be_as_big_as_the_newest(tmp_path):
    assert checkpoint.expected_bytes(tmp_path, otherwise=7) == 7
    path = write(tmp_path, 1)
    size = sum(file.stat().st_size for file in path.iterdir() if file.name != MANIFEST)
    assert checkpoint.expected_bytes(tmp_path, otherwise=7) == size


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 253824 vs 253712"),
        RuntimeError("PytorchStreamWriter failed writing file data/3: file write failed"),
        Exception("Error while serializing: I/O error: No space left on device (os error 28)"),
    ],
)
def test_a_full_disk_is_known_behind_every_error(error):
    assert is_disk_full(error)


def test_other_errors_are_no_full_disk():
    assert not is_disk_full(PermissionError(errno.EACCES, "Permission denied"))
    assert not is_disk_full(RuntimeError("CUDA out of memory"))


# Cutting back.


def fill(run: Path, steps: int) -> dict[int, int]:
    """Write a ledger of one line a step; return its size after each."""
    lines = JsonLines(run / "_serl" / "ledger.jsonl")
    sizes = {}
    for step in range(1, steps + 1):
        lines.write({"step": step})
        sizes[step] = lines.sync()
    lines.close()
    return sizes


def test_what_came_after_the_checkpoint_is_moved_and_nothing_else(tmp_path):
    sizes = fill(tmp_path, 4)
    for step in (2, 4):
        write(tmp_path, step)
    for number in ("1", "2"):
        (tmp_path / "_serl" / "iterations" / number).mkdir(parents=True)
    cut = cut_back(tmp_path, step=2, num_iterations=1, sizes={"ledger.jsonl": sizes[2]})
    assert cut == tmp_path / "_serl" / "cut" / "after-step-2"
    assert names(tmp_path) == ["checkpoint-2"]
    assert [r["step"] for r in read_lines(tmp_path / "_serl" / "ledger.jsonl")] == [1, 2]
    assert [r["step"] for r in read_lines(cut / "ledger.jsonl")] == [3, 4]
    assert not find_damage(cut / "checkpoint-4")
    assert [path.name for path in (tmp_path / "_serl" / "iterations").iterdir()] == ["1"]
    assert (cut / "iterations" / "2").is_dir()
    assert cut_back(tmp_path, step=2, num_iterations=1, sizes={"ledger.jsonl": sizes[2]}) is None


def test_a_later_cut_gets_a_folder_of_its_own(tmp_path):
    for _ in range(2):
        sizes = fill(tmp_path, 2)
        cut_back(tmp_path, step=1, num_iterations=0, sizes={"ledger.jsonl": sizes[1]})
    cuts = {path.name for path in (tmp_path / "_serl" / "cut").iterdir()}
    assert cuts == {"after-step-1", "after-step-1-2"}


@given(data=st.binary(max_size=200), size=st.integers(0, 200))
def test_cutting_loses_no_byte(tmp_path_factory, data, size):
    run = tmp_path_factory.mktemp("run")
    path = run / "_serl" / "ledger.jsonl"
    path.parent.mkdir()
    path.write_bytes(data)
    cut = cut_back(run, step=0, num_iterations=0, sizes={"ledger.jsonl": size})
    rest = (cut / "ledger.jsonl").read_bytes() if cut else b""
    assert path.read_bytes() + rest == data
    assert len(path.read_bytes()) == min(size, len(data))


def test_a_file_that_is_shorter_than_its_checkpoint_says_is_named(tmp_path):
    sizes = {"ledger.jsonl": fill(tmp_path, 3)[3]}
    ledger = tmp_path / "_serl" / "ledger.jsonl"
    assert find_misfits(tmp_path, sizes) == []
    assert find_misfits(tmp_path, {"metrics.jsonl": 0}) == []
    whole = ledger.read_bytes()
    for damaged in (whole[:-1], b"", whole.replace(b"\n", b" ")):
        ledger.write_bytes(damaged)
        assert find_misfits(tmp_path, sizes) == ["ledger.jsonl"]
    ledger.unlink()
    assert find_misfits(tmp_path, sizes) == ["ledger.jsonl"]


@pytest.mark.parametrize("name", ["../../victim", "/etc/hostname", "lock", "checkpoint-1/x"])
def test_a_state_names_sizes_of_the_two_known_files_only(tmp_path, name):
    with pytest.raises(FolderError, match="which a run does not write"):
        find_misfits(tmp_path, {name: 0})


@pytest.mark.parametrize("name", ["saving", "cut", "damaged", "iterations", "finished.json"])
def test_no_link_in_the_private_folder_leads_a_run_out(tmp_path, name):
    victim = tmp_path / "victim"
    (victim / "checkpoint-1").mkdir(parents=True)
    (victim / "9").mkdir()
    run = tmp_path / "run"
    sizes = fill(run, 2)
    damaged = write(run, 1)
    shutil.rmtree(run / "_serl" / "saving", ignore_errors=True)
    (run / "_serl" / name).symlink_to(victim)

    for work in (
        lambda: cut_back(run, step=1, num_iterations=0, sizes={"ledger.jsonl": sizes[1]}),
        lambda: put_damaged_aside(run, [damaged]),
        lambda: checkpoint.mark_finished(run, {"max_steps": 2}),
        lambda: checkpoint.clear_finished(run),
        lambda: checkpoint.make_room(saving_folder(run) / "checkpoint-7", needed=0),
    ):
        with suppress(FolderError):
            work()

    assert sorted(path.name for path in victim.rglob("*")) == ["9", "checkpoint-1"]


def test_a_manifest_that_names_a_file_outside_is_damaged(tmp_path):
    (tmp_path / "victim").write_text("mine")
    folder = write(tmp_path, 1)
    manifest = json.loads((folder / MANIFEST).read_text())
    del manifest["own_sha256"]
    for name in ("../victim", str(tmp_path / "victim")):
        manifest["files"] = {name: {"size": 4, "sha256": "x"}}
        whole = {**manifest, "own_sha256": checkpoint.fingerprint(manifest)}
        (folder / MANIFEST).write_text(json.dumps(whole))
        assert "leads outside" in find_damage(folder)


# A run that is over.


@pytest.mark.parametrize("content", ["", "[]", "[" * 99_999, "\udcff", '{"a": ', "9" * 5000])
def test_a_damaged_mark_of_the_end_is_one_sentence(tmp_path, content):
    (tmp_path / "_serl").mkdir()
    (tmp_path / "_serl" / "finished.json").write_text(content, errors="surrogateescape")
    with pytest.raises(FolderError, match=r"finished\.json is "):
        checkpoint.is_finished(tmp_path, {"max_steps": 4})


def test_a_run_is_finished_only_at_the_end_it_planned(tmp_path):
    end = {"max_steps": 4, "max_rollouts": 0}
    (tmp_path / "_serl").mkdir()
    assert not checkpoint.is_finished(tmp_path, end)
    checkpoint.mark_finished(tmp_path, end)
    assert checkpoint.is_finished(tmp_path, end)
    assert not checkpoint.is_finished(tmp_path, {**end, "max_steps": 8})
    checkpoint.clear_finished(tmp_path)
    assert not checkpoint.is_finished(tmp_path, end)


@given(st.dictionaries(st.text(), st.integers() | st.text(), max_size=5), st.randoms())
def test_a_fingerprint_does_not_depend_on_the_order_of_keys(values, rnd):
    shuffled = dict(rnd.sample(list(values.items()), len(values)))
    assert checkpoint.fingerprint(shuffled) == checkpoint.fingerprint(values)
    assert checkpoint.fingerprint(json.loads(json.dumps(values))) == checkpoint.fingerprint(values)
