"""JSON values, ordered lists and sets."""

import json
import re
from dataclasses import dataclass
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal
from typing import Any

from serl_trl.answers import markers
from serl_trl.answers.kinds.marked import MarkedKind
from serl_trl.answers.math import lexer as latex
from serl_trl.answers.math.forms import without_measure
from serl_trl.answers.math.grammar import read

# A fence of a code block: it opens at the end of any line, and closes on a line of its own.
# Possessive repetitions (`*+`, `++`) give nothing back, so that no text is read twice.
_FENCE = re.compile(r"(?P<indent>^[ \t]*+)?```(?P<language>\w*+)[ \t]*+$", re.MULTILINE)
_BULLET = re.compile(r"\s*+(?:[-*•]\s++|and\s++)")
_COUNTED = re.compile(r"\s*+\(?(\d{1,3})[.):]\s++")
# 1,000 within a list that has other separators.
_GROUPED = re.compile(r"(?<![\d,.])\d{1,3}(?:,\d{3})++(?![\d,]\d)")
_AND = re.compile(r"\\text\s?\{\s*+and\s*+\}|(?<=\s)and(?=\s)")
_IN_BRACKETS = re.compile(r"\[[^\[\]\n]{1,2000}\]")
# Reading and sorting a value of this size takes milliseconds; answers are far shorter.
_MAX_CHARS = 20_000
_MAX_TRIES = 200
# Numbers of JSON are compared exactly, however long; Python floats would make them alike.
_EXACT = Context(prec=_MAX_CHARS, Emax=MAX_EMAX, Emin=MIN_EMIN)


def _last_fenced(completion: str) -> markers.Found | None:
    """The last closed code block without a language, or in JSON, that holds anything."""
    best: markers.Found | None = None
    start: int | None = None
    language = ""
    for fence in _FENCE.finditer(completion):
        if start is not None and fence["indent"] is not None and not fence["language"]:
            content = completion[start : fence.start()].strip()
            if content and language in ("", "json"):
                best = (start, content)
            start = None
        else:
            start, language = fence.end(), fence["language"].lower()
    return best


@dataclass(frozen=True)
class JsonKind(MarkedKind):
    """JSON values: the order of keys and the spelling of numbers do not count, that of lists does.

    Its own marker beside `\\boxed{}` is a fenced code block. With `lenient`, the last JSON object
    or list in the completion counts.
    """

    name: str = "json"
    finders = (markers.last_boxed, _last_fenced)
    several_values = True

    def natural(self, completion: str) -> str | None:
        return _last_json(completion)

    def canonical(self, answer: str) -> str | None:
        """Return the value with sorted keys and without spaces; `None` for what is not JSON."""
        for text in (answer, answer.replace("\\{", "{").replace("\\}", "}").replace("\\_", "_")):
            try:
                return json.dumps(_decode(text), sort_keys=True, separators=(",", ":"))
            except (ValueError, RecursionError, ArithmeticError):
                continue
        return None


@dataclass(frozen=True)
class ListKind(MarkedKind):
    """Lists of short answers: `[a, b]`, `a, b`, `a; b`, or one item a line.

    A number or a bullet before each item does not count, nor do the commas of 1,000, 2,000. Each
    item is read as in the kinds `math` and `text`: 0.5 and 1/2 are one item. Order counts only
    with `ordered`; without it (a set) repeats do not count either. With `lenient`, the last list in
    square brackets counts.
    """

    name: str = "list"
    ordered: bool = True
    natural_forms = (_IN_BRACKETS,)
    several_values = True

    def canonical(self, answer: str) -> str | None:
        """Return the items in canonical form, a set's in sorted order."""
        if len(answer) > _MAX_CHARS:
            return None
        items = [item.strip().strip("\"'").strip() for item in _split(answer)]
        forms = [without_measure(read(item)).text for item in items if item]
        if not self.ordered:
            forms = sorted(set(forms))
        return json.dumps(forms)


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
    # A try may read all that follows, so only the last openings are tried.
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
    if text[:1] + text[-1:] in ("[]", "()", "{}") and _closing(text) == len(text) - 1:
        text = text[1:-1]
    if re.search(r"[,;]\s|;|\n", text):  # 1,000, 2,000: the commas inside are no separators
        text = _GROUPED.sub(lambda found: found[0].replace(",", ""), text)
    items = _pieces(text)
    # "a, b and c": the word joins the last two.
    items[-1:] = _pieces(_AND.sub(",", items[-1]))
    items = [item[found.end() :] if (found := _BULLET.match(item)) else item for item in items]
    counts = [_COUNTED.match(item) for item in items]
    if len(items) > 1 and [c and int(c[1]) for c in counts] == list(range(1, len(items) + 1)):
        return [item[count.end() :] for item, count in zip(items, counts, strict=True) if count]
    return items


def _pieces(text: str) -> list[str]:
    """What commas, semicolons and line ends outside brackets separate."""
    depth, start, items = 0, 0, []
    for position, sign in enumerate(text):
        depth += (sign in "([{") - (sign in ")]}")
        if depth <= 0 and sign in ",;\n":
            items.append(text[start:position])
            start = position + 1
    return [*items, text[start:]]


def _closing(text: str) -> int:
    """Where the bracket that `text` begins with is closed; -1 when it is not."""
    depth = 0
    for position, sign in enumerate(text):
        depth += (sign in "([{") - (sign in ")]}")
        if depth == 0:
            return position
    return -1
