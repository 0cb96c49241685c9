"""How a `SeRLTrainer` saves and resumes: what goes into a checkpoint beside TRL's own files."""

import json
import logging
import pickle
import platform
import shutil
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, TypeVar

import torch
from accelerate.utils import broadcast_object_list, gather_object
from safetensors import SafetensorError

from serl_trl.common.disk import DiskFullError, describe_full_disk, is_disk_full
from serl_trl.common.files import find_misfits
from serl_trl.common.folder import FolderError
from serl_trl.common.processes import is_main_process
from serl_trl.runs.facts import installed
from serl_trl.train import checkpoint
from serl_trl.train.checkpoint import CheckpointError, Facts
from serl_trl.train.host import Host, inside

logger = logging.getLogger(__name__)

T = TypeVar("T")

REFERENCE_FILE = "serl_reference.pt"

# Options that may differ between a run and its resumption. They decide how long it is, what is
# written down and where, but nothing of what a step samples or learns.
FREE_OPTIONS = frozenset(
    {
        # How long the run is, and when it stops early.
        "max_steps",
        "num_train_epochs",
        "num_selfplay_iterations",
        "max_rollouts",
        "max_empty_refills",
        "warn_logprob_gap",
        "max_logprob_gap",
        "max_nonfinite_steps",
        # What is shown, measured and kept, and where.
        "output_dir",
        "plugins",
        "run_name",
        "project",
        "report_to",
        "disable_tqdm",
        "include_num_input_tokens_seen",
        "num_completions_to_print",
        "sample_steps",
        "show_steps",
        "probe_steps",
        "probe_samples",
        "skip_memory_metrics",
        # How it is resumed and kept up.
        "resume_from_checkpoint",
        "allow_changes",
        "on_full_disk",
        "ddp_timeout",
        "local_rank",
    }
)
FREE_PREFIXES = ("logging_", "log_", "save_", "hub_", "push_to_hub", "trackio_", "vllm_server_")

_LIBRARIES = ("serl-trl", "torch", "trl", "transformers", "accelerate", "peft", "vllm")


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
        reason = str(error).splitlines()[0] if str(error) else "it is no file of tensors"
        raise CheckpointError(
            f"resume={folder} holds a file that a SeRLTrainer did not write, and nothing of it was "
            f"run: {reason[:200]}"
        ) from error


