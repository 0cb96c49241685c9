"""Texts that a degenerate model may write, and how the time of a reader grows with their length."""

import ast
import contextlib
import functools
import importlib
import inspect
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from serl_trl.answers.kinds.mathematics import MathKind

PACKAGE = Path(__file__).parents[2] / "src" / "serl_trl"

Reader = Callable[[str], Any]

# Some readers stop at 600 characters: what explodes below that must be found, too.
SHORT, LOW, MIDDLE, HIGH = 590, 1_000, 4_000, 64_000
DEADLINE_S = 5.0
# Processor time below this is noise, whatever it grew from.
FLOOR_S = 0.1
# How much more than in proportion to the text the time may grow up to the longest one. Quadratic
# time grows 64 times more from 1,000 characters on. Anything beyond `DOUBT` is measured in full.
FACTOR, DOUBT = 4.0, 1.4

UNITS = (
    " or", ", ", " and ", " , ", ";", "/", "&", "|", ":", ".", "-", " - ", "–", "=", "+", "^", "_",
    "(", ")", "()", "(A) ", "[", "]", "[[", "[1,", "[x](", "![](", "{", "}", "{}", "{{{1}}}",
    '{"a":', '["a",', '{"a":[', '"', "'", '\\"', "“", "`", "``` ", "```json\n", "```\n",
    "\n```\nx", "~~~\n", "\\boxed{", "\\boxed{2}, ", "\\boxed{\\boxed{1}}", "\\fbox {", "####",
    "#### 1\n", "Answer: ", "Answer: x\n", "answer is ", "the answer ", " ", "\t", "\n", " \n",
    "\u00a0", "\r\n", "\\", "\\\\", "\\ ", "\\,", "\\!", "\\{", "\\text{", "\\text{a} ", "\\frac",
    "\\frac{1}{", "\\begin{a}", "\\left(", "\\pm ", "\\sqrt", "\\quad", "$", "$$", "$1$ ", "%",
    "~", "*", "**", "a", "A", "A ", "ab ", "aé", "é", "e\u0301", "\u0301", "字", "\u200b", "１",
    "H_2", "1", "1 ", "1,", "1,000", "1.", ".1", "-1", "1/", "1e9", "1x", "2^", "1:0", "1. ",
    "\n1. ", "(1)\n", "\n- ", "- ", "\n* ", "a) ", "\nii. ", "Question 1: ", "第1题", "<", ">",
    "<b>", "</", "<think>", "</think>", "<!--", "&amp;", "\x1b[", "\x1b]", "\x9b", "find ",
    "Find the ", "what is ", "? ", "! ", "the ", "is the ", "Therefore ", "in the ", "graph ",
    "write a program ", "as an ai ", "we get ", "x = ", "https://a:", "hf_a", "-----BEGIN ",
    "yes", "no ", "not (A) ", "x=", "AB=4, ", "_{", "^{", "\\cup", "|x|",
    "1. Find x.\n", '[{"problem": "a"}, ', '{"a": [', "\nA: 3\n2. B? ", "x. y ",
    "x```json\n", "x\n```y", "\\item a\n",
)  # fmt: skip
FRAMES = (("A", " é"), ("\\boxed{", "}"))

# The parameter that holds what a model wrote, and what the others get.
TEXTS = frozenset({"text", "completion", "answer", "content", "source", "sentence", "reply"})
# A function with one of these reads what the user wrote in a config.
OPTIONS = frozenset({"role", "plugins", "option", "options"})
ARGUMENTS: dict[str, Any] = {
    "min_words": 1,
    "max_words": 10**9,
    "max_tokens": 10**9,
    "count_tokens": len,
    "special_tokens": ("<|end|>", " "),
    "form": "NFKC",
    "most": 60,
    "kind": MathKind(lenient=True),
}


INSIDE_KINDS = ("kinds", "math", "markers", "base", "joints")


