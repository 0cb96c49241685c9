"""How a run ends well when it is asked to stop, and what is said of a process that is lost."""

import re
import signal
import threading
import time
import traceback
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import torch
from transformers import TrainerCallback

from serl_trl.train.host import Host, inside
from serl_trl.train.state import RefillState

SIGNALS = (signal.SIGTERM, signal.SIGINT)
# Signals this close together are one request: a terminal and the launcher both pass Ctrl-C on.
SAME_REQUEST_S = 2.0

# Words in which gloo says that another process does not answer.
_LOST = re.compile("timed out|timeout|(closed|reset) by peer|remote worker", re.IGNORECASE)


class StopAskedError(Exception):
    """A refill is abandoned because the run was asked to stop; never leaves the trainer."""


class Stopping(TrainerCallback):
    """Ends a run at the next good moment after a SIGTERM or SIGINT to any of its processes.

    That is the end of the optimizer step, or, in a refill, the next call of the policy: the refill
    is then undone, so that a resumed run makes it again and equals a run that never stopped.
    Without this, a preempted job loses all since its last checkpoint. A second signal does at once
    what it did before: it ends the process.

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
        # Nothing but a note: a handler interrupts any line, also one of a save.
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
            # Fetched in this step already, or inside a generation batch.
            later = (
                step == self._last_fetch
                or inside(trainer)._step % trainer.args.batches_per_generation
            )
            self._last_fetch = step
            if later:
                return make_batch()
            before = RefillState.take(trainer)
            self._in_refill = True
            try:
                return make_batch()
            except StopAskedError:
                # Undone everywhere, the ledger included: the resumed run makes the same refill
                # again.
                before.put(trainer)
                control = inside(trainer).control
                control.should_training_stop = True
                # Before the first step there is nothing to save; a fresh start is as good.
                control.should_save = step > 0
                return None
            finally:
                self._in_refill = False

        return make

    def heed(self) -> None:
        """Raise `StopAskedError` in all processes during a refill, when one of them was asked."""
        if self._in_refill and self._agree():
            raise StopAskedError

    def _agree(self) -> bool:
        """Ask all processes, and remember what they said."""
        accelerator = self._trainer.accelerator
        # A signal may reach one process only, and all must leave at the same step.
        mine = torch.tensor([self._received or 0], device=accelerator.device)
        number = int(accelerator.gather(mine).max())
        if number:
            self.asked = signal.Signals(number).name
        return bool(number)


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
