"""Which checkpoint a run is resumed from, and how its folder is made to fit that checkpoint."""

import logging
import pickle
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from accelerate.utils import broadcast_object_list

from serl_trl.common.files import find_misfits
from serl_trl.common.folder import FolderError
from serl_trl.common.processes import is_main_process
from serl_trl.labels.band import Band
from serl_trl.labels.base import wrapped
from serl_trl.train import checkpoint
from serl_trl.train.checkpoint import CheckpointError
from serl_trl.train.host import Host
from serl_trl.train.must_match import checkpoint_facts
from serl_trl.train.state import RunState

logger = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True)
class Start:
    """The checkpoint to train on from (`None`: afresh), and whether its half-used cycle is left.

    `ends` are those of the checkpoint's difficulty band where this run's follow from the options.
    """

    folder: str | None
    fresh_cycle: bool
    ends: tuple[float, float] | None = None


def in_first(work: Callable[[], T]) -> T | None:
    """Do `work` in the first process while the others wait; they return `None`.

    Raises its `FolderError` as a `CheckpointError` in all processes.
    """
    result, problem = None, ""
    if is_main_process():
        try:
            result = work()
        except FolderError as error:
            problem = str(error)
    # One process that raised alone would leave the others waiting for it.
    if problem := broadcast_object_list([problem])[0]:
        raise CheckpointError(problem)
    return result


@contextmanager
def naming_a_foreign_checkpoint(folder: str | None) -> Generator[None]:
    """Raise a `CheckpointError` where a file of the checkpoint `folder` holds more than tensors.

    torch refuses such a file before anything in it runs.
    """
    try:
        yield
    except pickle.UnpicklingError as error:
        # What torch says after its first line is advice to trust the file.
        reason = str(error).splitlines()[0] if str(error) else "it does not hold tensors"
        raise CheckpointError(
            f"Cannot resume {folder}: a SeRLTrainer did not write one of its files, and that file "
            f"was not run: {reason[:200]}"
        ) from error


def begin(trainer: Host, wanted: str | bool | None) -> Start:
    """Return where to start from, after making the run's folder fit it.

    The first process decides, because others may see the folder a moment later. What the run wrote
    after the checkpoint is moved to `_serl/cut`, damaged checkpoints to `_serl/damaged`. Raises
    `CheckpointError` in all processes.
    """
    start: Start = broadcast_object_list([in_first(lambda: _choose(trainer, wanted))])[0]
    if start.ends:
        _set_band(trainer, *start.ends)
    return start


def _set_band(trainer: Host, low: float, high: float) -> None:
    trainer.args.difficulty_low, trainer.args.difficulty_high = low, high
    for labeller in wrapped(trainer.selfplay.labelling.labeller):
        if isinstance(labeller, Band):
            labeller.low, labeller.high = low, high


def _earlier_ends(trainer: Host, folder: Path) -> tuple[float, float] | None:
    """Return the checkpoint's band where the user asks for none now: one that a default gave.

    An earlier version, or another number of votes, may have had other ends by default.
    """
    config = checkpoint.read_manifest(folder).config
    low, high = config.get("difficulty_low"), config.get("difficulty_high")
    known = isinstance(low, int | float) and isinstance(high, int | float)
    return (low, high) if trainer.args.band_is_derived and known else None


def _choose(trainer: Host, wanted: str | bool | None) -> Start:
    run = Path(trainer.args.output_dir)
    choice = checkpoint.choose(run, wanted)
    # Before anything is moved: what is refused stays as it is.
    ends = _earlier_ends(trainer, choice.folder) if choice.folder else None
    if ends and ends != (trainer.args.difficulty_low, trainer.args.difficulty_high):
        logger.warning("The run keeps its difficulty band, %g to %g.", *ends)
        _set_band(trainer, *ends)
    changes = _find_changes(trainer, choice.folder) if choice.folder else []
    for path, why in choice.damaged.items():
        logger.warning("%s is passed over and moved to _serl/damaged: %s.", path, why)
    checkpoint.put_damaged_aside(run, choice.damaged)
    if wanted and choice.folder is None:
        logger.warning("%s holds no whole checkpoint; the run starts afresh.", run)
    _cut_back(trainer, run, choice.folder)
    checkpoint.clear_finished(run)
    return Start(str(choice.folder) if choice.folder else None, bool(changes), ends)


def _find_changes(trainer: Host, folder: Path) -> list[str]:
    """Return the allowed changes since `folder` was saved; raise for those that are not."""
    facts = checkpoint_facts(trainer)
    changes = checkpoint.find_changes(folder, facts)
    listed = "".join(f"\n  {change}" for change in changes)
    # Refused even where changes are allowed: pool and random state belong to their seeds.
    if checkpoint.read_manifest(folder).sets.get("seed_set") != facts.sets["seed_set"]:
        raise CheckpointError(
            f"resume={folder} belongs to other seeds; start a new run from its weights with "
            f"model_name_or_path. All differences:{listed}"
        )
    if changes and not trainer.args.allow_changes:
        raise CheckpointError(
            f"resume={folder} was saved by another configuration; undo the changes, or allow "
            f"them with allow_changes=True (the run is then no longer the same):{listed}"
        )
    if changes:
        logger.warning("%s is resumed with changes, in a fresh cycle:%s", folder, listed)
    if versions := checkpoint.find_other_versions(folder, facts):
        logger.warning(
            "%s was saved with other versions, so that the run may differ in its last bits: %s",
            folder,
            ", ".join(versions),
        )
    return changes


def _cut_back(trainer: Host, run: Path, folder: Path | None) -> None:
    """Move what the run wrote after `folder` aside; everything, when it starts afresh."""
    files = trainer.written
    step, ended, own = 0, 0, {}
    sizes = dict.fromkeys(files, 0)
    if folder is None:
        # What this trainer wrote itself, such as proposals looked at before training, stays.
        own = {name: lines.take_own() for name, lines in files.items()}
    else:
        state = RunState.read(folder)
        step, ended = checkpoint.read_manifest(folder).step, state.iteration - 1
        # The sizes in another run's checkpoint say nothing of the files in this folder.
        if folder.resolve().parent == run.resolve():
            sizes = state.sizes | _sizes_of_misfits(trainer, run, folder, state.sizes)
        for lines in files.values():
            lines.sync()
    moved = checkpoint.cut_back(run, step=step, num_iterations=ended, sizes=sizes)
    for name, lines in own.items():
        files[name].put_back(lines)
    if moved is not None:
        logger.warning("What %s held after step %d was moved to %s.", run, step, moved)


def _sizes_of_misfits(
    trainer: Host, run: Path, folder: Path, sizes: dict[str, int]
) -> dict[str, int]:
    """Return size 0 for each file of lines that is shorter now, or was changed since `folder`."""
    misfits = find_misfits(run, sizes)
    for name in misfits:
        logger.warning(
            "_serl/%s is not what %s was saved with: it should hold whole lines up to byte %d. It "
            "is moved to _serl/cut and a new file begins, so reports lack what came before.",
            name,
            folder,
            sizes[name],
        )
        trainer.written[name].close()
    return dict.fromkeys(misfits, 0)
