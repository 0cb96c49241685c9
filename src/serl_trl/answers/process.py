"""The worker's process as seen from here: started bare, asked one job at a time, killed for sure.

Why not `pebble` or another pool of `multiprocessing`: its spawned worker imports the user's
`__main__` a second time (a training script would train again), inherits the whole environment
(tokens, devices) and stays in our process group, so that what it started survives the kill. The
pool runs three threads in the training process, and a forked child cannot use it. The interpreter
started here knows two pipes, a few variables and nothing of the user's program.
"""

import contextlib
import json
import math
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

_KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "TMPDIR")
# No reply is longer than a few hundred characters; a worker that floods us is not read to its end.
_MAX_LINE = 1 << 16


class WorkerLost(Exception):
    """The worker died, sent rubbish or did not answer in time; the message says which."""


class Worker:
    """The process and its pipes; one job at a time."""

    def __init__(self, command: Sequence[str]) -> None:
        try:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=_environment(),
                cwd=tempfile.gettempdir(),
                start_new_session=True,  # a group of its own, which `end` kills as a whole
            )
        except OSError as error:
            raise WorkerLost("dead") from error
        assert self.process.stdin and self.process.stdout, "both are pipes"
        self._input, self._output = self.process.stdin, self.process.stdout
        # A read that waits could not be given up at the deadline.
        os.set_blocking(self._output.fileno(), False)
        self._owner = os.getpid()
        self._buffer = b""
        self._num_jobs = 0

    @property
    def is_ours(self) -> bool:
        """Whether this process started it, and not the one that this was forked from."""
        return self._owner == os.getpid()

    # One job at a time, numbered: a late reply to an earlier job is rubbish, not an answer.
    def do(self, job: dict[str, Any], deadline: float) -> dict[str, Any]:
        """Have a job done and return the reply; raises `WorkerLost`."""
        self._num_jobs += 1
        line = json.dumps(job | {"id": self._num_jobs}).encode("ascii") + b"\n"
        try:
            os.write(self._input.fileno(), line)  # far smaller than what a pipe holds
        except OSError as error:
            raise WorkerLost("dead") from error
        return self.receive(deadline)

    def receive(self, deadline: float) -> dict[str, Any]:
        """Read the reply to the last job; raises `WorkerLost`: `silent`, `dead` or `rubbish`."""
        while b"\n" not in self._buffer:
            if len(self._buffer) > _MAX_LINE:
                raise WorkerLost("rubbish")
            wait = deadline - time.monotonic()
            if wait <= 0 or not _readable(self._output.fileno(), wait):
                raise WorkerLost("silent")
            chunk = os.read(self._output.fileno(), _MAX_LINE)
            if not chunk:
                raise WorkerLost("dead")
            self._buffer += chunk
        line, _, self._buffer = self._buffer.partition(b"\n")
        try:
            reply = json.loads(line)
        except ValueError as error:
            raise WorkerLost("rubbish") from error
        if not isinstance(reply, dict) or reply.get("id") != self._num_jobs or self._buffer:
            raise WorkerLost("rubbish")
        if not isinstance(reply.get("verdict"), str):
            raise WorkerLost("rubbish")
        return reply

    def end(self) -> None:
        """Kill the process and everything it started; of our parent's worker only let go."""
        if self.is_ours:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)
        # After a fork the pipes are open here, too: they are closed without a word to the worker.
        for pipe in (self._input, self._output):
            with contextlib.suppress(OSError):
                pipe.close()
        if self.is_ours:
            # Waited for, or each killed worker would stay a zombie until the run ends.
            self.process.wait()


class Slot:
    """Holds the worker apart from its verifier, so that it can be ended when that is gone.

    `is_broken` is a circuit breaker that outlives a batch: no worker could be kept alive, so the
    next batch tries once only.
    """

    def __init__(
        self, command: Sequence[str], counts: Counter[str], *, memory_mb: int, start_s: float
    ) -> None:
        self._command = command
        self._counts = counts
        self._memory_mb = memory_mb
        self._start_s = start_s
        self.worker: Worker | None = None
        self.is_broken = False

    def fill(self, deadline: float) -> Worker:
        """Return the running worker, started if there is none; raises `WorkerLost`."""
        if self.worker is None or not self.worker.is_ours:
            self.empty()
            self._counts["worker_starts"] += 1
            # On Linux a worker dies with the thread that started it, if that is what it asks for.
            tied = threading.current_thread() is threading.main_thread()
            self.worker = Worker(self.command_line(tied=tied))
            self.worker.receive(min(deadline, time.monotonic() + self._start_s))
        return self.worker

    def command_line(self, *, tied: bool = False) -> list[str]:
        """The program and the arguments that `worker.py` describes."""
        return [*self._command, str(os.getpid()), str(self._memory_mb), str(int(tied))]

    def lose(self) -> None:
        """Count a worker that is gone, and end what is left of it."""
        self.empty()
        self._counts["worker_losses"] += 1

    def trip(self) -> None:
        """Note that no worker lives long enough."""
        self._counts["breaker_trips"] += not self.is_broken
        self.is_broken = True

    def empty(self) -> None:
        """End the worker, if there is one."""
        worker, self.worker = self.worker, None
        if worker is not None:
            worker.end()


def _environment() -> dict[str, str]:
    """What the worker may know: where programs and packages are, no secrets, no devices."""
    return {name: os.environ[name] for name in _KEPT if name in os.environ} | {
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "PYTHONSAFEPATH": "1",
        "PYTHONHASHSEED": "0",
        "PYTHONINTMAXSTRDIGITS": "4300",
        "CUDA_VISIBLE_DEVICES": "",
        "OMP_NUM_THREADS": "1",
        # GMP does not let itself be interrupted.
        "SYMPY_GROUND_TYPES": "python",
        "MPMATH_NOGMPY": "1",
    }


def _readable(descriptor: int, wait: float) -> bool:
    # poll, not select: a training process may have more than 1,024 open files.
    poll = select.poll()
    poll.register(descriptor, select.POLLIN | select.POLLHUP)
    return bool(poll.poll(math.ceil(wait * 1000)))
