"""math-verify behind a process that can be killed: batches of pairs in, verdicts out, remembered.

Everything that touches sympy runs in `verify_worker.py`. Nothing an answer does can hang or crash
this process: jobs have limits in the worker, and a deadline here that ends in SIGKILL.
"""

import contextlib
import json
import logging
import math
import os
import re
import select
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections import Counter, OrderedDict
from collections.abc import Generator, Sequence
from typing import Any

logger = logging.getLogger(__name__)

Pair = tuple[str, str]

# What may be sent to the worker at all; anything beyond is never somebody's honest final answer.
_MAX_CHARS = 256
_MAX_NESTING = 20
_MAX_SEPARATORS = 64
_ABSURD = re.compile(
    r"\d{65}"  # a number of more than 64 digits
    r"|\^[\s{(-]*\d{5}"  # an exponent of more than 4 digits
    r"|\^[\s{(-]*\d+[\s)}]*\^"  # a tower of numbers
    r"|\d{4}[\s)}]*!"  # a factorial of more than 3 digits
    r"|![\s)}\]]*!"  # a factorial of a factorial
    r"|\\binom[\s{(]*(?:\d{5}|\d+\s*\^)"
)

_COMPUTATION = re.compile(r"\\(?:i*nt|sum|prod|lim|det|gcd|frac \{ d)|\d{3}|\d\s*!")

