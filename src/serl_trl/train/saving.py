"""How a `SeRLTrainer` saves and resumes: the steps of a save, over all processes at once."""

import logging
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate.utils import gather_object
from safetensors import SafetensorError

from serl_trl.common.disk import DiskFullError, describe_full_disk, is_disk_full
from serl_trl.train import checkpoint, resume
from serl_trl.train.checkpoint import STATE_FILE
from serl_trl.train.host import Host, inside
from serl_trl.train.must_match import checkpoint_facts
from serl_trl.train.reference import load_reference, save_reference
from serl_trl.train.state import ProcessState, RunState, refusing_other_fields

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Failure:
    """Why a process could not do its part of a save."""

    text: str
    disk_full: bool


class Saving:
    """Saves and restores the whole of a run. Every method is called by all processes at once.

    TRL writes a checkpoint file by file into its final place: a crash leaves a half that looks
    whole, and a process whose disk is full leaves the others waiting. Here TRL writes into `folder`
    beside that place, which gets its name only when every process has succeeded.

    `folder` is `None` while nothing is saved.
    """

    def __init__(self, trainer: Host) -> None:
        assert trainer.args.output_dir is not None, "TRL sets a default"
        self._trainer = trainer
        self._run = Path(trainer.args.output_dir)
        self._is_main = trainer.is_world_process_zero()
        self._process_file = f"serl_process_{trainer.args.process_index}.pt"
        self._start = resume.Start(None, fresh_cycle=False)
        self._process: ProcessState | None = None
        self._needed = 0
        self.folder: Path | None = None
        self.seconds = 0.0

    @property
    def seconds(self) -> float:
        """How long the run has trained, its earlier parts included, whatever the clock shows."""
        return time.monotonic() - self._began

    @seconds.setter
    def seconds(self, seconds: float) -> None:
        self._began = time.monotonic() - seconds

    # Resuming.

    def start(self, wanted: str | bool | None) -> str | None:
        """Return the checkpoint to train on from, after making the run's folder fit it."""
        self._start = resume.begin(self._trainer, wanted)
        self._process = None
        return self._start.folder

    def load(self, folder: Path) -> None:
        """Restore everything but what the training loop sets up later; see `restore_loop`."""
        trainer = self._trainer
        state = RunState.read(folder)
        with refusing_other_fields(folder, STATE_FILE):
            state.put(trainer)
        # After the iteration is known, which decides whether there is one.
        load_reference(trainer, folder)
        inside(trainer).teacher.load(folder)
        if self._start.fresh_cycle:
            inside(trainer)._step, inside(trainer)._buffered_inputs = 0, None
        else:
            path = folder / self._process_file
            self._process = ProcessState.read(path, trainer.args.device)

    def restore_loop(self) -> None:
        """Restore what the training loop has just set to zero; nothing in a fresh run."""
        self.seconds = 0.0
        if self._process is not None:
            self._process.put(self._trainer)

    # Saving.

    def save(self, target: Path, write: Callable[[], None]) -> None:
        """Write a checkpoint, to which `write` adds TRL's own part, and remove old ones.

        An existing checkpoint is left as it is: within a run, a step has one state.
        """
        trainer = self._trainer
        # Asked once: on a shared disk one process may see the folder before another.
        if trainer.policy.decide(target.exists):
            return

        def fill(folder: Path) -> None:
            if not trainer.args.save_only_model:
                if self._is_main:
                    checkpoint.save_state(folder, vars(RunState.take(trainer)))
                checkpoint.reached("state")
                ProcessState.take(trainer).write(folder / self._process_file)
                checkpoint.reached("processes")
                save_reference(trainer, folder)
                inside(trainer).teacher.save(folder)
            write()
            self._correct_best(folder, target)
            checkpoint.reached("trainer")

        # Before the first checkpoint there is none to go by.
        otherwise = _model_bytes(trainer) + _optimizer_bytes(trainer)
        needed = checkpoint.expected_bytes(self._run, otherwise=otherwise)
        saved = self._write_whole(target, fill, needed=needed)
        if saved and self._is_main:
            best = trainer.state.best_model_checkpoint
            # load_best_model_at_end reads it when the run is over.
            protected = {Path(best)} if best else set()
            protected |= inside(trainer).guard.protected
            checkpoint.rotate(self._run, keep=trainer.args.save_total_limit, protected=protected)

    def save_model(self, target: Path) -> None:
        """Save the model alone, whole or not at all."""
        self._write_whole(
            target,
            lambda folder: inside(self._trainer).save_model(str(folder), _internal_call=True),
            needed=_model_bytes(self._trainer),
        )

    def write_model(self, write: Callable[[], None]) -> None:
        """Let `write` save a model; where that is a part of a save, processes fail together.

        TRL makes them wait for each other after it.
        """
        if self.folder is None:
            write()
        else:
            self._everywhere(write, self.folder)

    def _write_whole(self, target: Path, fill: Callable[[Path], None], *, needed: int) -> bool:
        """Let `fill` write a folder that becomes `target` when every process succeeded."""
        folder = checkpoint.saving_folder(self._run) / target.name
        self._needed = needed

        def make_room() -> None:
            if self._is_main:
                checkpoint.make_room(folder, needed=needed)

        def write() -> None:
            self.folder = folder
            try:
                fill(folder)
            finally:
                self.folder = None

        def publish() -> None:
            if self._is_main:
                step, facts = self._trainer.state.global_step, checkpoint_facts(self._trainer)
                checkpoint.publish(folder, target, step=step, facts=facts)

        try:
            for stage in (make_room, write, publish):
                self._everywhere(stage, folder)
        except DiskFullError as error:
            self._give_up(str(error), target)
            return False
        return True

    def _everywhere(self, work: Callable[[], None], folder: Path) -> None:
        """Do `work` in every process, and raise in all when it failed in one.

        No process then waits for another that has left. A full disk, which `work` finds on the
        way to `folder`, is a `DiskFullError` in all; any other failure is raised as it is where it
        happened, and reported by the others.
        """
        error, failure = None, None
        try:
            work()
        # What files, collectives, torch and JSON raise. Anything else is a mistake of this package.
        except (OSError, RuntimeError, SafetensorError, TypeError, ValueError) as caught:
            error, failure = caught, self._describe(caught, folder)
        # All meet here, also those that failed, before anyone raises.
        failures = [each for each in self._gather([failure]) if each]
        if full := [each for each in failures if each.disk_full]:
            raise DiskFullError(full[0].text) from error
        if failures:
            raise error or RuntimeError(f"another process could not save: {failures[0].text}")

    def _describe(self, error: Exception, folder: Path) -> Failure:
        if isinstance(error, DiskFullError):
            return Failure(str(error), disk_full=True)
        if is_disk_full(error):
            free = shutil.disk_usage(self._run).free
            text = describe_full_disk(folder, needed=self._needed, free=free)
            return Failure(text, disk_full=True)
        return Failure(f"{type(error).__name__}: {error}", disk_full=False)

    def _gather(self, items: list[Failure | None]) -> list[Failure | None]:
        alone = self._trainer.accelerator.num_processes == 1
        return items if alone else gather_object(items)

    def _give_up(self, problem: str, target: Path) -> None:
        """Remove what was written of `target`, and stop the run or let it continue without."""
        if self._is_main:
            checkpoint.clear_saving(self._run)
        text = f"{target.name} was not saved, earlier checkpoints are whole: {problem}"
        if self._trainer.args.on_full_disk == "stop":
            raise DiskFullError(text)
        logger.error("%s The run continues.", text)

    def _correct_best(self, folder: Path, target: Path) -> None:
        """Name the final place of the best checkpoint where TRL noted the one it wrote to."""
        state = self._trainer.state
        # Resuming reads the name out of trainer_state.json, which was written before.
        if state.best_model_checkpoint == str(folder):
            state.best_model_checkpoint = str(target)
            if self._is_main:
                state.save_to_json(str(folder / "trainer_state.json"))


def _model_bytes(trainer: Host) -> int:
    """Bytes of the weights that are saved: of an adapter's model, those of the adapter."""
    adapter = hasattr(trainer.model, "peft_config")
    return sum(p.nbytes for p in trainer.model.parameters() if p.requires_grad or not adapter)


def _optimizer_bytes(trainer: Host) -> int:
    states = trainer.optimizer.state.values()
    tensors = [value for state in states for value in state.values() if torch.is_tensor(value)]
    return sum(tensor.nbytes for tensor in tensors)
