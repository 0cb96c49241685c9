"""Checkpoints that are whole or not there: written aside, listed in a manifest, then renamed.

A run's folder holds `checkpoint-N`, and under `_serl` the folders `saving` (what is being written;
cleared at the next save or start), `damaged` (checkpoints that no longer fit their manifest) and
`cut` (what a resumed run had written after the checkpoint it was resumed from).
"""

import contextlib
import fcntl
import hashlib
import json
import logging
import os
import re
import shutil
import socket
import weakref
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from serl_trl.common.disk import DiskFullError, describe_full_disk
from serl_trl.common.files import PRIVATE_FOLDER, cut_lines
from serl_trl.common.folder import Folder, FolderError, sync
from serl_trl.common.records import ANY, optional
from serl_trl.common.text import one_line, shortened
from serl_trl.runs.life import FINISHED, LOCK
from serl_trl.runs.output_folder import output_problem

logger = logging.getLogger(__name__)

STATE_FILE = "serl_state.json"
MANIFEST = "serl_manifest.json"

# What `choose` takes beside a folder: the newest, which must exist or need not.
NEWEST, NEWEST_OR_NONE = True, "auto"

# The points of the save path, in their order; `reached` is called at each of them, and a test puts
# a crash there.
POINTS = ("room", "state", "processes", "trainer", "synced", "manifest", "renamed", "rotated")

_FINISHED = f"{PRIVATE_FOLDER}/{FINISHED}"
_SAVING = f"{PRIVATE_FOLDER}/saving"
_MANIFEST_SHAPE = {
    "step": int,
    "config": dict,
    "sets": dict,
    "num_processes": int,
    "versions": dict,
    "files": {ANY: {"size": int, "sha256": str}},
    "own_sha256": optional(str),
}
_STATE_SHAPE = {"sizes": optional({ANY: int}), "iteration": optional(int)}
# Bytes. A state holds the instructions of the pool; a manifest one line for each file.
_MAX_STATE = 2**30
# Of a file of so many bytes only the ends are hashed, so that checking costs little beside writing.
_WHOLE_BYTES = 64 * 2**20
_END_BYTES = 2**20
# A checkpoint may be a little larger than the last one: the pool grows.
_MARGIN = 1.1


class CheckpointError(FolderError):
    """Why a run cannot be resumed from a checkpoint, and what to do instead."""


@dataclass(frozen=True)
class Facts:
    """What a run must share with the checkpoint it is resumed from.

    `config` holds the options that decide what is trained, `sets` a hash of each set that is read,
    `versions` those of the libraries, a difference in which is only worth a warning.
    """

    config: dict[str, Any]
    sets: dict[str, str]
    num_processes: int
    versions: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Manifest(Facts):
    """What a checkpoint is: its step, its facts, and size and hash of each of its files."""

    step: int
    files: dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Choice:
    """The checkpoint to resume (`None`: start afresh), and why newer ones were passed over."""

    folder: Path | None = None
    damaged: dict[Path, str] = field(default_factory=dict)


def reached(point: str) -> None:
    """Do nothing, at each of `POINTS`."""


# Keeping other runs out.


class Hold:
    """Keeps other processes from training in the folder of a run, for as long as it lives.

    The kernel lets go when the process ends, however it does. Made by `hold`.
    """

    def __init__(self, handle: int) -> None:
        self._handle = handle
        weakref.finalize(self, os.close, handle)

    def is_of(self, path: Path) -> bool:
        """Return whether `path` still is the file that was locked, and no later one."""
        return path.exists() and os.path.samestat(os.fstat(self._handle), path.stat())


# A hold ends when the last trainer of this process that shares it is gone.
_holds: weakref.WeakValueDictionary[Path, Hold] = weakref.WeakValueDictionary()


def hold(run: Path) -> Hold:
    """Lock the folder of a run, which is made if it does not exist, for this process.

    Trainers of one process share their hold of a folder. Where the file system knows no locks, a
    warning is logged instead. Raises `CheckpointError` when another process has it locked.
    """
    if problem := output_problem(run):
        raise CheckpointError(problem)
    folder = Folder(run.resolve())
    path = folder.make(PRIVATE_FOLDER) / LOCK
    # The kernel would refuse a second lock of this process like another one's.
    held = _holds.get(path)
    if held is not None and held.is_of(path):
        return held
    handle = folder.handle(f"{PRIVATE_FOLDER}/{LOCK}", os.O_RDWR | os.O_CREAT)
    held = _holds[path] = Hold(handle)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        del _holds[path]
        holder = os.read(handle, 200).decode(errors="replace") or "another process"
        raise CheckpointError(
            f"output_dir={run} is in use: {holder} trains in it, and two runs in one folder would "
            "destroy each other. Wait for that process or end it, or name another output_dir."
        ) from error
    except OSError as error:
        logger.warning(
            "%s cannot be locked (%s); make sure that no other run uses the folder.", run, error
        )
    with contextlib.suppress(OSError):
        # Only for the message above, so that a full disk is named by what needs the room.
        os.ftruncate(handle, 0)
        os.write(handle, f"process {os.getpid()} on {socket.gethostname()}".encode())
    return held


