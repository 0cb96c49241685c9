"""What keeps a run from harm: it ends well when asked to, and learns from finite numbers only."""

import json
import logging
import math
import random
import re
import signal
import threading
import time
import traceback
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch
from accelerate.utils import DistributedType
from safetensors import SafetensorError
from safetensors.torch import save
from torch.distributed.tensor import DTensor
from transformers import TrainerCallback

from serl_trl.common.errors import NonFiniteError
from serl_trl.common.files import PRIVATE_FOLDER
from serl_trl.common.folder import Folder, FolderError
from serl_trl.train.host import Host, inside

logger = logging.getLogger(__name__)

SIGNALS = (signal.SIGTERM, signal.SIGINT)
SAME_REQUEST_S = 2.0
"""Signals this close together are one request: a terminal and the launcher both pass Ctrl-C on."""

NONFINITE_FOLDER = "nonfinite"
_NUM_NAMES = 10
_LOST = re.compile("timed out|timeout|(closed|reset) by peer|remote worker", re.IGNORECASE)
"""Of the words in which gloo says that another process does not answer."""


class StopAskedError(Exception):
    """A refill is abandoned because the run was asked to stop; never leaves the trainer."""


@dataclass(frozen=True)
class _Before:
    """What an abandoned refill must leave as it found it."""

    selfplay: dict[str, Any]
    randomness: tuple[Any, ...]
    sizes: dict[str, int]
    metrics: dict[str, list[float]]


