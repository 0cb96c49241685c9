"""The process that runs sympy and math-verify: jobs in, verdicts out, one JSON line each.

Started as `python -m serl_trl.answers.worker PARENT_PID MEMORY_MB TIED`, where `TIED` is 1 when the
kernel may end it with the thread that started it. A job is `{"id", "op", "limit"}` with `text` (op
`probe`) or `left` and `right` (op `same`); the reply is `{"id", "verdict", "leaving"}`, and after a
probe `values`. `limit` is processor time in seconds: under load a wall clock decides otherwise.
"""

import cmath
import contextlib
import ctypes
import json
import os
import resource
import signal
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

import math_verify
from latex2sympy2_extended.latex2sympy2 import _Latex2Sympy
from sympy import Expr
from sympy.core.cache import clear_cache
from sympy.core.parameters import global_parameters

from serl_trl.answers.math.algebra import place_of
from serl_trl.common.limits import limit_resources, refuse_access

_PR_SET_PDEATHSIG = 1
# Its annotations know no call without a limit.
_PARSE: Callable[..., list[Any]] = math_verify.parse
# Parsed answers that are kept: more than one batch compares.
_MAX_PARSED = 256


class OutOfTime(BaseException):
    """The job's limit is reached; no `except Exception` inside the libraries may swallow it."""


def main() -> None:
    """Serve jobs until standard input ends."""
    parent, memory_mb, tied = (int(argument) for argument in sys.argv[1:4])
    die_with(parent, tied=bool(tied))
    limit_resources(memory_mb)
    # Libraries may print; only replies may reach the parent.
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    read_whole(_Latex2Sympy)
    checker = Checker()
    # After the imports: what libraries do while they load is not the doing of an answer.
    sys.addaudithook(refuse_access)
    signal.signal(signal.SIGPROF, out_of_time)
    for reply in serve(checker, memory_mb):
        replies.write(json.dumps(reply) + "\n")
        replies.flush()


def serve(checker: "Checker", memory_mb: int) -> Iterator[dict[str, Any]]:
    """Give the replies to the jobs on standard input; the first says that the worker is ready."""
    yield {"id": 0, "verdict": "ready"}
    for line in sys.stdin:
        job = json.loads(line)
        reply = timed(checker, job)
        # A swollen process leaves, and the parent starts a fresh one when it needs it.
        leaving = reply["verdict"] == "memory" or used_mb() > memory_mb / 2
        yield reply | {"id": job["id"], "leaving": leaving}
        if leaving:
            return
        if reply["verdict"] == "timeout":
            checker.clear()


class Checker:
    """Parses answers once and compares them with math-verify, in both directions."""

    def __init__(self) -> None:
        self._parsed: OrderedDict[str, list[Any]] = OrderedDict()
        self._done: dict[str, Any] = {}
        # Its reader of plain text takes the last number it finds, so only that of LaTeX is used.
        self._config = [math_verify.LatexExtractionConfig()]
        # The first call compiles the grammar; no answer is to pay for that.
        self.same("\\frac{1}{2} x", "\\sin(x)")

    def probe(self, text: str) -> list[list[float]] | None:
        """Parse and evaluate one answer: what takes for ever alone must not spoil its pairs.

        Returns its approximate value at two points of its symbols, as [real, imaginary]; `None` for
        what has no such value.
        """
        first = next(iter(self._read(text)), None)
        if not isinstance(first, Expr):
            return None
        done = self._done[text] = first.doit()
        values = []
        for point in (1, 2):
            places = {name: place_of(str(name), point) for name in done.free_symbols}
            value = complex(done.evalf(subs=places))
            if not cmath.isfinite(value):
                return None
            values.append([value.real, value.imag])
        return values

    def same(self, left: str, right: str) -> bool:
        """Whether math-verify accepts the pair in either direction; it is not symmetric."""
        a, b = self._read(left), self._read(right)
        # What was worked out when each was tried alone need not be worked out again.
        if left in self._done and self._done[left] == self._done.get(right):
            return True
        # Its own limits are switched off: they use the wall clock and the same alarm signal.
        return any(math_verify.verify(*pair, timeout_seconds=None) for pair in ((a, b), (b, a)))

    def clear(self) -> None:
        """Forget everything an interrupted job may have left half done."""
        self._parsed.clear()
        self._done.clear()
        clear_cache()
        global_parameters.evaluate = True

    def _read(self, text: str) -> list[Any]:
        if text not in self._parsed:
            self._parsed[text] = _PARSE(
                f"\\boxed{{{text}}}",
                self._config,
                fallback_mode="no_fallback",
                parsing_timeout=None,
            )
            if len(self._parsed) > _MAX_PARSED:
                oldest, _ = self._parsed.popitem(last=False)
                self._done.pop(oldest, None)
        self._parsed.move_to_end(text)
        return self._parsed[text]


def read_whole(reader: Any) -> None:
    """Make the LaTeX reader fail where it would stop before the end of a text.

    Its grammar does not ask for the end, so that `5 \\to 6` would be read as 5.
    """
    # math-verify makes its own reader inside, so the class is changed and not an object.
    create, parse = reader.create_parser, reader.parse

    def keeping(self: Any, text: str) -> Any:
        self.whole = create(self, text)
        return self.whole

    def whole(self: Any, text: str) -> Any:
        result = parse(self, text)
        # -1 is the end of the text in ANTLR, which made the grammar.
        if self.whole.getCurrentToken().type != -1:
            raise ValueError(f"{text!r} goes on after what was read")
        return result

    reader.create_parser, reader.parse = keeping, whole


def timed(checker: Checker, job: dict[str, Any]) -> dict[str, Any]:
    """Run a job within its limit; every failure of the libraries becomes a verdict."""
    try:
        try:
            # Fires again and again: a first exception may get lost in a destructor.
            signal.setitimer(signal.ITIMER_PROF, job["limit"], 0.05)
            if job["op"] == "probe":
                return {"verdict": "passed", "values": checker.probe(job["text"])}
            return {"verdict": "equal" if checker.same(job["left"], job["right"]) else "unequal"}
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
    except OutOfTime:
        return {"verdict": "timeout"}
    except MemoryError:
        return {"verdict": "memory"}
    except Exception:  # noqa: BLE001 - the libraries raise whatever they like on malformed text
        if job["op"] == "probe":
            return {"verdict": "passed", "values": None}
        return {"verdict": "error"}


def out_of_time(number: int, frame: object) -> None:
    """Signal handler of the job's limit."""
    raise OutOfTime


def die_with(parent: int, *, tied: bool) -> None:
    """Have the kernel end this process when its parent dies; otherwise the end of input does."""
    if tied and sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit()


def used_mb() -> float:
    """Largest memory this program has held, in MB."""
    # Linux hands ru_maxrss down from a parent, and that of a trainer is gigabytes.
    with contextlib.suppress(OSError, IndexError), open("/proc/self/status", "rb") as status:
        return int(status.read().partition(b"VmHWM:")[2].split()[0]) / 2**10
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


if __name__ == "__main__":
    main()