# Writing.


def save_state(folder: Path, state: dict[str, Any]) -> None:
    """Write the self-play state to `folder`, which is made if it does not exist."""
    folder.mkdir(parents=True, exist_ok=True)
    Folder(folder).write(STATE_FILE, json.dumps(state))


def make_room(folder: Path, *, needed: int) -> None:
    """Empty the folder of unfinished saves, make `folder` in it, and check that `needed` bytes fit.

    Raises `DiskFullError` when less than that and a tenth more is free.
    """
    # From RUN/_serl/saving/checkpoint-N.
    run = folder.parents[2]
    clear_saving(run)
    Folder(run).make(f"{_SAVING}/{folder.name}")
    free = shutil.disk_usage(folder).free
    if free < needed * _MARGIN:
        raise DiskFullError(describe_full_disk(folder, needed=needed, free=free))
    reached("room")


def publish(folder: Path, target: Path, *, step: int, facts: Facts) -> None:
    """Turn the written `folder` into the whole `target`: sync, list, then rename.

    The manifest is the last file that is written. A power failure at any moment leaves `target`
    whole or not there.
    """
    written = Folder(folder)
    # Before the manifest: one that reached the disk before its files would vouch for holes.
    for path in sorted(folder.rglob("*")):
        sync(path)
    reached("synced")
    names = sorted(name for name in written.files(shared=True) if name != MANIFEST)
    files = {name: _print_of(written, name) for name in names}
    manifest = asdict(Manifest(step=step, files=files, **vars(facts)))
    whole = {**manifest, "own_sha256": fingerprint(manifest)}
    written.write(MANIFEST, json.dumps(whole, indent=1))
    reached("manifest")
    target.parent.mkdir(parents=True, exist_ok=True)
    folder.rename(target)
    # Else the new name may be lost with the power, and rotation has removed the checkpoint before.
    sync(target.parent)
    reached("renamed")


def rotate(run: Path, *, keep: int | None, protected: Collection[Path] = ()) -> None:
    """Remove the oldest checkpoints of `run` beyond `keep`; never the newest nor a protected one.

    Each is renamed first, so that what a crash leaves of it is not taken for a checkpoint.
    """
    checkpoints = list_checkpoints(run)
    spare = [path for path in checkpoints[:-1] if path not in protected]
    # The newest always stays: with a limit of 0 a run would have nothing to resume.
    excess = 0 if keep is None else max(0, len(checkpoints) - max(keep, 1))
    for path in spare[:excess]:
        doomed = Folder(run).make(_SAVING) / f"old-{path.name}"
        path.rename(doomed)
        shutil.rmtree(doomed, ignore_errors=True)
    reached("rotated")


def expected_bytes(run: Path, *, otherwise: int) -> int:
    """Return what the next checkpoint will take: as much as the newest one, else `otherwise`."""
    try:
        files = read_manifest(list_checkpoints(run)[-1]).files
    except (IndexError, CheckpointError):
        return otherwise
    return sum(each["size"] for each in files.values())


# Reading.


