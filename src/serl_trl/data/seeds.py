"""Seed sets and probe sets: read strictly, every bad row named by its place, checked before use."""

import hashlib
import json
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import compress
from pathlib import Path
from typing import Any

from serl_trl.answers.equality import AnswerKind, known_labels
from serl_trl.answers.golds import gold_text, read_gold
from serl_trl.common.plugin import Plugin, Role, find
from serl_trl.common.problem import Problem
from serl_trl.common.text import (
    CONTROL,
    NUM_NAMES,
    count_of,
    examples,
    list_names,
    near_matches,
)
from serl_trl.data.tables import MAX_ROW_BYTES, Row, SeedSetError, Table, open_table

__all__ = ["SeedSet", "SeedSetError", "check_seed_set", "load_seed_set", "make_seed_set"]

INSTRUCTION_COLUMNS = ("problem", "question", "instruction", "prompt", "text")
CHAT_COLUMNS = ("messages", "conversations", "conversation", "chat")
"""Columns that are looked for next; any column may hold a conversation in place of a text."""
ANSWER_COLUMN = "answer"

# A few odd answers are usual in public sets; more mean that another kind was chosen.
MAX_UNREAD_RATIO = 0.05
"""A set of which a larger share of the gold answers cannot be read is refused."""


@dataclass(frozen=True)
class SeedSet:
    """Instructions, and their answers where known, in the order of the source.

    `fingerprint` is the SHA-256 of the instructions and answers, whatever file they came from.
    `places` says where each row stands (`seeds.jsonl:17`), `warnings` what was passed over.
    """

    instructions: tuple[str, ...]
    answers: tuple[str | None, ...]
    fingerprint: str
    source: str
    places: tuple[str, ...]
    warnings: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.instructions)

    def rows(self) -> list[dict[str, Any]]:
        """Return one mapping of "instruction" and "answer" per row."""
        pairs = zip(self.instructions, self.answers, strict=True)
        return [{"instruction": text, "answer": answer} for text, answer in pairs]


@dataclass(frozen=True)
class Reading:
    """How rows become instructions and answers.

    Without `column` the first of `INSTRUCTION_COLUMNS` or `CHAT_COLUMNS` that exists is taken,
    without `answer_column` the column "answer" if there is one. At most `max_bad_rows` rows that
    cannot be used are passed over, and named in the warnings. Rows that repeat an earlier text are
    dropped and counted there, unless duplicates are allowed. `options` are what
    sets the two columns, for messages; empty where nothing does.
    """

    column: str | None = None
    answer_column: str | None = None
    options: tuple[str, str] = ("", "")
    require_answers: bool = False
    allow_duplicates: bool = False
    max_bad_rows: int = 0


def load_seed_set(
    source: str | Path, *, split: str = "train", config: str | None = None, **reading: Any
) -> SeedSet:
    """Read instructions from a file (.jsonl, .json, .csv, .parquet, .txt), folder or Hub dataset.

    `split` belongs to folders and Hub datasets, `config` to the latter, `reading` to `Reading`. Of
    a conversation the instruction is what its user says, who must speak once. A .txt file holds one
    instruction per line. Texts are put into Unicode form NFC, CRLF is made LF and white space at
    both ends removed; nothing else is changed.

    Raises `SeedSetError` naming every bad row, or why there is none.
    """
    return read_table(open_table(source, split=split, config=config), Reading(**reading))


def read_table(table: Table, reading: Reading) -> SeedSet:
    """Read instructions from the rows of `table`, as `load_seed_set` does from a file."""
    required = reading.require_answers
    text_column = _find_column(table, reading)
    gold_column = _find_answer_column(table, reading)
    wanted = [name for name in (text_column, gold_column) if name is not None]
    places: dict[str, str] = {}
    entries: list[_Entry] = []
    bad: list[str] = []
    repeated: list[str] = []
    for row in table.read(wanted):
        try:
            text = _instruction(row, text_column)
            answer = _answer(row, gold_column, required=required)
        except _BadRowError as problem:
            bad.append(f"{row.place}: {problem}.")
            continue
        # A seed that stands twice would be shown and trained on twice as often as others.
        if places.setdefault(text, row.place) != row.place and not reading.allow_duplicates:
            repeated.append(f"{row.place} repeats {places[text]}.")
        else:
            entries.append(_Entry(text, answer, row.place))
    if len(bad) > reading.max_bad_rows:
        raise SeedSetError(
            f"{table.source} has {count_of(len(bad), 'bad row')}, allowed are max_bad_rows="
            f"{reading.max_bad_rows}:\n{examples(bad)}"
        )
    if not entries:
        raise SeedSetError(f"{table.source} holds no instruction; give at least one row.")
    warnings = [f"passed over {line}" for line in bad]
    if repeated:
        dropped = f"dropped {count_of(len(repeated), 'row')} of {table.source} as repetitions"
        warnings.append(f"{dropped}:\n{examples(repeated)}")
    return _seed_set(entries, table.source, warnings)


