"""How a row of a benchmark becomes a problem: one function for each way in which rows are laid out.

A row comes from the Hub or from the user's own file, so that any cell may be missing, empty or of
another type. What cannot be a problem raises `BadRowError` with the reason.
"""

import math
import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from string import ascii_uppercase
from typing import Any

from serl_trl.answers.equality import get_kind
from serl_trl.common.text import count_of, list_names
from serl_trl.data.seeds import INSTRUCTION_COLUMNS

_OPTION_LINE = "Give the letter of the right option as the final answer."

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Problem:
    """One problem of a benchmark; `row` counts from 1 in the order of its source."""

    instruction: str
    gold: str
    row: int = 0


class BadRowError(Exception):
    """Why a row is not a problem."""


def _cell(row: Row, *names: str) -> Any:
    """Return the first cell of `names` that is filled."""
    names = tuple(dict.fromkeys(names))
    for name in names:
        if row.get(name) is not None:
            return row[name]
    if empty := [name for name in names if name in row]:
        raise BadRowError(f"is empty in {list_names(empty)}")
    raise BadRowError(f"has none of the columns {list_names(names)}, only {list_names(row)}")


def _text(row: Row, *names: str) -> str:
    value = _cell(row, *names)
    if isinstance(value, list | tuple):
        value = ", ".join(map(str, value))
    # `bool` is a kind of `int` for Python, but True is not an answer.
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise BadRowError(f"holds {type(value).__name__} where a text is expected")
    if isinstance(value, float) and not math.isfinite(value):
        raise BadRowError(f"holds {value} where an answer is expected")
    return str(value).strip()


def _instruction(row: Row, *names: str) -> str:
    if text := _text(row, *names, *INSTRUCTION_COLUMNS):
        return text
    raise BadRowError("the instruction is empty")


def _plain(row: Row, question: str, answer: str) -> Problem:
    return Problem(_instruction(row, question), _text(row, answer, "answer"))


def _gsm8k(row: Row) -> Problem:
    """The gold stands after `####`; a user's file may hold it boxed, or as a bare number."""
    problem = _plain(row, "question", "answer")
    answer = problem.gold
    _, marks, last = answer.rpartition("####")
    # Without marks it is the whole answer of the user's own file.
    number = last.replace(",", "").strip()
    bare = not answer or re.fullmatch(r"-?\d*\.?\d+", number)
    if not marks and not bare and get_kind("math").extract(answer) is None:
        raise BadRowError(f"the answer {answer[-40:]!r} has no #### before its last number")
    return replace(problem, gold=number)


def _mawps(row: Row) -> Problem:
    """Calc-X writes 1_200 for 1,200."""
    problem = _plain(row, "question", "result")
    return replace(problem, gold=re.sub(r"(?<=\d)_(?=\d)", "", problem.gold))


def _math_hard(row: Row) -> Problem:
    """The gold of a MATH row is its answer where there is one, or its solution's last box."""
    gold = _text(row, "answer", "solution")
    if row.get("answer") is None and get_kind("math").extract(gold) is None:
        raise BadRowError("the solution has no \\boxed{} answer")
    return Problem(_instruction(row, "problem"), gold)


def _asdiv(row: Row) -> Problem | None:
    """Join body and question; rows with several answers are passed over, as is usual."""
    answer = _text(row, "answer")
    # "2 (apples); 3 (pears)"
    if ";" in answer:
        return None
    body, question = str(row.get("body") or "").strip(), _instruction(row, "question")
    text = question if not body or question.startswith(body) else f"{body} {question}"
    # The unit stands in brackets: "9 (apples)".
    return Problem(text, re.sub(r"\s*\([^()]*\)$", "", answer))


def _svamp(row: Row) -> Problem:
    body, gold = str(row.get("Body") or "").strip(), _text(row, "Answer", "answer")
    question = _instruction(row, "Question")
    if body and not body.endswith((".", "?", "!", ",")):
        body += "."
    return Problem(f"{body} {question}".strip(), gold)


def _tabmwp(row: Row) -> Problem:
    """Put the table above the question, and the choices, where there are some, below it."""
    title, table = str(row.get("table_title") or ""), str(row.get("table") or "")
    head = [f"Table: {title}" if title else "", table, _instruction(row, "question")]
    if choices := row.get("choices"):
        head.append("Choose from: " + "; ".join(map(str, choices)))
    return Problem("\n".join(part for part in head if part), _text(row, "answer"))


def _listed(row: Row, *answers: str) -> Problem:
    """Read a row with a list or mapping of options; the gold is in the first of `answers`."""
    right = _cell(row, *answers)
    if not isinstance(right, str | int) or isinstance(right, bool):
        raise BadRowError(f"the gold is {type(right).__name__}, not a letter or a number")
    question, options = _instruction(row, "question"), _cell(row, "options", "choices")
    if isinstance(options, Mapping):
        # A mapping has the letters as keys, and Parquet fills those that a row lacks with null.
        options = [options[letter] for letter in sorted(options) if options[letter] is not None]
    if not isinstance(options, list | tuple):
        raise BadRowError(f"the options are {type(options).__name__}, not a list")
    return _choice(question, [str(option).strip() for option in options], right)


def _gpqa(row: Row) -> Problem:
    """Shuffle the four options by the question itself, so that the order never changes."""
    if "Correct Answer" not in row:
        return _listed(row, "answer")
    question = _instruction(row, "Question")
    right = _text(row, "Correct Answer")
    options = [right, *(_text(row, f"Incorrect Answer {n}") for n in (1, 2, 3))]
    # In the data set the right option is always the first.
    random.Random(question).shuffle(options)
    return _choice(question, options, options.index(right))


def _choice(question: str, options: Sequence[str], right: str | int) -> Problem:
    """Put `options` under letters; `right` is a letter, or a number that counts from 0."""
    if not 2 <= len(options) <= len(ascii_uppercase):
        raise BadRowError(f"has {count_of(len(options), 'option')}")
    if isinstance(right, int):
        if not 0 <= right < len(options):
            raise BadRowError(f"the gold {right} names none of the {len(options)} options")
        right = ascii_uppercase[right]
    letter = get_kind("choice").canonical(right)
    if letter is None or letter not in ascii_uppercase[: len(options)]:
        raise BadRowError(f"the gold {right[:80]!r} names none of the options")
    lines = [f"{each}) {text}" for each, text in zip(ascii_uppercase, options, strict=False)]
    return Problem("\n".join([question, "", *lines, "", _OPTION_LINE]), letter)


# What `rows` of benchmarks.yaml names; `None` in place of a problem passes the row over.
READERS: Mapping[str, Callable[..., Problem | None]] = {
    "plain": _plain,
    "gsm8k": _gsm8k,
    "mawps": _mawps,
    "math_hard": _math_hard,
    "asdiv": _asdiv,
    "svamp": _svamp,
    "tabmwp": _tabmwp,
    "listed": _listed,
    "gpqa": _gpqa,
}