class Saving:
    """Saves and restores the whole of a run. Every method is called by all processes at once.

    `folder` is where TRL writes while a save is under way, else `None`.
    """

    def __init__(self, trainer: Host) -> None:
        self._trainer = trainer
        self.folder: Path | None = None
        self._needed = 0
        self._loop: dict[str, Any] | None = None
        self._fresh_cycle = False
        self._started = time.monotonic()
        self.seconds_before = 0.0

    # Starting.

    def start(self, wanted: str | bool | None) -> str | None:
        """Return the checkpoint to train on from, after making the run's folder fit it.

        Later checkpoints, saved iterations and lines are moved to `_serl/cut`, damaged checkpoints
        to `_serl/damaged`. The first process decides. Raises `CheckpointError` in all of them.
        """
        found, problem, fresh_cycle = self._trainer.policy.decide(lambda: self._prepare(wanted))
        if problem:
            raise CheckpointError(problem)
        self._fresh_cycle = fresh_cycle
        self._loop = None
        self.seconds_before = 0.0
        return found

    def _prepare(self, wanted: str | bool | None) -> tuple[str | None, str, bool]:
        try:
            return self._choose(wanted)
        except FolderError as error:
            return None, str(error), False

    def _choose(self, wanted: str | bool | None) -> tuple[str | None, str, bool]:
        run = self._run
        choice = checkpoint.choose(run, wanted)
        changes = self._check(choice.folder) if choice.folder else []
        for path, why in choice.damaged.items():
            logger.warning("%s is passed over and moved to _serl/damaged: %s.", path, why)
        checkpoint.put_damaged_aside(run, choice.damaged)
        if wanted and choice.folder is None:
            logger.warning("%s holds no whole checkpoint; the run starts afresh.", run)
        self._cut_back(choice.folder)
        checkpoint.clear_finished(run)
        return str(choice.folder) if choice.folder else None, "", bool(changes)

    def _check(self, folder: Path) -> list[str]:
        """Return the allowed changes since `folder` was saved; raise for those that are not."""
        facts = self._facts()
        changes = checkpoint.find_changes(folder, facts)
        other_seeds = any(change.startswith("seed_set:") for change in changes)
        listed = "".join(f"\n  {change}" for change in changes)
        if other_seeds:
            raise CheckpointError(
                f"resume={folder} belongs to other seeds; start a new run from its weights with "
                f"model_name_or_path. All differences:{listed}"
            )
        if changes and not self._trainer.args.allow_changes:
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

    def _cut_back(self, folder: Path | None) -> None:
        """Move what the run wrote after `folder` aside; everything, when it starts afresh."""
        files = self._trainer.written
        step, ended, own = 0, 0, {}
        sizes = dict.fromkeys(files, 0)
        if folder is None:
            # What this trainer wrote itself, such as proposals looked at before training, stays.
            own = {name: lines.take_own() for name, lines in files.items()}
        else:
            state = checkpoint.load_state(folder)
            step, ended = checkpoint.read_manifest(folder)["step"], state["iteration"] - 1
            if folder.resolve().parent == self._run.resolve():
                sizes = self._known_sizes(dict(state["sizes"]), folder)
            for lines in files.values():
                lines.sync()
        moved = checkpoint.cut_back(self._run, step=step, num_iterations=ended, sizes=sizes)
        for name, lines in own.items():
            files[name].put_back(lines)
        if moved is not None:
            logger.warning("What %s held after step %d was moved to %s.", self._run, step, moved)

    def _known_sizes(self, sizes: dict[str, int], folder: Path) -> dict[str, int]:
        """Return up to where the files of lines are those of the checkpoint `folder`.

        One that is shorter now, or was changed, is begun anew; what it holds is moved aside.
        """
        for name in find_misfits(self._run, sizes):
            logger.warning(
                "_serl/%s is not what %s was saved with: it should hold whole lines up to byte %d. "
                "It is moved to _serl/cut and begun anew, so that reports lack what came before.",
                name,
                folder,
                sizes[name],
            )
            sizes[name] = 0
            self._trainer.written[name].close()
        return sizes

    # Saving.

    def save(self, target: Path, write: Callable[[], None]) -> None:
        """Write a checkpoint, to which `write` adds TRL's own part, and remove old ones.

        One that exists already is left as it is: within a run, a step has one state.
        """
        trainer = self._trainer
        if trainer.policy.decide(target.exists):
            return

        def fill(folder: Path) -> None:
            if not trainer.args.save_only_model:
                if self._is_main:
                    checkpoint.save_state(folder, self._state())
                checkpoint.reached("state")
                torch.save(self._process_state(), folder / self._process_file)
                checkpoint.reached("processes")
                self._save_reference(folder)
            write()
            self._correct_best(target)
            checkpoint.reached("trainer")

        needed = checkpoint.expected_bytes(self._run, otherwise=self._checkpoint_bytes())
        saved = self._write_whole(target, fill, needed=needed)
        if saved and self._is_main:
            state = trainer.state
            best = {Path(state.best_model_checkpoint)} if state.best_model_checkpoint else set()
            checkpoint.rotate(self._run, keep=trainer.args.save_total_limit, protected=best)

    def save_model(self, target: Path) -> None:
        """Save the model alone, whole or not at all."""
        self._write_whole(
            target,
            lambda folder: inside(self._trainer).save_model(str(folder), _internal_call=True),
            needed=self._model_bytes(),
        )

    def _write_whole(self, target: Path, fill: Callable[[Path], None], *, needed: int) -> bool:
        """Let `fill` write a folder that becomes `target` when every process succeeded."""
        folder = checkpoint.saving_folder(self._run) / target.name
        step = self._trainer.state.global_step

        def write() -> None:
            self.folder, self._needed = folder, needed
            try:
                fill(folder)
            finally:
                self.folder = None

        def publish() -> None:
            checkpoint.publish(folder, target, step=step, facts=self._facts())

        stages = (
            lambda: checkpoint.make_room(folder, needed=needed) if self._is_main else None,
            write,
            lambda: publish() if self._is_main else None,
        )
        try:
            for stage in stages:
                self._everywhere(stage, folder, needed=needed)
        except DiskFullError as error:
            self._give_up(str(error), target)
            return False
        return True

    def write_model(self, write: Callable[[], None]) -> None:
        """Let `write` save a model; where that is a part of a save, processes fail together.

        TRL makes them wait for each other after it.
        """
        if self.folder is None:
            write()
        else:
            self._everywhere(write, self.folder, needed=self._needed)

    def _everywhere(self, work: Callable[[], None], folder: Path, *, needed: int) -> None:
        """Do `work` in every process, and raise in all when it failed in one.

        No process then waits for another that has left. A full disk, which `work` finds on the
        way to `folder`, is a `DiskFullError` in all; any other failure is raised as it is where it
        happened, and reported by the others.
        """
        error, problem = None, ""
        try:
            work()
        except (OSError, RuntimeError, SafetensorError) as caught:
            error, problem = caught, f"{type(caught).__name__}: {caught}"
            if isinstance(caught, DiskFullError):
                problem = str(caught)
            elif is_disk_full(caught):
                free = shutil.disk_usage(self._run).free
                problem = describe_full_disk(folder, needed=needed, free=free)
        problems = [each for each in self._gather([problem]) if each]
        if full := [each for each in problems if each.startswith("disk full")]:
            raise DiskFullError(full[0]) from error
        if problems:
            raise error or RuntimeError(f"another process could not save: {problems[0]}")

    def _give_up(self, problem: str, target: Path) -> None:
        """Remove what was written of `target`, and stop the run or go on without it."""
        if self._is_main:
            checkpoint.clear_saving(self._run)
        text = f"{target.name} was not saved, earlier checkpoints are whole: {problem}"
        if self._trainer.args.on_full_disk == "stop":
            raise DiskFullError(text)
        logger.error("%s The run goes on.", text)

    def _correct_best(self, target: Path) -> None:
        """Name the final place of the best checkpoint where TRL noted the one it wrote to."""
        assert self.folder is not None, "only called while saving"
        state = self._trainer.state
        if state.best_model_checkpoint == str(self.folder):
            state.best_model_checkpoint = str(target)
            if self._is_main:
                state.save_to_json(str(self.folder / "trainer_state.json"))

    @property
    def seconds(self) -> float:
        """How long the run has trained, its earlier parts included, whatever the clock shows."""
        return self.seconds_before + time.monotonic() - self._started

    # What a checkpoint holds beside TRL's files.

    def _state(self) -> dict[str, Any]:
        """What all processes share."""
        return {
            "selfplay": self._trainer.selfplay.state_dict(),
            "iteration": self._trainer.iteration,
            "num_skipped": self._trainer.nonfinite.num_skipped,
            "verifier": inside(self._trainer).verifier.state_dict(),
            "sizes": {name: lines.sync() for name, lines in self._trainer.written.items()},
        }

    def _process_state(self) -> dict[str, Any]:
        """What each process has of its own: the rollout buffer, and sums since the last log."""
        trainer = self._trainer
        logs: dict[str, Any] = inside(trainer)._logs
        loop = {
            "total_loss": inside(trainer)._total_loss_scalar,
            "last_logged": inside(trainer)._globalstep_last_logged,
            # For transformers' own figures of speed; older releases (5.17) do without it.
            "initial_step": getattr(trainer, "_initial_global_step", 0),
            "metrics": inside(trainer)._metrics["train"],
            "pending_metrics": inside(trainer)._pending_metrics,
            "seconds": self.seconds,
            # Shown and written with the next log, and only where that was asked for.
            "logs": {
                **{name: list(logs[name]) for name in ("prompt", "completion", "advantages")},
                **{name: {k: list(v) for k, v in logs[name].items()} for name in _KEYED_LOGS},
            }
            if inside(trainer).log_completions
            else {},
        }
        return {
            "step": inside(trainer)._step,
            "buffer": inside(trainer)._buffered_inputs,
            "loss": inside(trainer)._tr_loss.detach().clone(),
            "loop": json.dumps(loop, default=_plain),
        }

    def load(self, folder: Path) -> None:
        """Restore everything but what the training loop sets up later; see `restore_loop`."""
        trainer = self._trainer
        saved = checkpoint.load_state(folder)
        try:
            trainer.selfplay.load_state_dict(saved["selfplay"])
            trainer.iteration = saved["iteration"]
            trainer.nonfinite.num_skipped = saved["num_skipped"]
            inside(trainer).verifier.load_state_dict(saved["verifier"])
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            raise CheckpointError(
                f"resume={folder}: its {checkpoint.STATE_FILE} is not what a SeRLTrainer writes "
                f"({error!r}); go on from another checkpoint."
            ) from error
        if self._reference_moved():
            self._load_reference(folder / REFERENCE_FILE)
        if self._fresh_cycle:
            inside(trainer)._step, inside(trainer)._buffered_inputs = 0, None
            return
        device = trainer.args.device
        # torch knows no "cpu:0", as accelerate calls the CPU of several processes.
        place = "cpu" if device.type == "cpu" else device
        process = torch.load(folder / self._process_file, map_location=place, weights_only=True)
        inside(trainer)._step, inside(trainer)._buffered_inputs = process["step"], process["buffer"]
        self._loop = {**json.loads(process["loop"]), "loss": process["loss"]}

    def restore_loop(self) -> None:
        """Restore the sums that the training loop has just set to zero; nothing in a fresh run."""
        self._started = time.monotonic()
        trainer, saved = self._trainer, self._loop
        if saved is None:
            return
        logs: dict[str, Any] = inside(trainer)._logs
        inside(trainer)._tr_loss += saved["loss"]
        inside(trainer)._total_loss_scalar = saved["total_loss"]
        inside(trainer)._globalstep_last_logged = saved["last_logged"]
        inside(trainer)._initial_global_step = saved["initial_step"]
        self.seconds_before = saved["seconds"]
        for values, kept in (
            (inside(trainer)._metrics["train"], saved["metrics"]),
            (inside(trainer)._pending_metrics, saved["pending_metrics"]),
        ):
            values.clear()
            values.update(kept)
        for name, kept in saved["logs"].items():
            if name in _KEYED_LOGS:
                for key, values in kept.items():
                    logs[name][key].extend(values)
            else:
                logs[name].extend(kept)

    def _reference_moved(self) -> bool:
        """Whether the KL reference is no longer the model that the run began with."""
        trainer = self._trainer
        reset = trainer.args.reset_reference and trainer.iteration > 1
        return trainer.ref_model is not None and (reset or trainer.args.sync_ref_model)

    def _save_reference(self, folder: Path) -> None:
        """Save the KL reference if it moved; not under FSDP, where its parts are not collected."""
        if not self._reference_moved() or inside(self._trainer).is_fsdp_enabled:
            return
        reference = self._reference()
        # Under ZeRO-3 every process holds a part; all collect it, one writes it.
        with self._collected(reference):
            if self._is_main:
                torch.save(reference.state_dict(), folder / REFERENCE_FILE)

    def _load_reference(self, path: Path) -> None:
        if not path.is_file():
            raise CheckpointError(
                f"resume={path.parent} lacks the KL reference of its iteration, which is not saved "
                "under FSDP; start a new run from its weights with model_name_or_path."
            )
        reference = self._reference()
        # Under ZeRO-3 what the first process loads is divided among all.
        with self._collected(reference, modifier_rank=0):
            if self._is_main or not self._is_divided:
                state = torch.load(path, map_location="cpu", weights_only=True)
                reference.load_state_dict(state)

    def _collected(self, model: Any, **options: Any) -> AbstractContextManager[None]:
        """Collect the parts of a model's weights where ZeRO-3 divides them."""
        if not self._is_divided:
            return nullcontext()
        # accelerate's wrapper collects nothing where the model was divided after loading.
        import deepspeed  # ty: ignore[import-not-found]

        return deepspeed.zero.GatheredParameters(list(model.parameters()), **options)

    def _reference(self) -> Any:
        return self._trainer.accelerator.unwrap_model(self._trainer.ref_model)

    # Facts about the run.

    def _facts(self) -> Facts:
        trainer = self._trainer
        options = {
            name: value
            for name, value in trainer.args.to_dict().items()
            if name not in FREE_OPTIONS and not name.startswith(FREE_PREFIXES)
        }
        # A folder may have moved; what it is called says which model it is.
        options["model"] = Path(getattr(trainer.model.config, "_name_or_path", "") or "").name
        options["reward_funcs"] = inside(trainer).reward_func_names
        options["chat_template_sha256"] = checkpoint.fingerprint(
            inside(trainer)._tokenizer.chat_template
        )
        adapters = getattr(trainer.model, "peft_config", None) or {}
        options |= _listed_options("adapter", next(iter(adapters.values()), None))
        quantised = getattr(trainer.model.config, "quantization_config", None)
        options |= _listed_options("quantization", quantised)
        seeds = [trainer.seed_set.instructions, trainer.seed_set.answers]
        return Facts(
            config=json.loads(json.dumps(options, default=_as_json)),
            sets={
                "seed_set": checkpoint.fingerprint(seeds),
                "evaluation_sets": checkpoint.fingerprint(_listed(trainer.evaluation_sets)),
            },
            num_processes=trainer.accelerator.num_processes,
            versions={"python": platform.python_version(), **installed(_LIBRARIES)},
        )

    def _checkpoint_bytes(self) -> int:
        """Bytes of the model and of the optimizer's state."""
        states = self._trainer.optimizer.state.values()
        tensors = [value for state in states for value in state.values() if torch.is_tensor(value)]
        return self._model_bytes() + sum(tensor.nbytes for tensor in tensors)

    def _model_bytes(self) -> int:
        """Bytes of the weights that are saved: of an adapter's model, those of the adapter."""
        model = self._trainer.model
        adapter = hasattr(model, "peft_config")
        return sum(p.nbytes for p in model.parameters() if p.requires_grad or not adapter)

    @property
    def _run(self) -> Path:
        assert self._trainer.args.output_dir is not None, "TRL sets a default"
        return Path(self._trainer.args.output_dir)

    @property
    def _is_main(self) -> bool:
        return self._trainer.is_world_process_zero()

    @property
    def _is_divided(self) -> bool:
        """Whether ZeRO-3 gives every process a part of each weight."""
        plugin = self._trainer.accelerator.state.deepspeed_plugin
        return plugin is not None and plugin.zero_stage == 3

    @property
    def _process_file(self) -> str:
        return f"serl_process_{self._trainer.args.process_index}.pt"

    def _gather(self, items: list[str]) -> list[str]:
        alone = self._trainer.accelerator.num_processes == 1
        return items if alone else gather_object(items)


_KEYED_LOGS = ("rewards", "extra")


def _listed(sets: Mapping[str, Any]) -> dict[str, list[str]]:
    return {name: list(texts) for name, texts in sets.items()}


def _listed_options(name: str, config: Any) -> dict[str, Any]:
    """Return the options of an adapter or a quantisation under names of their own.

    `name` alone says whether there is one, so that one that comes or goes is a difference too.
    """
    if config is None:
        return {name: False}
    options = config if isinstance(config, Mapping) else config.to_dict()
    # A folder may have moved, and versions are compared elsewhere.
    skipped = ("base_model_name_or_path", "peft_version")
    return {name: True} | {f"{name}.{k}": v for k, v in options.items() if k not in skipped}


def _as_json(value: Any) -> Any:
    """Turn what JSON does not know into it; the order of a set differs between processes."""
    return sorted(map(str, value)) if isinstance(value, set | frozenset) else str(value)


def _plain(value: Any) -> Any:
    """Turn what a user logged into JSON: a number of any library, else its text."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return str(value)