def make_seed_set(rows: Iterable[Mapping[str, Any]], *, source: str) -> SeedSet:
    """Build a seed set from rows of "instruction" and, where known, "answer", taken as they are."""
    entries = [
        _Entry(str(row["instruction"]), gold_text(row.get("answer")), f"{source} row {number}")
        for number, row in enumerate(rows, start=1)
    ]
    return _seed_set(entries, source, [])


def joined(sets: Sequence[SeedSet]) -> SeedSet:
    """Return the rows of all sets as one; those that repeat an earlier text are dropped, and named.

    Of two answers to one text the first one counts.
    """
    if len(sets) == 1:
        return sets[0]
    entries: dict[str, _Entry] = {}
    repeated: list[str] = []
    for each in sets:
        for row in zip(each.instructions, each.answers, each.places, strict=True):
            entry = _Entry(*row)
            if entries.setdefault(entry.instruction, entry) is not entry:
                repeated.append(f"{entry.place} repeats {entries[entry.instruction].place}.")
    source = list_names([each.source for each in sets])
    warnings = [text for each in sets for text in each.warnings]
    if repeated:
        dropped = f"dropped {count_of(len(repeated), 'row')} of {source} as repetitions"
        warnings.append(f"{dropped}:\n{examples(repeated)}")
    return _seed_set(list(entries.values()), source, warnings)


def check_seed_set(
    seed_set: SeedSet,
    *,
    num_shots: int,
    max_tokens: int,
    count_tokens: Callable[[str], int],
    special_tokens: Sequence[str],
) -> list[Problem]:
    """Return why `seed_set` cannot be trained from; empty when it can.

    Every instruction must be at most `max_tokens` long and hold none of `special_tokens`, which
    would end the user's turn inside the prompt.
    """
    source, problems = seed_set.source, []
    if len(seed_set) < num_shots:
        rule = f"{source} has {count_of(len(seed_set), 'instruction')}, fewer than num_shots="
        way_out = "add seeds or lower num_shots"
        problems.append(Problem("", None, f"{rule}{num_shots}", way_out, others=("num_shots",)))
    too_long, marked = [], []
    tokens = sorted({token for token in special_tokens if token.strip()})
    for place, text in zip(seed_set.places, seed_set.instructions, strict=True):
        if (length := count_tokens(text)) > max_tokens:
            too_long.append(f"{place}: {length:,} tokens.")
        if held := [token for token in tokens if token in text]:
            marked.append(f"{place}: holds {list_names(held)}.")
    if too_long:
        problems.append(
            Problem(
                "",
                rule=f"{source} has {count_of(len(too_long), 'instruction')} longer than "
                f"max_instruction_tokens={max_tokens}",
                way_out=f"shorten them or raise it:\n{examples(too_long)}",
                others=("max_instruction_tokens",),
            )
        )
    if marked:
        rule = f"{source} has {count_of(len(marked), 'instruction')} with special tokens of the "
        rule += "tokenizer, which would break up the prompt"
        problems.append(Problem("", rule=rule, way_out=f"remove them:\n{examples(marked)}"))
    return problems


@dataclass(frozen=True)
class _Entry:
    instruction: str
    answer: str | None
    place: str


class _BadRowError(Exception):
    """Why a row cannot be used."""


def _instruction(row: Row, column: str) -> str:
    value = _cell(row, column)
    if isinstance(value, list):
        value = _user_text(value, column)
    text = _normalise(value, column)
    if not text:
        raise _BadRowError(f"{column!r} is empty")
    return text