class Stopping(TrainerCallback):
    """Ends a run at the next good moment after a SIGTERM or SIGINT to any of its processes.

    That is the end of the optimizer step, or, in a refill, the next call of the policy: the refill
    is then undone, so that a resumed run makes it again and equals one that never stopped. A second
    signal does at once what it did before: it ends the process.

    `asked` is the name of the signal that all processes agreed on, or `None`.
    """

    def __init__(self, trainer: Host) -> None:
        self._trainer = trainer
        self._received: signal.Signals | None = None
        self._received_at = 0.0
        self._handlers: dict[int, Any] = {}
        self._in_refill = False
        self._last_fetch: int | None = None
        self.asked: str | None = None

    @contextmanager
    def listening(self) -> Generator[None]:
        """Take the signals inside the block; only the main thread of a process can.

        A block inside another one adds nothing: what comes after training may need the same.
        """
        if self._handlers or threading.current_thread() is not threading.main_thread():
            yield
            return
        self._received, self.asked, self._last_fetch = None, None, None
        self._handlers = {number: signal.signal(number, self._receive) for number in SIGNALS}
        try:
            yield
        finally:
            for number in SIGNALS:
                self._put_back(number)
            self._handlers = {}

    def _put_back(self, number: int) -> None:
        # None: it was installed by something that is not Python, and cannot be put back.
        signal.signal(number, self._handlers[number] or signal.SIG_DFL)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self._received is None:
            self._received, self._received_at = signal.Signals(number), time.monotonic()
        elif time.monotonic() - self._received_at > SAME_REQUEST_S:
            self._put_back(number)
            signal.raise_signal(number)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Save and stop when any process was asked to; a run that is over ends as it would."""
        if state.global_step < state.max_steps and self._agree():
            control.should_save = control.should_training_stop = True

    def interruptible(
        self, make_batch: Callable[[], list[dict[str, Any]] | None]
    ) -> Callable[[], list[dict[str, Any]] | None]:
        """Let `heed` abandon `make_batch`, where its batch begins an optimizer step.

        Otherwise the step already holds batches, of this fetch or left of the generation batch
        before; these would be lost, so the refill is finished, and the step with it.
        """

        def make() -> list[dict[str, Any]] | None:
            trainer = self._trainer
            step = trainer.state.global_step
            later = (
                step == self._last_fetch
                or inside(trainer)._step % trainer.args.batches_per_generation
            )
            self._last_fetch = step
            if later:
                return make_batch()
            before = self._remember()
            self._in_refill = True
            try:
                return make_batch()
            except StopAskedError:
                self._undo(before)
                control = inside(trainer).control
                control.should_training_stop = True
                # Before the first step there is nothing to save; a fresh start is as good.
                control.should_save = step > 0
                return None
            finally:
                self._in_refill = False

        return make

    def heed(self) -> None:
        """Raise `StopAskedError` in all processes where a refill goes on and one was asked."""
        if self._in_refill and self._agree():
            raise StopAskedError

    def _agree(self) -> bool:
        """Ask all processes, and remember what they said."""
        accelerator = self._trainer.accelerator
        mine = torch.tensor([self._received or 0], device=accelerator.device)
        number = int(accelerator.gather(mine).max())
        if number:
            self.asked = signal.Signals(number).name
        return bool(number)

    def _remember(self) -> _Before:
        trainer = self._trainer
        sizes = {name: lines.size() for name, lines in trainer.written.items()}
        metrics = {name: list(values) for name, values in inside(trainer)._pending_metrics.items()}
        return _Before(trainer.selfplay.state_dict(), _random_state(), sizes, metrics)

    def _undo(self, before: _Before) -> None:
        trainer = self._trainer
        trainer.selfplay.load_state_dict(before.selfplay)
        _set_random_state(before.randomness)
        for name, size in before.sizes.items():
            trainer.written[name].cut(size)
        inside(trainer)._pending_metrics.clear()
        inside(trainer)._pending_metrics.update(before.metrics)


def _random_state() -> tuple[Any, ...]:
    on_gpu = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return random.getstate(), np.random.get_state(), torch.get_rng_state(), on_gpu


def _set_random_state(state: tuple[Any, ...]) -> None:
    python, numpy, torch_state, on_gpu = state
    random.setstate(python)
    np.random.set_state(numpy)
    torch.set_rng_state(torch_state)
    if on_gpu:
        torch.cuda.set_rng_state_all(on_gpu)


@contextmanager
def name_lost_process(accelerator: Any, args: Any) -> Generator[None]:
    """Add to the error of a lost or hanging process what can be known of it from here.

    gloo raises in the process that waited. NCCL ends that process by itself, with its own words.
    """
    try:
        yield
    except RuntimeError as error:
        if accelerator.num_processes > 1 and _LOST.search(str(error)):
            doing = traceback.extract_tb(error.__traceback__)[-1].name
            error.add_note(
                f"Process {accelerator.process_index} of {accelerator.num_processes} waited for "
                f"another one in {doing}. That one ended, and its own output says why, or it hangs "
                f"or lags by more than ddp_timeout={args.ddp_timeout} s: while it still runs, "
                "`py-spy dump --pid ID` shows where."
            )
        raise


class NonFiniteGuard:
    """Skips steps whose loss or gradient is NaN or infinite, and stops after `most` of them.

    A skipped step leaves weights and optimizer state as they were and counts as a step of the
    schedule. Half precision has its own scaler, which skips, and is left to it.
    """

    def __init__(self, trainer: Host, *, most: int) -> None:
        self._trainer = trainer
        # DeepSpeed updates inside the backward pass: its step can only be stopped after.
        deepspeed = trainer.accelerator.distributed_type == DistributedType.DEEPSPEED
        self._most = 0 if deepspeed else most
        self._watches = not trainer.args.fp16
        self._seen: list[tuple[dict[str, Any], torch.Tensor]] = []
        self.num_skipped = 0

    def note(self, inputs: dict[str, Any], loss: torch.Tensor) -> None:
        """Remember a micro-batch of the step with its loss."""
        if self._watches:
            self._seen.append((inputs, loss.detach()))

    def check(self, grad_norm: Any) -> None:
        """Look at the losses and the gradient norm of a step before the optimizer does.

        Drops the gradients of a bad step, without which an optimizer moves nothing. Raises
        `NonFiniteError` in all processes when there were too many bad steps.
        """
        seen, self._seen = self._seen, []
        trainer = self._trainer
        if not self._watches:
            return
        losses = [float(loss) for _, loss in seen]
        norm = float(grad_norm)
        mine = torch.tensor(
            [float(not all(map(math.isfinite, [*losses, norm])))], device=trainer.accelerator.device
        )
        if float(trainer.accelerator.reduce(mine, reduction="sum")) > 0:
            self.num_skipped += 1
            self._report(seen, losses, norm)
            trainer.optimizer.zero_grad()
        inside(trainer)._metrics["train"]["serl/num_skipped_steps"].append(float(self.num_skipped))

    def _report(self, seen: list[Any], losses: list[float], norm: float) -> None:
        trainer = self._trainer
        step = trainer.state.global_step + 1
        bad = [i for i, loss in enumerate(losses) if not math.isfinite(loss)]
        index = bad[0] if bad else len(seen) - 1
        facts = {
            "step": step,
            "process": trainer.accelerator.process_index,
            "losses": [str(loss) for loss in losses],
            "grad_norm": str(norm),
            "micro_batch": index,
            "parameters": _name_bad(trainer.model, lambda p: p.grad),
        }
        if seen:
            _dump(self._folder, seen[index][0], facts)
        text = (
            f"step {step}: a loss or gradient is not finite (losses {facts['losses']}, gradient "
            f"norm {norm}); its batch is in {self._folder}."
        )
        if self.num_skipped > self._most:
            raise NonFiniteError(
                f"{text} max_nonfinite_steps={self._most} allows no further one; look at the "
                "batch, lower learning_rate, and go on from the last checkpoint."
            )
        logger.error("%s The step is skipped, %d of %d.", text, self.num_skipped, self._most)

    @property
    def _folder(self) -> Path:
        return Path(str(self._trainer.args.output_dir)) / PRIVATE_FOLDER / NONFINITE_FOLDER


def refuse_nonfinite_weights(model: torch.nn.Module) -> None:
    """Raise `NonFiniteError` when a trained weight of `model` is NaN or infinite."""
    if names := _name_bad(model, lambda p: p if p.requires_grad else None):
        raise NonFiniteError(
            f"the weights are not saved: {', '.join(names)} hold NaN or infinity; lower "
            "learning_rate, and go on from the last checkpoint."
        )


def _name_bad(model: torch.nn.Module, pick: Callable[[Any], torch.Tensor | None]) -> list[str]:
    """Return the names of the first parameters of which `pick` gives something not finite."""
    names = []
    for name, parameter in model.named_parameters():
        values = pick(parameter)
        if isinstance(values, DTensor):
            # Each process looks at its own part of a sharded tensor.
            values = values.to_local()
        if values is not None and not torch.isfinite(values).all():
            names.append(name)
            if len(names) == _NUM_NAMES:
                break
    return names


def _dump(folder: Path, inputs: dict[str, Any], facts: dict[str, Any]) -> None:
    tensors = {k: v.detach().cpu().clone() for k, v in inputs.items() if torch.is_tensor(v)}
    try:
        files = Folder(folder.parents[1])
        name = "/".join((*folder.parts[-2:], f"step-{facts['step']}-process-{facts['process']}"))
        files.write(f"{name}.safetensors", save(tensors))
        files.write(f"{name}.json", json.dumps(facts, indent=1) + "\n")
    except (OSError, FolderError, SafetensorError) as error:
        # A process that stopped here would leave the others waiting for it.
        logger.error("the batch could not be written to %s: %s", folder, error)
