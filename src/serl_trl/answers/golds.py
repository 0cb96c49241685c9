"""Gold answers as data sets write them, read as answers of a kind."""

import json
import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from numbers import Real
from typing import Any

from serl_trl.answers.equality import AnswerKind, get_kind

_HASHES = "####"
_MAX_WORDS = 20  # mathematics in more words is a solution, not an answer


def gold_text(value: object) -> str | None:
    """Return a gold answer of any type as text; `None` without one.

    Lists and mappings become JSON, truth values "true" and "false". Raises `ValueError` for what is
    none of these, and for numbers that are not finite.
    """
    if value is None or isinstance(value, str):
        return value
    # Before numbers: True is one of them.
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Real):
        if not math.isfinite(value):
            raise ValueError(f"{value} is not an answer")
        return str(value)
    # Numbers and arrays of numpy, as tables hand them over.
    listed = getattr(value, "tolist", None)
    plain: Any = listed() if listed else value
    if isinstance(plain, list | tuple | Mapping):
        return json.dumps(plain, ensure_ascii=False, default=str)
    raise ValueError(f"{type(value).__name__} is not an answer")


def read_gold(gold: object, kind: str | AnswerKind) -> str | None:
    """Return the final answer in `gold`; `None` when it holds none of this kind.

    Read are, in this order: the marker of the kind (`\\boxed{}` or its own), what stands behind the
    last `####` (GSM8K), and the whole text as it is.
    """
    kind = get_kind(kind)
    try:
        text = (gold_text(gold) or "").strip()
    except ValueError:
        return None
    behind = text.rpartition(_HASHES)[2].strip() if _HASHES in text else ""
    # In this order, because a solution in prose may hold all of them.
    # Behind `####` one line is the answer; several are a solution that only mentions the marker.
    candidates = [_strict(kind).extract(text), behind if "\n" not in behind else ""]
    # A worked solution whose box cannot be read is no answer.
    candidates += [] if "\\boxed" in text or behind else [text]
    answers = [answer for answer in candidates if answer and _is_answer(answer, kind)]
    return answers[0] if answers else None


def _strict(kind: AnswerKind) -> AnswerKind:
    """The kind without `lenient`: the last number of a gold answer need not be all of it."""
    if is_dataclass(kind) and "lenient" in [field.name for field in fields(kind)]:
        return replace(kind, lenient=False)  # ty: ignore[invalid-argument-type]
    return kind


def _is_answer(text: str, kind: AnswerKind) -> bool:
    form = kind.canonical(text)
    is_solution = kind.name == "math" and (form or "").startswith("\\text{")
    return form is not None and not (is_solution and len(text.split()) > _MAX_WORDS)