def _user_text(messages: list[Any], column: str) -> Any:
    """Return what the user says in a conversation, the way TRL or ShareGPT writes one."""
    said = []
    for message in messages:
        if not isinstance(message, dict):
            raise _BadRowError(f"{column!r} must be text or chat messages, not a list")
        role = message.get("role", message.get("from"))
        if role in ("user", "human"):
            said.append(message.get("content", message.get("value")))
    # Of several turns only the first can be asked without its answers.
    if len(said) != 1:
        raise _BadRowError(
            f"{column!r} holds {count_of(len(said), 'turn')} of the user; an instruction is one"
        )
    parts = said[0] if isinstance(said[0], list) else []
    if any(not isinstance(part, dict) or part.get("type") != "text" for part in parts):
        raise _BadRowError(f"{column!r} holds something else than text")
    return "\n".join(str(part.get("text", "")) for part in parts) if parts else said[0]


def _answer(row: Row, column: str | None, *, required: bool) -> str | None:
    if column is None:
        return None
    value = _cell(row, column) if required else (row.values or {}).get(column)
    try:
        value = gold_text(value)
    except ValueError as problem:
        raise _BadRowError(f"{column!r}: {problem}") from None
    text = None if value is None else _normalise(value, column)
    if required and not text:
        raise _BadRowError(f"{column!r} is empty")
    return text or None


def _cell(row: Row, column: str) -> Any:
    if row.values is None:
        raise _BadRowError(row.problem)
    if column not in row.values:
        raise _BadRowError(f"has no column {column!r}, only {list_names(row.values)}")
    return row.values[column]


def _normalise(value: Any, column: str) -> str:
    if not isinstance(value, str):
        raise _BadRowError(f"{column!r} must be text, not {type(value).__name__}")
    if len(value) > MAX_ROW_BYTES:
        raise _BadRowError(f"{column!r} is longer than {MAX_ROW_BYTES:,} characters")
    # JSON may hold half of a pair, which no tokenizer and no file takes.
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        code = ord(value[error.start])
        raise _BadRowError(
            f"{column!r} holds half a character, the surrogate U+{code:04X}"
        ) from None
    text = unicodedata.normalize("NFC", value).replace("\r\n", "\n").strip()
    if control := CONTROL.search(text):
        raise _BadRowError(f"{column!r} holds the control character U+{ord(control[0]):04X}")
    return text


def _find_column(table: Table, reading: Reading) -> str:
    named, option = reading.column, reading.options[0]
    candidates = INSTRUCTION_COLUMNS if named is None else (named,)
    for name in candidates + (CHAT_COLUMNS if named is None else ()):
        if name in table.columns:
            return name
    if named is not None:
        raise SeedSetError(_no_column(table, option, named))
    raise SeedSetError(
        f"{table.source} has no column {', '.join(candidates[:-1])} or {candidates[-1]}; it has "
        f"{list_names(table.columns)}. Name the one that holds the instructions{_by(option)}."
    )


def _find_answer_column(table: Table, reading: Reading) -> str | None:
    named, option = reading.answer_column, reading.options[1]
    name = named or ANSWER_COLUMN
    if name in table.columns:
        return name
    if named is not None:
        raise SeedSetError(_no_column(table, option, named))
    if not reading.require_answers:
        return None
    way_out = f" Name it{_by(option)}." if option else ""
    raise SeedSetError(
        f"{table.source} has no column {name!r} for the answers; it has "
        f"{list_names(table.columns)}.{near_matches(name, table.columns)}{way_out}"
    )


def _by(option: str) -> str:
    return option and f" by {option}"


def _no_column(table: Table, option: str, named: str) -> str:
    found = list_names(table.columns)
    given = f"{option}={named}: " if option else ""
    hint = near_matches(named, table.columns)
    return f"{given}{table.source} has no column {named!r}; it has {found}.{hint}"


_ORACLE = Role(
    option="gold_oracle",
    takes="a function from an instruction to its gold answer or None",
    arguments=("",),
    returns=(str,),
)


def find_oracle(text: str, plugins: Collection[str] = ()) -> Plugin:
    """Return the function that gives gold answers, at a dotted path in a package of `plugins`.

    Raises `ValueError` when there is none.
    """
    return find(text, _ORACLE, plugins)


