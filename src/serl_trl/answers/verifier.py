"""math-verify behind a process that can be killed: batches of pairs in, verdicts out, remembered.

Everything that touches sympy runs in `worker.py`. Nothing an answer does can hang or crash this
process: jobs have limits in the worker, and a deadline in `tries.py` that ends in SIGKILL.
"""

import contextlib
import logging
import math
import re
import shlex
import sys
import threading
import weakref
from collections import Counter, OrderedDict
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

from serl_trl.answers.process import Slot
from serl_trl.answers.tries import MAX_LOSSES_IN_A_ROW, Batch, Limits, Pair

logger = logging.getLogger(__name__)

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
_ANSWERS_PER_DEADLINE = 64
# Verdicts worth remembering: they would come out alike, or cost the same time again. Pairs that
# were never tried (`deadline`, `skipped`) get another chance.
_LASTING = frozenset({"equal", "unequal", "timeout", "error", "memory", "crash"})
_VERDICTS = (
    *("equal", "unequal", "refused", "error", "timeout"),
    *("memory", "crash", "deadline", "skipped"),
)
_TROUBLE = ("worker_losses", "breaker_trips")
OUTCOMES = (*_VERDICTS, *_TROUBLE)
"""What a vote reports of the verifier: how many pairs ended how, and trouble with the worker."""


def worth_checking(text: str) -> bool:
    """Whether an answer is small enough for sympy; decided by its text alone."""
    if len(text) > _MAX_CHARS or _ABSURD.search(text):
        return False
    if text.count(",") + text.count("\\cup") + text.count("&") > _MAX_SEPARATORS:
        return False
    # Parsers recurse for each bracket.
    depth = deepest = 0
    for sign in text:
        depth += (sign in "({[") - (sign in ")}]")
        deepest = max(deepest, depth)
    return deepest <= _MAX_NESTING


@dataclass(kw_only=True, eq=False)
class Verifier:
    """Decides pairs of answers by math-verify in a worker process, and remembers the verdicts.

    The worker starts when it is first needed and ends with this object, with the interpreter, or
    with a killed parent. Safe to use from several threads; a forked child starts its own worker.

    `answer_s` is processor time for one answer or pair, `batch_s` wall time for 64 answers.
    `patience_s` is the wall time beyond its limit after which a silent worker is ended. `start_s`
    bounds the start of the worker, `memory_mb` its address space, `cache_size` the remembered
    pairs. `command` is the worker program.
    """

    answer_s: float = 1.0
    batch_s: float = 10.0
    patience_s: float = 2.0
    start_s: float = 60.0
    memory_mb: int = 1024
    cache_size: int = 16_384
    command: Sequence[str] = (sys.executable, "-m", "serl_trl.answers.worker")

    def __post_init__(self) -> None:
        """Start nothing yet."""
        self._verdicts: OrderedDict[Pair, str] = OrderedDict()
        # What was worked out once, and what came out for who asked, remembered or not.
        self._counts: Counter[str] = Counter()
        self._outcomes: Counter[str] = Counter()
        self._lock = threading.RLock()
        self._slot = Slot(
            self.command, self._counts, memory_mb=self.memory_mb, start_s=self.start_s
        )
        self._warned = False
        # Not `__del__`: this runs at the end of the interpreter too, while modules are whole.
        weakref.finalize(self, self._slot.empty)

    def same(self, pairs: Sequence[Pair]) -> list[bool]:
        """Whether math-verify holds the two answers of each pair equal, in either order.

        A pair that is refused, times out or cannot be decided counts as different; `stats` says how
        many did.
        """
        ordered = [(min(pair), max(pair)) for pair in pairs]
        with self._lock:
            # Sorted: which pair meets the deadline must not depend on the order of completions.
            known = {pair: self._recall(pair) for pair in sorted(set(ordered))}
            unknown = [pair for pair, verdict in known.items() if not verdict]
            if unknown:
                fresh = self._decide(unknown)
                known |= fresh
                self._counts.update(fresh.values())
                self._verdicts.update((p, v) for p, v in fresh.items() if v in _LASTING)
                self._trim()
            self._outcomes.update(v for pair, v in known.items() if pair[0] != pair[1])
            return [known[pair] == "equal" for pair in ordered]

    def longest_s(self, num_answers: int) -> float:
        """The longest that `same` takes for pairs of so many different answers, in seconds."""
        return MAX_LOSSES_IN_A_ROW * self.start_s + self._batch_seconds(num_answers)

    def stats(self) -> dict[str, int]:
        """How many pairs got which verdict since the start, and what happened to the worker.

        `timeout`, `deadline` (never tried) and `skipped` (worker out of order) depended on the
        clock or the machine; `cached` and `refused` never reached the worker.
        """
        return {name: self._counts[name] for name in ("cached", "worker_starts", *OUTCOMES)}

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
            counts = Counter(state["counts"])
            self._counts.clear()  # the slot counts in it, too
            self._counts.update(counts)
            self._trim()

    def close(self) -> None:
        """End the worker; the next call starts another."""
        with self._lock:
            self._slot.empty()

    def __enter__(self) -> "Verifier":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _recall(self, pair: Pair) -> str:
        """The verdict of a pair that needs no worker; empty for the others."""
        if pair[0] == pair[1]:
            return "equal"
        if pair in self._verdicts:
            # The pairs that are asked for again are the last to be forgotten.
            self._verdicts.move_to_end(pair)
            self._counts["cached"] += 1
            return self._verdicts[pair]
        if all(map(worth_checking, pair)):
            return ""
        self._counts["refused"] += 1
        return "refused"

    def _decide(self, pairs: list[Pair]) -> dict[Pair, str]:
        seconds = self._batch_seconds(len({text for pair in pairs for text in pair}))
        limits = Limits(self.answer_s, self.patience_s, seconds)
        verdicts = Batch(self._slot, limits, pairs).settle()
        if set(verdicts.values()) == {"skipped"} and not self._warned:
            self._warned = True
            logger.warning(
                "The worker that compares answers does not start, so that answers written in "
                "different ways count as different, now and until it does (counted in "
                "serl/verifier/num_skipped). To see why, run: %s",
                shlex.join(self._slot.command_line()),
            )
        return verdicts

    def _batch_seconds(self, num_answers: int) -> float:
        return self.batch_s * math.ceil(num_answers / _ANSWERS_PER_DEADLINE)

    def _trim(self) -> None:
        while len(self._verdicts) > self.cache_size:
            self._verdicts.popitem(last=False)

    def _totals(self) -> dict[str, int]:
        return {
            name: (self._counts if name in _TROUBLE else self._outcomes)[name] for name in OUTCOMES
        }