def load_state(folder: Path) -> dict[str, Any]:
    """Read what `save_state` wrote."""
    return Folder(folder).read_json(STATE_FILE, _STATE_SHAPE, max_bytes=_MAX_STATE, shared=True)


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of a checkpoint; raise `CheckpointError` where that cannot be done."""
    files, saved = Folder(folder), None
    try:
        if files.has(MANIFEST, shared=True):
            saved = files.read_json(MANIFEST, _MANIFEST_SHAPE, max_bytes=_MAX_STATE, shared=True)
    except FolderError as error:
        raise CheckpointError(f"its {MANIFEST} cannot be read ({one_line(error)})") from error
    if saved is None:
        raise CheckpointError(f"it holds no {MANIFEST}, so it was not saved to its end")
    if saved.pop("own_sha256", None) != fingerprint(saved):
        raise CheckpointError(f"the bytes of its {MANIFEST} were changed")
    return Manifest(**{each.name: saved[each.name] for each in fields(Manifest)})


def list_checkpoints(run: Path) -> list[Path]:
    """Return the folders `checkpoint-N` of a run, oldest first, whole or not."""
    folder = Folder(run)
    found = [
        path
        for path in folder.entries()
        # A link counts too, so that it is named as what is wrong with the folder.
        if step_of(path) is not None and (path.is_symlink() or folder.has_folder(path.name))
    ]
    return sorted(found, key=lambda path: step_of(path) or 0)


def step_of(checkpoint: Path) -> int | None:
    """Return the optimizer step in the name of a checkpoint; `None` for any other name."""
    # Bounded: a folder from somebody else may have a number that Python refuses to read.
    found = re.fullmatch("checkpoint-([0-9]{1,15})", checkpoint.name)
    return int(found[1]) if found else None


def find_damage(checkpoint: Path) -> str:
    """Return what does not fit the manifest of `checkpoint`, or nothing when it is whole.

    A file of 64 MB or more is compared by its size and its first and last MB. A folder that is
    called `checkpoint-N` must be of step N; any other name says nothing.
    """
    if not checkpoint.is_dir():
        return "the folder does not exist"
    if checkpoint.is_symlink():
        return "it is a link; put the folder itself there"
    try:
        manifest = read_manifest(checkpoint)
        if step_of(checkpoint) not in (None, manifest.step):
            return f"it holds step {manifest.step}, which its name does not say"
        folder = Folder(checkpoint)
        # Lazily: hashing stops at the first file that was changed.
        changes = (_find_change(folder, name, was) for name, was in manifest.files.items())
        return next(filter(None, changes), "")
    except FolderError as error:
        return one_line(error)


def _find_change(checkpoint: Folder, name: str, expected: Mapping[str, Any]) -> str:
    """Return how a file differs from what the manifest says of it, or nothing."""
    if not checkpoint.has(name, shared=True):
        return f"{name} is missing"
    if (size := checkpoint.at(name).stat().st_size) != expected["size"]:
        return f"{name} has {size:,} bytes instead of {expected['size']:,}"
    return "" if _print_of(checkpoint, name) == expected else f"the bytes of {name} were changed"


def choose(run: Path, wanted: str | Path | bool | None) -> Choice:
    """Return the checkpoint of `run` that `wanted` means; nothing is touched.

    `wanted` is a folder, `NEWEST`, `NEWEST_OR_NONE`, or false for none. Only a whole checkpoint
    that holds all a run needs is taken. Raises `CheckpointError`, which lists the others.
    """
    if not wanted:
        return Choice()
    if wanted not in (NEWEST, NEWEST_OR_NONE):
        folder = Path(wanted)
        if problem := find_damage(folder) or _find_lack(folder):
            others = [path.name for path in list_checkpoints(run) if not find_damage(path)]
            raise CheckpointError(
                f"Cannot resume {folder}: {problem}. Whole checkpoints in {run}: "
                f"{', '.join(others) or 'none'}."
            )
        return Choice(folder)
    damaged: dict[Path, str] = {}
    for folder in reversed(list_checkpoints(run)):
        if problem := find_damage(folder):
            damaged[folder] = problem
        # One that holds the model alone is whole: it stays where it is and is passed over in
        # silence.
        elif not _find_lack(folder):
            return Choice(folder, damaged)
    if wanted == NEWEST_OR_NONE:
        return Choice(None, damaged)
    reasons = "".join(f"\n  {path.name}: {why}" for path, why in damaged.items())
    raise CheckpointError(
        f"resume=true: {run} holds no whole checkpoint; auto starts afresh then.{reasons}"
    )


def find_changes(checkpoint: Path, facts: Facts) -> list[str]:
    """Return one line per option, set and count of processes that differs from the checkpoint's.

    Only options that both know count: a version may bring one or drop one.
    """
    then = read_manifest(checkpoint)
    changes = [
        f"{name}: {_shown(then.config[name])} in the checkpoint, {_shown(value)} now"
        for name, value in facts.config.items()
        if name in then.config and then.config[name] != value
    ]
    changes += [
        f"{name}: not the one of the checkpoint"
        for name, value in facts.sets.items()
        if then.sets.get(name) != value
    ]
    if then.num_processes != facts.num_processes:
        changes.append(
            f"number of processes: {then.num_processes} in the checkpoint, "
            f"{facts.num_processes} now"
        )
    return changes


def find_other_versions(checkpoint: Path, facts: Facts) -> list[str]:
    """Return one text per library that has another version than when the checkpoint was saved."""
    then = read_manifest(checkpoint).versions
    return [
        f"{name} {then.get(name)} -> {version}"
        for name, version in facts.versions.items()
        if then.get(name) != version
    ]


# Putting aside.


def saving_folder(run: Path) -> Path:
    """Return where a run writes what is not whole yet."""
    return run / PRIVATE_FOLDER / "saving"


def put_damaged_aside(run: Path, damaged: Collection[Path]) -> None:
    """Move damaged checkpoints under `_serl/damaged`, where nothing is ever deleted."""
    for path in damaged:
        path.rename(_free(Folder(run).make(f"{PRIVATE_FOLDER}/damaged") / path.name))


def cut_back(run: Path, *, step: int, num_iterations: int, sizes: Mapping[str, int]) -> Path | None:
    """Move what `run` wrote after `step` to a numbered folder under `_serl/cut`, and return that.

    That is: later checkpoints, saved iterations beyond `num_iterations`, and the bytes of each file
    of JSON lines beyond its size in `sizes`. `None` when there was nothing. A crash in between is
    made good by the next call.
    """
    folder, private = Folder(run), run / PRIVATE_FOLDER
    clear_saving(run)
    folders = [path for path in list_checkpoints(run) if (step_of(path) or 0) > step]
    iterations = folder.entries(f"{PRIVATE_FOLDER}/iterations")
    saved = [path for path in iterations if path.name.isdecimal()]
    folders += [path for path in saved if int(path.name) > num_iterations]
    files = {
        private / name: size
        for name, size in sizes.items()
        if folder.has(f"{PRIVATE_FOLDER}/{name}") and (private / name).stat().st_size > size
    }
    if not folders and not files:
        return None
    target = _free(folder.make(f"{PRIVATE_FOLDER}/cut") / f"after-step-{step}")
    for path in folders:
        place = target / path.relative_to(private if path in saved else run)
        place.parent.mkdir(parents=True, exist_ok=True)
        path.rename(place)
    # Where only lines are cut, no folder was moved there.
    target.mkdir(exist_ok=True)
    for path, size in files.items():
        cut_lines(path, size, target / path.name)
    return target


def clear_saving(run: Path) -> None:
    """Remove what is left of a save that did not come to its end."""
    Folder(run).remove(_SAVING)


# A run that is over.


def mark_finished(run: Path, until: Mapping[str, Any]) -> None:
    """Note that `run` has reached its planned end, given by the values of `until`."""
    Folder(run).write(_FINISHED, json.dumps(dict(until), indent=1))


def clear_finished(run: Path) -> None:
    """Take the mark away, because the run continues."""
    Folder(run).remove(_FINISHED)


def is_finished(run: Path, until: Mapping[str, Any]) -> bool:
    """Return whether `run` has reached the end that `until` plans."""
    folder = Folder(run)
    return folder.has(_FINISHED) and folder.read_json(_FINISHED, dict) == dict(until)


def fingerprint(value: Any) -> str:
    """Return a hash of JSON values, independent of the order of keys."""
    text = json.dumps(value, sort_keys=True)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def _print_of(folder: Folder, name: str) -> dict[str, Any]:
    """Return size and hash of a file; of a big one only its ends are hashed."""
    with folder.open(name, shared=True) as file:
        size = os.fstat(file.fileno()).st_size
        if size < _WHOLE_BYTES:
            digest = hashlib.file_digest(file, "sha256")
        else:
            digest = hashlib.sha256(file.read(_END_BYTES))
            file.seek(-_END_BYTES, os.SEEK_END)
            digest.update(file.read())
    return {"size": size, "sha256": digest.hexdigest()}


def _find_lack(checkpoint: Path) -> str:
    """Return why a whole checkpoint cannot be resumed, or nothing."""
    whole = STATE_FILE in read_manifest(checkpoint).files
    return "" if whole else "it holds the model only, as save_only_model wanted"


def _free(path: Path) -> Path:
    """Return `path`, or the first of path-2, path-3, ... that does not exist."""
    number, free = 1, path
    # A link that leads nowhere has the name, too.
    while os.path.lexists(free):
        number += 1
        free = path.with_name(f"{path.name}-{number}")
    return free


def _shown(value: Any) -> str:
    return shortened(json.dumps(value), 60)