def read_golds(seed_set: SeedSet, kind: AnswerKind) -> SeedSet:
    """Return `seed_set` with the final answers in the place of its gold answers.

    Gold answers that cannot be read are left out, and named in `warnings`. Raises `SeedSetError`
    naming them when they are more than `MAX_UNREAD_RATIO` of all.
    """
    golds, unread = _read_answers(seed_set, kind)
    num_golds = sum(gold is not None for gold in seed_set.answers)
    if len(unread) > MAX_UNREAD_RATIO * num_golds:
        raise SeedSetError(
            f"{seed_set.source}: {count_of(len(unread), 'gold answer')} of {num_golds:,} cannot be "
            f"read as answer_kind={kind.name}, allowed are {MAX_UNREAD_RATIO:.0%}"
            f"{_unknown_labels(seed_set.answers, golds, kind)}; choose the kind "
            f"of these answers, correct them, or rename the column:\n{examples(unread)}"
        )
    passed = [f"took no gold answer from {line}" for line in unread]
    return replace(seed_set, answers=golds, warnings=(*seed_set.warnings, *passed))


def only_read_golds(
    probe_set: SeedSet, kind: AnswerKind, *, max_bad_rows: int, option: str = "probe_answer_column"
) -> SeedSet:
    """Return the rows whose answers can be read, with final answers in the place of solutions.

    Other rows are passed over as bad rows are. Raises `SeedSetError` when they are more than
    `max_bad_rows`, or all; `option` names the column of the answers.
    """
    golds, bad = _read_answers(probe_set, kind)
    whole = [gold is not None for gold in golds]
    if len(bad) > max_bad_rows or not any(whole):
        raise SeedSetError(
            f"{probe_set.source} has {count_of(len(bad), 'answer')} that cannot be read, allowed "
            f"are max_bad_rows={max_bad_rows}{_unknown_labels(probe_set.answers, golds, kind)}; "
            f"correct them, or name another {option}:\n{examples(bad)}"
        )
    passed = (f"passed over {each}" for each in bad)
    return replace(
        probe_set,
        instructions=tuple(compress(probe_set.instructions, whole)),
        answers=tuple(compress(golds, whole)),
        places=tuple(compress(probe_set.places, whole)),
        warnings=(*probe_set.warnings, *passed),
    )


def _unknown_labels(
    answers: Sequence[str | None], golds: Sequence[str | None], kind: AnswerKind
) -> str:
    """Return the labels that answers use and the kind does not know, commonest first, in words."""
    known = known_labels(kind)
    if known is None:
        return ""
    pairs = zip(answers, golds, strict=True)
    used = Counter(answer[:40] for answer, gold in pairs if answer is not None and gold is None)
    shown = [f"{answer!r} ({num})" for answer, num in used.most_common(NUM_NAMES)]
    return f" (the kind knows {list_names(known)}, and not {list_names(shown)})"


def _read_answers(seed_set: SeedSet, kind: AnswerKind) -> tuple[tuple[str | None, ...], list[str]]:
    """Return the final answers, `None` for those that cannot be read, and these with their rows."""
    rows = list(zip(seed_set.places, seed_set.answers, strict=True))
    golds = tuple(None if gold is None else read_gold(gold, kind) for _, gold in rows)
    unread = [
        f"{place}: the answer {gold[:80]!r} cannot be read as kind {kind.name}."
        for (place, gold), read in zip(rows, golds, strict=True)
        if gold is not None and read is None
    ]
    return golds, unread


def gold_problem(seeds: SeedSet, *, proposes: bool) -> Problem | None:
    """Return why gold answers cannot reward a run without an oracle."""
    if proposes:
        rule = "with a source of new instructions needs gold_oracle, which answers them"
        way_out, others = "give one, or set sources to given", ("sources",)
        return Problem("label_reward", "gold", rule, way_out, others=others)
    missing = sum(answer is None for answer in seeds.answers)
    if not missing:
        return None
    rule = f"needs an answer in every row; {seeds.source} lacks {missing} of {len(seeds)}"
    return Problem("label_reward", "gold", rule, "Name the column by answer_column")


def _seed_set(entries: Sequence[_Entry], source: str, warnings: Sequence[str]) -> SeedSet:
    digest = hashlib.sha256()
    for entry in entries:
        # As JSON in ASCII, so that no text of one row can look like the ends of two.
        digest.update(json.dumps([entry.instruction, entry.answer]).encode("ascii") + b"\n")
    return SeedSet(
        instructions=tuple(entry.instruction for entry in entries),
        answers=tuple(entry.answer for entry in entries),
        fingerprint=digest.hexdigest(),
        source=source,
        places=tuple(entry.place for entry in entries),
        warnings=tuple(warnings),
    )
