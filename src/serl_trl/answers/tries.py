"""One call's pairs of answers on their way through the worker, within a deadline."""

import math
import re
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

from serl_trl.answers.process import Slot, WorkerLost

Pair = tuple[str, str]

# One worker may die of one answer. Where several die in a row the machine is to blame, and each
# start of another takes a second.
_MAX_LOSSES = 8
MAX_LOSSES_IN_A_ROW = 3
# An answer whose pairs timed out so often waits for the second round.
_MAX_STRIKES = 3
# Shares of an answer's time: for its first try, and for its second. An answer may need both, and
# another first try in its pair.
_SLICE, _REST = 0.2, 0.5
# Wall time per second of processor time: other processes want to run, too.
_SHARED = 4.0
# Share of a batch's time for its jobs; the rest is for ending a worker that does not answer.
_WORKING_SHARE = 0.9
_COMPUTATION = re.compile(r"\\(?:i*nt|sum|prod|lim|det|gcd|frac \{ d)|\d{3}|\d\s*!")


@dataclass(frozen=True)
class Limits:
    """Seconds: processor time of an answer, patience beyond it, wall time of the batch."""

    answer_s: float
    patience_s: float
    batch_s: float


class Batch:
    """Decides pairs, cheap work first.

    Every answer and every pair gets a slice of its time, short ones before long ones, and only what
    is left then gets the rest. So an expensive answer cannot take the time of the others.
    """

    def __init__(self, slot: Slot, limits: Limits, pairs: list[Pair]) -> None:
        self._slot = slot
        self._limits = limits
        self._pairs = sorted(pairs, key=_costs)
        self._verdicts: dict[Pair, str] = {}
        self._cut: set[Pair] = set()
        # An answer was not tried in time (""), took too long, passed, or passed late.
        self._probes: dict[str, str] = {}
        self._values: dict[str, list[complex]] = {}
        self._strikes: Counter[str] = Counter()
        self._losses = 0
        self._losses_in_a_row = 0
        self._deadline = math.inf

    def settle(self) -> dict[Pair, str]:
        """Decide every pair, one way or another, before the deadline."""
        if not self._reach_worker():
            return dict.fromkeys(self._pairs, "skipped")
        # The worker reads its libraries first, perhaps from a cold disk: not the answers' time.
        self._deadline = time.monotonic() + _WORKING_SHARE * self._limits.batch_s
        late = [pair for pair in self._pairs if not self._try(pair)]
        for pair in sorted(late, key=self._trouble):
            self._try(pair, again=True)
        for pair in self._cut:
            self._verdicts.setdefault(pair, "timeout")
        untried = "skipped" if self._broken else "deadline"
        return {pair: self._verdicts.get(pair, untried) for pair in self._pairs}

    @property
    def _broken(self) -> bool:
        """The circuit breaker: workers die again and again, so no more are started in this call."""
        return self._losses >= _MAX_LOSSES or self._losses_in_a_row >= MAX_LOSSES_IN_A_ROW

    def _reach_worker(self) -> bool:
        """Make sure that a worker runs; after a broken call there is one try only."""
        if self._slot.is_broken:
            self._losses_in_a_row = MAX_LOSSES_IN_A_ROW - 1
        while not self._broken:
            try:
                self._slot.fill(math.inf)
            except WorkerLost:
                self._lose()
            else:
                self._slot.is_broken = False
                return True
        return False

    def _try(self, pair: Pair, *, again: bool = False) -> bool:
        """Probe both answers and compare them within a share of time; whether that settled it."""
        for text in pair:
            is_due = text not in self._probes or (again and self._probes[text] == "timeout")
            if is_due and pair not in self._verdicts:
                self._probe(text, again=again)
        if pair in self._verdicts:
            return True
        passed = all(self._probes[text] == "passed" for text in pair)
        if not again and not (passed and max(self._strikes[t] for t in pair) < _MAX_STRIKES):
            return False
        share = _REST if again and passed else _SLICE
        verdict = "unequal" if self._far_apart(pair) else self._compare(pair, share)
        if verdict == "timeout" and not again:
            self._strikes.update(pair)
            self._cut.add(pair)
            return False
        if verdict:
            self._verdicts[pair] = _final(verdict)
        # Of two answers that time out together, the one that also timed out with others is to
        # blame.
        left, right = (self._strikes[text] for text in pair)
        if verdict == "timeout" and left != right:
            self._fail(pair[left < right], "timeout")  # the answer that keeps timing out
        return bool(verdict)

    def _trouble(self, pair: Pair) -> tuple[Any, ...]:
        """Sorts the pairs left: those whose answers caused no other timeout come first."""
        slow = sum(self._probes[text] != "passed" for text in pair)
        return slow, sum(self._strikes[text] for text in pair), _costs(pair)

    def _probe(self, text: str, *, again: bool) -> None:
        """Parse and evaluate one answer alone, so that it cannot spoil its pairs."""
        reply = self._ask({"op": "probe", "text": text}, _REST if again else _SLICE)
        verdict = reply["verdict"]
        self._probes[text] = verdict or self._probes.get(text, "")
        if (values := _values(reply)) is not None:
            self._values[text] = values
        if verdict == "passed" and again:
            self._probes[text] = "late"  # its time is used up but for a first try of its pairs
        elif verdict not in ("passed", "timeout", "") or (again and verdict != "passed"):
            self._fail(text, _final(verdict) or "timeout")

    def _far_apart(self, pair: Pair) -> bool:
        """Whether two answers differ by more than any rounding, somewhere; spares a comparison."""
        left, right = (self._values.get(text, []) for text in pair)
        return any(
            abs(a - b) > 1e-6 * max(1.0, abs(a), abs(b)) for a, b in zip(left, right, strict=False)
        )

    def _compare(self, pair: Pair, share: float) -> str:
        return self._ask({"op": "same", "left": pair[0], "right": pair[1]}, share)["verdict"]

    def _fail(self, text: str, verdict: str) -> None:
        """Settle every open pair of an answer."""
        for pair in self._pairs:
            if text in pair:
                self._verdicts.setdefault(pair, verdict)

    def _ask(self, job: dict[str, Any], share: float) -> dict[str, Any]:
        """Have the worker do one job; the verdict is empty without time or a worker left.

        A job that costs a worker is tried once more in a fresh one: the fault may not be its own.
        After that it is `hung` or a `crash`, and not tried again.
        """
        verdict, limit = "", share * self._limits.answer_s
        for _ in range(2):
            if self._broken or time.monotonic() >= self._deadline:
                return {"verdict": ""}
            try:
                worker = self._slot.fill(self._deadline)
                # Processor time is bounded in the worker; this is for what cannot be interrupted.
                patience = time.monotonic() + self._limits.patience_s + _SHARED * limit
                reply = worker.do(job | {"limit": limit}, min(patience, self._deadline))
            except WorkerLost as loss:
                verdict = "hung" if str(loss) == "silent" else "crash"
                self._lose()
            else:
                self._losses_in_a_row = 0
                if reply.get("leaving"):
                    self._slot.empty()
                return reply
        return {"verdict": verdict}

    def _lose(self) -> None:
        """Count a worker that is gone, and trip the breaker when it was one too many."""
        self._slot.lose()
        self._losses += 1
        self._losses_in_a_row += 1
        if self._broken:
            self._slot.trip()


def _final(verdict: str) -> str:
    return "timeout" if verdict == "hung" else verdict


def _values(reply: dict[str, Any]) -> list[complex] | None:
    """The two values of a probe, if there are any."""
    try:
        (a, b), (c, d) = reply["values"]
        return [complex(float(a), float(b)), complex(float(c), float(d))]
    except (KeyError, TypeError, ValueError):
        return None


def _costs(pair: Pair) -> tuple[tuple[bool, int, str], Pair]:
    """Sorts pairs by what they may cost: those that ask for a computation come last."""
    return max((bool(_COMPUTATION.search(text)), len(text), text) for text in pair), pair