_ENVIRONMENT = ("PATH", "HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "TMPDIR")
_MAX_LINE = 1 << 16
_ANSWERS_PER_DEADLINE = 64
_MAX_LOSSES = 8
_MAX_LOSSES_IN_A_ROW = 3
_MAX_STRIKES = 3
# Shares of an answer's time: for its first try, and for its second. An answer may need both, and
# another first try in its pair.
_SLICE, _REST = 0.2, 0.5
# Wall time per second of processor time: other processes want to run, too.
_SHARED = 4.0
# Share of a batch's time for its jobs; the rest is for ending a worker that does not answer.
_WORKING_SHARE = 0.9
# Verdicts worth remembering: they would come out alike, or cost the same time again. Pairs that
# were never tried (`deadline`, `skipped`) get another chance.
_LASTING = frozenset({"equal", "unequal", "timeout", "error", "memory", "crash"})


def worth_checking(text: str) -> bool:
    """Whether an answer is small enough for sympy; decided by its text alone."""
    if len(text) > _MAX_CHARS or _ABSURD.search(text):
        return False
    if text.count(",") + text.count("\\cup") + text.count("&") > _MAX_SEPARATORS:
        return False
    depth = deepest = 0
    for sign in text:
        depth += (sign in "({[") - (sign in ")}]")
        deepest = max(deepest, depth)
    return deepest <= _MAX_NESTING


_FINAL = {"hung": "timeout"}
_COUNTED = (
    *("equal", "unequal", "error", "timeout", "deadline", "memory", "crash", "skipped"),
    *("cached", "refused", "worker_starts", "worker_losses", "breaker_trips"),
)
OUTCOMES = (
    *("equal", "unequal", "refused", "error", "timeout", "memory", "crash", "deadline", "skipped"),
    *("worker_losses", "breaker_trips"),
)
"""What a vote reports of the verifier: how many pairs ended how, and trouble with the worker."""


class WorkerLost(Exception):
    """The worker died, sent rubbish or did not answer in time; the message says which."""


class Verifier:
    """Decides pairs of answers by math-verify in a worker process, and remembers the verdicts.

    The worker starts when it is first needed and ends with this object, with the interpreter, or
    with a killed parent. Safe to use from several threads; a forked child starts its own worker.
    """

    def __init__(
        self,
        *,
        answer_s: float = 1.0,
        batch_s: float = 10.0,
        patience_s: float = 2.0,
        start_s: float = 60.0,
        memory_mb: int = 1024,
        cache_size: int = 16_384,
        command: Sequence[str] | None = None,
    ) -> None:
        """`answer_s` is processor time for one answer or pair, `batch_s` wall time for 64 answers.

        `patience_s` is the wall time beyond its limit after which a silent worker is ended.
        `start_s` bounds the start of the worker, `memory_mb` its address space, `cache_size` the
        remembered pairs. `command` replaces the worker program.
        """
        self.answer_s = answer_s
        self.batch_s = batch_s
        self.patience_s = patience_s
        self.start_s = start_s
        self.memory_mb = memory_mb
        self.cache_size = cache_size
        self._command = list(command or (sys.executable, "-m", "serl_trl.answers.worker"))
        self._verdicts: OrderedDict[Pair, str] = OrderedDict()
        self._counts: Counter[str] = Counter()
        self._outcomes: Counter[str] = Counter()
        self._lock = threading.RLock()
        self._slot = _Slot()
        self._broken = False
        self._is_cold = True
        self._warned = False
        weakref.finalize(self, self._slot.clear)

    def same(self, pairs: Sequence[Pair]) -> list[bool]:
        """Whether math-verify holds the two answers of each pair equal, in either order.

        A pair that is refused, times out or cannot be decided counts as different; `stats` says how
        many did.
        """
        ordered = [(min(pair), max(pair)) for pair in pairs]
        with self._lock:
            known: dict[Pair, str] = {}
            for pair in sorted(set(ordered)):
                if pair[0] == pair[1]:
                    known[pair] = "equal"
                elif pair in self._verdicts:
                    self._verdicts.move_to_end(pair)
                    known[pair] = self._verdicts[pair]
                    self._counts["cached"] += 1
                elif not (worth_checking(pair[0]) and worth_checking(pair[1])):
                    known[pair] = "refused"
                    self._counts["refused"] += 1
            unknown = [pair for pair in sorted(set(ordered)) if pair not in known]
            if unknown:
                fresh = _Batch(self, unknown).settle()
                known |= fresh
                self._counts.update(fresh.values())
                self._remember(fresh)
            self._outcomes.update(v for pair, v in known.items() if pair[0] != pair[1])
            return [known[pair] == "equal" for pair in ordered]

    def longest_s(self, num_answers: int) -> float:
        """The longest that `same` takes for pairs of so many different answers, in seconds."""
        return _MAX_LOSSES_IN_A_ROW * self.start_s + self._batch_seconds(num_answers)

    def _batch_seconds(self, num_answers: int) -> float:
        return self.batch_s * math.ceil(num_answers / _ANSWERS_PER_DEADLINE)

    def stats(self) -> dict[str, int]:
        """How many pairs got which verdict since the start, and what happened to the worker.

        `timeout`, `deadline` (never tried) and `skipped` (worker out of order) depended on the
        clock or the machine; `cached` and `refused` never reached the worker.
        """
        return {name: self._counts[name] for name in _COUNTED}

    @contextlib.contextmanager
    def counting(self) -> Generator[dict[str, int]]:
        """Give a dict that holds, after the block, what was counted in it under `OUTCOMES`.

        Each call of `same` counts its different pairs, those with a remembered verdict too, so that
        a resumed run counts alike.
        """
        counted: dict[str, int] = {}
        before = self._totals()
        yield counted
        counted.update({name: total - before[name] for name, total in self._totals().items()})

    def _totals(self) -> dict[str, int]:
        worker = {name: self._counts[name] for name in ("worker_losses", "breaker_trips")}
        return {name: self._outcomes[name] for name in OUTCOMES} | worker

    def state_dict(self) -> dict[str, Any]:
        """Verdicts and counters, as JSON can hold them; a resumed run then decides alike."""
        with self._lock:
            verdicts = [[*pair, verdict] for pair, verdict in self._verdicts.items()]
            return {"verdicts": verdicts, "counts": dict(self._counts)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `state_dict` returned."""
        with self._lock:
            self._verdicts = OrderedDict(
                ((left, right), verdict) for left, right, verdict in state["verdicts"]
            )
            self._counts = Counter(state["counts"])
            self._trim()

    def close(self) -> None:
        """End the worker; the next call starts another."""
        with self._lock:
            self._slot.clear()

    def __enter__(self) -> "Verifier":
        """Nothing starts before it is needed."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the worker."""
        self.close()

    def _remember(self, fresh: dict[Pair, str]) -> None:
        self._verdicts.update((p, verdict) for p, verdict in fresh.items() if verdict in _LASTING)
        self._trim()

    def _trim(self) -> None:
        while len(self._verdicts) > self.cache_size:
            self._verdicts.popitem(last=False)

    def _worker(self, deadline: float) -> "_Worker":
        """The running worker, started if there is none; raises `WorkerLost`."""
        if self._slot.worker is None or self._slot.owner != os.getpid():
            self._slot.forget()
            self._counts["worker_starts"] += 1
            # On Linux a worker dies with the thread that started it, if that is what it asks for.
            tied = threading.current_thread() is threading.main_thread()
            arguments = (os.getpid(), self.memory_mb, int(tied))
            worker = _Worker([*self._command, *map(str, arguments)])
            self._slot.set(worker)
            worker.receive(0, min(deadline, time.monotonic() + self.start_s))
        assert self._slot.worker is not None, "the slot was filled above"
        return self._slot.worker

    def _warn_of_no_worker(self) -> None:
        if not self._warned:
            self._warned = True
            logger.warning(
                "The worker that compares answers does not start, so that answers written in "
                "different ways count as different, now and until it does (counted in "
                "serl/verifier/num_skipped). To see why, run: %s %d %d 0",
                shlex.join(self._command),
                os.getpid(),
                self.memory_mb,
            )

    def _lose_worker(self) -> None:
        self._slot.clear()
        self._counts["worker_losses"] += 1


class _Batch:
    """One call's pairs on their way through the worker.

    Cheap work goes first: every answer and every pair gets a slice of its time, short ones before
    long ones, and only what is left then gets the rest. So an expensive answer cannot take the time
    of the others.
    """

    def __init__(self, verifier: Verifier, pairs: list[Pair]) -> None:
        self.verifier = verifier
        self.pairs = sorted(pairs, key=_costs)
        self.verdicts: dict[Pair, str] = {}
        self.probes: dict[str, str] = {}
        self.values: dict[str, list[complex] | None] = {}
        self.reply: dict[str, Any] = {}
        self.strikes: Counter[str] = Counter()
        self.cut: set[Pair] = set()
        self.losses = 0
        self.losses_in_a_row = 0
        self.next_id = 1
        self.deadline = math.inf

    def settle(self) -> dict[Pair, str]:
        """Decide every pair, one way or another, before the deadline."""
        num_texts = len({text for pair in self.pairs for text in pair})
        seconds = self.verifier._batch_seconds(num_texts)
        begin = time.monotonic()
        if not self.reach_worker():
            return dict.fromkeys(self.pairs, "skipped")
        if self.verifier._is_cold:
            # The libraries are read from a cold disk once; the time for that is not the answers'.
            self.verifier._is_cold = False
            begin = time.monotonic()
        self.deadline = begin + _WORKING_SHARE * seconds
        late = [pair for pair in self.pairs if not self.try_first(pair)]
        late.sort(key=self.trouble)
        for pair in late:
            self.try_again(pair)
        for pair in self.cut:
            self.verdicts.setdefault(pair, "timeout")
        untried = "skipped" if self.broken else "deadline"
        return {pair: self.verdicts.get(pair, untried) for pair in self.pairs}

    @property
    def broken(self) -> bool:
        """The circuit breaker: workers die again and again, so no more are started in this call."""
        return self.losses >= _MAX_LOSSES or self.losses_in_a_row >= _MAX_LOSSES_IN_A_ROW

    def reach_worker(self) -> bool:
        """Make sure that a worker runs; after a broken call there is one try only."""
        if self.verifier._broken:
            self.losses_in_a_row = _MAX_LOSSES_IN_A_ROW - 1
        while not self.broken:
            try:
                self.verifier._worker(math.inf)
            except WorkerLost:
                self.lose()
            else:
                self.verifier._broken = False
                return True
        self.verifier._warn_of_no_worker()
        return False

    def try_first(self, pair: Pair) -> bool:
        """Probe both answers and compare them within a slice of time; whether that settled it."""
        limit = _SLICE * self.verifier.answer_s
        for text in pair:
            if text not in self.probes:
                self.probe(text, limit)
        if pair in self.verdicts:
            return True
        tired = max(self.strikes[text] for text in pair) >= _MAX_STRIKES
        if tired or any(self.probes[text] != "passed" for text in pair):
            return False
        if self.far_apart(pair):
            return self.settle_pair(pair, "unequal")
        verdict = self.compare(pair, limit)
        if verdict == "timeout":
            self.strikes.update(pair)
            self.cut.add(pair)
            return False
        return self.settle_pair(pair, verdict)

    def trouble(self, pair: Pair) -> tuple[Any, ...]:
        """Sorts the pairs left: those whose answers caused no other timeout come first."""
        slow = sum(self.probes[text] != "passed" for text in pair)
        return slow, sum(self.strikes[text] for text in pair), _costs(pair)

    def try_again(self, pair: Pair) -> None:
        """Use the rest of the time; an answer that keeps timing out is given up."""
        first, rest = (share * self.verifier.answer_s for share in (_SLICE, _REST))
        slow = [text for text in pair if self.probes[text] != "passed"]
        for text in slow:
            if pair not in self.verdicts and self.probes[text] == "timeout":
                self.probe(text, rest)
                if self.probes[text] == "timeout":
                    self.fail(text, "timeout")
                elif self.probes[text] == "passed":
                    self.probes[text] = "late"  # its time is used up but for a first try
        if pair in self.verdicts:
            return
        if self.far_apart(pair):
            self.settle_pair(pair, "unequal")
            return
        verdict = self.compare(pair, first if slow else rest)
        self.settle_pair(pair, verdict)
        left, right = (self.strikes[text] for text in pair)
        if verdict == "timeout" and left != right:
            self.fail(pair[left < right], "timeout")

    def probe(self, text: str, limit: float) -> None:
        """Parse and evaluate one answer alone, so that it cannot spoil its pairs."""
        verdict = self.ask({"op": "probe", "text": text}, limit)
        self.probes[text] = verdict or self.probes.get(text, "")
        self.values[text] = _values(self.reply)
        if verdict not in ("passed", "timeout", ""):
            self.fail(text, _FINAL.get(verdict, verdict))

    def far_apart(self, pair: Pair) -> bool:
        """Whether two answers differ by more than any rounding, somewhere; spares a comparison."""
        left, right = (self.values[text] for text in pair)
        if left is None or right is None:
            return False
        return any(
            abs(a - b) > 1e-6 * max(1.0, abs(a), abs(b)) for a, b in zip(left, right, strict=True)
        )

    def compare(self, pair: Pair, limit: float) -> str:
        """Compare two answers; empty when there is no time or no worker left."""
        return self.ask({"op": "same", "left": pair[0], "right": pair[1]}, limit)

    def settle_pair(self, pair: Pair, verdict: str) -> bool:
        """Note a verdict, if there is one."""
        if verdict:
            self.verdicts[pair] = _FINAL.get(verdict, verdict)
        return bool(verdict)

    def fail(self, text: str, verdict: str) -> None:
        """Settle every open pair of an answer."""
        for pair in self.pairs:
            if pair not in self.verdicts and text in pair:
                self.verdicts[pair] = verdict

    def ask(self, job: dict[str, Any], limit: float) -> str:
        """Have the worker do one job; empty when there is no time or no worker left.

        A job that costs a worker is tried once more in a fresh one: the fault may not be its own.
        After that it is `hung` or a `crash`, and not tried again.
        """
        verdict, self.reply = "", {}
        for _ in range(2):
            if self.broken or time.monotonic() >= self.deadline:
                return ""
            try:
                worker = self.verifier._worker(self.deadline)
                self.next_id += 1
                # Processor time is bounded in the worker; this is for what cannot be interrupted.
                patience = time.monotonic() + self.verifier.patience_s + _SHARED * limit
                worker.send(job | {"id": self.next_id, "limit": limit})
                self.reply = worker.receive(self.next_id, min(patience, self.deadline))
                verdict = self.reply["verdict"]
            except WorkerLost as loss:
                verdict = "hung" if str(loss) == "silent" else "crash"
                self.lose()
            else:
                self.losses_in_a_row = 0
                if worker.leaving:
                    self.verifier.close()
                return verdict
        return verdict

    def lose(self) -> None:
        """Count a worker that is gone, and trip the breaker when it was one too many."""
        self.verifier._lose_worker()
        self.losses += 1
        self.losses_in_a_row += 1
        if self.broken and not self.verifier._broken:
            self.verifier._broken = True
            self.verifier._counts["breaker_trips"] += 1


class _Worker:
    """The process and its pipes; one job at a time."""

    def __init__(self, command: list[str]) -> None:
        try:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=_environment(),
                cwd=tempfile.gettempdir(),
                start_new_session=True,
            )
        except OSError as error:
            raise WorkerLost("dead") from error
        assert self.process.stdin and self.process.stdout, "both are pipes"
        self._input, self._output = self.process.stdin.fileno(), self.process.stdout.fileno()
        os.set_blocking(self._output, False)
        self._buffer = b""
        self.leaving = False

    def send(self, job: dict[str, Any]) -> None:
        """Write one job; it is far smaller than what a pipe holds."""
        line = json.dumps(job).encode("ascii") + b"\n"
        try:
            os.write(self._input, line)
        except OSError as error:
            raise WorkerLost("dead") from error

    def receive(self, job_id: int, deadline: float) -> dict[str, Any]:
        """Read the reply to a job; raises `WorkerLost` with `silent`, `dead` or `rubbish`."""
        while b"\n" not in self._buffer:
            if len(self._buffer) > _MAX_LINE:
                raise WorkerLost("rubbish")
            wait = deadline - time.monotonic()
            if wait <= 0 or not _readable(self._output, wait):
                raise WorkerLost("silent")
            try:
                chunk = os.read(self._output, _MAX_LINE)
            except BlockingIOError:
                continue
            if not chunk:
                raise WorkerLost("dead")
            self._buffer += chunk
        line, _, self._buffer = self._buffer.partition(b"\n")
        try:
            reply = json.loads(line)
        except ValueError as error:
            raise WorkerLost("rubbish") from error
        if not isinstance(reply, dict) or reply.get("id") != job_id or self._buffer:
            raise WorkerLost("rubbish")
        if not isinstance(reply.get("verdict"), str):
            raise WorkerLost("rubbish")
        self.leaving = bool(reply.get("leaving"))
        return reply

    def kill(self) -> None:
        """End the process and everything it started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.close_pipes()
        self.process.wait()

    def close_pipes(self) -> None:
        """Close our ends."""
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()


class _Slot:
    """Holds the worker apart from its verifier, so that it can be ended when that is gone."""

    def __init__(self) -> None:
        self.worker: _Worker | None = None
        self.owner = 0

    def set(self, worker: _Worker) -> None:
        """Take over a worker of this process."""
        self.worker, self.owner = worker, os.getpid()

    def forget(self) -> None:
        """Let go of a worker that belongs to the process this one was forked from."""
        if self.worker is not None and self.owner != os.getpid():
            self.worker.close_pipes()
            self.worker = None

    def clear(self) -> None:
        """End the worker, if it is ours."""
        self.forget()
        if self.worker is not None:
            self.worker.kill()
            self.worker = None


def _environment() -> dict[str, str]:
    """What the worker may know: where programs and packages are, no secrets, no devices."""
    kept = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    return kept | {
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


def _values(reply: dict[str, Any]) -> list[complex] | None:
    """The two values of a probe, if there are any."""
    try:
        (a, b), (c, d) = reply["values"]
        return [complex(float(a), float(b)), complex(float(c), float(d))]
    except (KeyError, TypeError, ValueError):
        return None


def _cost(text: str) -> tuple[bool, int, str]:
    """Sorts answers by what they may cost: those that ask for a computation come last."""
    return bool(_COMPUTATION.search(text)), len(text), text


def _costs(pair: Pair) -> tuple[tuple[bool, int, str], Pair]:
    return max(_cost(pair[0]), _cost(pair[1])), pair


def _readable(descriptor: int, wait: float) -> bool:
    # poll, not select: a training process may have more than 1,024 open files.
    poll = select.poll()
    poll.register(descriptor, select.POLLIN | select.POLLHUP)
    return bool(poll.poll(math.ceil(wait * 1000)))
