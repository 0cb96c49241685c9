"""JSON values, ordered lists and sets."""

import json
import re
from dataclasses import dataclass
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal
from typing import Any

from serl_trl.answer_kinds import latex, markers
from serl_trl.answer_kinds.mathematics import read

_FENCE = re.compile(r"```(?:json)?[ \t]*\n(.*?)\n[ \t]*```", re.DOTALL | re.IGNORECASE)
_MAX_CHARS = 20_000
_MAX_TRIES = 200
_EXACT = Context(prec=_MAX_CHARS, Emax=MAX_EMAX, Emin=MIN_EMIN)


@dataclass(frozen=True)
class JsonKind:
    """JSON values: the order of keys and the spelling of numbers do not count, that of lists does.

    Its own marker beside `\\boxed{}` is a fenced code block. With `lenient`, the last JSON object
    or list in the completion counts.
    """

    name: str = "json"
    lenient: bool = False

    def extract(self, completion: str) -> str | None:
        """Return the text of the last marker."""
        fences = list(_FENCE.finditer(completion))
        fenced = (fences[-1].start(1), fences[-1].group(1).strip()) if fences else None
        found = markers.latest(markers.last_boxed(completion), fenced)
        return _last_json(completion) if found is None and self.lenient else found

    def canonical(self, answer: str) -> str | None:
        """Return the value with sorted keys and without spaces; `None` for what is not JSON."""
        for text in (answer, answer.replace("\\{", "{").replace("\\}", "}").replace("\\_", "_")):
            try:
                return json.dumps(_decode(text), sort_keys=True, separators=(",", ":"))
            except (ValueError, RecursionError, ArithmeticError):
                continue
        return None

    def equal(self, left: str, right: str) -> bool | None:
        """Different values are different answers."""
        return False


@dataclass(frozen=True)
class ListKind:
    """Lists of short answers: `[a, b]`, `a, b`, `a; b`, or one item a line.

    Each item is read as in the kinds `math` and `text`: 0.5 and 1/2 are one item. Order counts only
    with `ordered`; without it (a set) repeats do not count either. With `lenient`, the last list in
    square brackets counts.
    """

    name: str = "list"
    ordered: bool = True
    lenient: bool = False

    def extract(self, completion: str) -> str | None:
        """Return the text of the last marker."""
        boxed = markers.last_boxed(completion)
        found = markers.latest(boxed, markers.last_answer_line(completion))
        if found is None and self.lenient:
            matches = re.findall(r"\[[^\[\]\n]{1,2000}\]", completion)
            return matches[-1] if matches else None
        return found

    def canonical(self, answer: str) -> str | None:
        """Return the items in canonical form, a set's in sorted order."""
        if len(answer) > _MAX_CHARS:
            return None
        items = [item.strip().strip("\"'").strip() for item in _split(answer)]
        forms = [read(item).text for item in items if item]
        if not self.ordered:
            forms = sorted(set(forms))
        return json.dumps(forms)

    def equal(self, left: str, right: str) -> bool | None:
        """Different items are different answers."""
        return False


def _decode(text: str) -> Any:
    if len(text) > _MAX_CHARS:
        raise ValueError("too long")
    return json.loads(
        text, parse_int=_number, parse_float=_number, parse_constant=_refuse, object_hook=_marked
    )


def _number(text: str) -> dict[str, str]:
    # 1, 1.0 and 1e0 are one number; a string "1" is another value.
    return {"": str(_EXACT.plus(_EXACT.normalize(Decimal(text))))}


def _marked(value: dict[str, Any]) -> dict[str, Any]:
    # No object may pass for a number.
    return {f".{key}": item for key, item in value.items()}


def _refuse(text: str) -> None:
    raise ValueError(f"{text} is not JSON")


def _last_json(completion: str) -> str | None:
    """The last balanced object or list that reads as JSON."""
    decoder = json.JSONDecoder()
    starts = [match.start() for match in re.finditer(r"[\[{]", completion)][-_MAX_TRIES:]
    best: tuple[int, int] | None = None
    for start in starts:
        if best is not None and start < best[1]:
            continue  # inside the value found before
        try:
            _, end = decoder.raw_decode(completion, start)
        except (ValueError, RecursionError):
            continue
        best = (start, end)
    return completion[best[0] : best[1]] if best else None


def _split(answer: str) -> list[str]:
    text = latex.clean(answer).replace("\\{", "{").replace("\\}", "}").strip()
    if text[:1] + text[-1:] in ("[]", "()", "{}"):
        text = text[1:-1]
    depth, start, items = 0, 0, []
    for position, sign in enumerate(text):
        depth += (sign in "([{") - (sign in ")]}")
        if depth <= 0 and sign in ",;\n":
            items.append(text[start:position])
            start = position + 1
    items.append(text[start:])
    return [re.sub(r"^\s*(?:[-*•]\s+|and\s+)", "", item) for item in items]