def read_by_functions() -> dict[str, Reader]:
    """Return every public function of the package whose first parameter is a text by its name.

    Left out are filters (`check_...`) and the inside of the answer kinds: they are reached by name.
    """
    found: dict[str, Reader] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        if parts[0] == "answers" and parts[1] in INSIDE_KINDS:
            continue
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef) and not node.name.startswith(("_", "check_")):
                every = [*node.args.args, *node.args.kwonlyargs]
                first = node.args.args[0] if node.args.args else None
                if not first or first.arg not in TEXTS or OPTIONS & {each.arg for each in every}:
                    continue
                if ast.unparse(first.annotation or first) == "str":
                    module = importlib.import_module(".".join(("serl_trl", *parts)))
                    found[f"{'.'.join(parts)}.{node.name}"] = bound(getattr(module, node.name))
    return found


def bound(function: Callable[..., Any]) -> Reader:
    """Return `function` of its text alone."""
    _, *others = inspect.signature(function).parameters.values()
    needed = [each.name for each in others if each.default is each.empty]
    unknown = [name for name in needed if name not in ARGUMENTS]
    assert not unknown, f"give {unknown} of {function.__name__} a value in ARGUMENTS"
    given = {name: ARGUMENTS[name] for name in needed}

    def read(text: str) -> Any:
        # What a function says it refuses, it may refuse.
        with contextlib.suppress(*[ValueError] if "Raises" in (function.__doc__ or "") else []):
            return function(text, **given)

    return read


def faster_than_linear(read: Reader, *, boxed: bool = False) -> list[str]:
    """Say on which texts, three at most, the time of `read` grows faster than their length."""
    found: list[str] = []
    for unit in UNITS:
        for head, tail in FRAMES if boxed else FRAMES[:1]:

            def make(size: int, unit: str = unit, head: str = head, tail: str = tail) -> str:
                return head + unit * (size // len(unit)) + tail

            if len(found) < 3 and (problem := _growth(read, make)):
                found.append(f"{head + unit + '*' + tail!r}: {problem}")
    return found


def _growth(read: Reader, make: Callable[[int], str]) -> str:
    short = seconds(read, make(SHORT))
    if short > DEADLINE_S / 4:
        return f"{SHORT} characters take {short:.2f} s"
    low, middle = seconds(read, make(LOW)), seconds(read, make(MIDDLE))
    if middle < max(FLOOR_S / 200, DOUBT * MIDDLE / LOW * low):
        return ""
    high = seconds(read, make(HIGH))
    if high < max(FLOOR_S, FACTOR * HIGH / LOW * low):
        return ""
    # A busy machine is slow once; a bad pattern is slow every time.
    low, high = (seconds(read, make(size), num_runs=3) for size in (LOW, HIGH))
    if high < max(FLOOR_S, FACTOR * HIGH / LOW * low):
        return ""
    return f"{LOW:,} characters take {low:.4f} s, {HIGH:,} take {high:.2f} s"


def seconds(read: Reader, text: str, *, num_runs: int = 1) -> float:
    """Return the least processor time of several runs; `inf` for one beyond the deadline."""
    best = float("inf")
    for _ in range(num_runs):
        for cache in _caches():
            cache.cache_clear()
        start = time.thread_time()
        try:
            with _deadline():
                read(text)
        except _TooSlowError:
            return float("inf")
        best = min(best, time.thread_time() - start)
    return best


class _TooSlowError(BaseException):
    """A call did not end within `DEADLINE_S` of processor time."""


@contextmanager
def _deadline() -> Iterator[None]:
    """End what runs longer than `DEADLINE_S`; regular expressions listen to signals, too."""

    def stop(*_: object) -> None:
        raise _TooSlowError

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, DEADLINE_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


@functools.cache
def _caches() -> list[Any]:
    ours = [module for name, module in list(sys.modules.items()) if name.startswith("serl_trl")]
    values = [value for module in ours for value in vars(module).values()]
    return [value for value in values if hasattr(value, "cache_clear")]
