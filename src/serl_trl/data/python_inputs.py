"""What a script hands to the trainer: seed sets and probe sets of any shape, read as a file is."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice
from pathlib import Path
from typing import Any

from serl_trl import sandbox
from serl_trl.common.text import list_names, visible
from serl_trl.data.rows import of_sandbox, without_twins
from serl_trl.data.seeds import Reading, SeedSet, load_seed_set, make_seed_set, read_table
from serl_trl.data.tables import TEXT_COLUMN, Row, SeedSetError, Table, dataset_table
from serl_trl.propose.sources.base import LABELLED

# A generator may never end, and everything is read before training.
MAX_ROWS = 1_000_000
_MESSAGES = "messages"


def read_seed_set(given: Any) -> SeedSet:
    """Return the seed set that `given` is, names or holds.

    A text is a path, a Hub dataset or a sandbox's name, as in a config. Otherwise rows are
    read: texts, mappings, conversations, a `Dataset` or `IterableDataset`, a data frame. Repeated
    rows of these are kept. Raises `SeedSetError` with every bad row.
    """
    if isinstance(given, str) and given in sandbox.MODEL_PATHS:
        rows = [{"instruction": text} for text in sandbox.seed_set(given)]
        return make_seed_set(rows, source="seeds")
    return _read(given, "seed_set")


def read_probe_set(given: Any) -> SeedSet | None:
    """Return the probe set that `given` is, names or holds, with an answer in each row, or `None`.

    Raises `SeedSetError` as `read_seed_set` does.
    """
    if given is None:
        return None
    if isinstance(given, str) and given in sandbox.MODEL_PATHS:
        return make_seed_set(sandbox.heldout(given), source="held-out problems")
    return _read(given, "eval_dataset", answers=True, repeats=(True, True))


def read_rows(given: Mapping[str, Any]) -> dict[str, SeedSet]:
    """Return the sets that are given under the options `LABELLED` and `UNLABELLED`.

    `None` is no set. Repeated rows are dropped, also unlabelled ones that are labelled. Raises
    `SeedSetError` as `read_seed_set` does.
    """
    found = {}
    for name, rows in given.items():
        if isinstance(rows, str) and rows in sandbox.MODEL_PATHS:
            found[name] = of_sandbox(name, rows)
        elif rows is not None:
            found[name] = _read(rows, name, answers=name == LABELLED, repeats=(False, False))
    return without_twins(found)


def _read(
    given: Any, name: str, *, answers: bool = False, repeats: tuple[bool, bool] = (True, False)
) -> SeedSet:
    """Read rows; `repeats` says whether those of an object and those of a file may repeat."""
    if isinstance(given, SeedSet):
        # A set without an answer goes through the reader, which names the row.
        if not (answers and None in given.answers):
            return given
        given = given.rows()
    if not isinstance(given, str | Path):
        reading = Reading(require_answers=answers, allow_duplicates=repeats[0])
        return read_table(_table(given, name), reading)
    try:
        return load_seed_set(given, require_answers=answers, allow_duplicates=repeats[1])
    except SeedSetError as error:
        is_text = any(map(str.isspace, str(given)))
        hint = " A text is read as a path; give instructions as a list." if is_text else ""
        raise type(error)(f"{name}={visible(_short(str(given)))}: {error}{hint}") from error


def _table(given: Any, name: str) -> Table:
    if isinstance(given, Mapping):
        splits = [key for key, held in given.items() if hasattr(held, "column_names")]
        way_out = f"a split of it: {list_names(splits)}" if splits else "a list of its rows"
        raise SeedSetError(f"{name} is a {type(given).__name__}, not a list; give {way_out}.")
    # Recognised by its methods, because asking for its class would import datasets or pandas.
    if hasattr(given, "select_columns") and hasattr(given, "__len__"):
        return dataset_table(given, name)
    if hasattr(given, "to_dict") and hasattr(given, "columns"):  # a data frame
        given = given.to_dict("records")
    if isinstance(given, bytes) or not isinstance(given, Iterable):
        raise SeedSetError(
            f"{name}={visible(_short(repr(given)))} holds no rows; give a path, a list of "
            "instructions, a list of rows or a Dataset."
        )
    rows = _rows(given, name)
    # The columns are those of the first row; it is put back before the others.
    first = list(islice(rows, 1))
    columns = next((tuple(row.values) for row in first if row.values is not None), (TEXT_COLUMN,))
    return Table(name, columns, lambda _: chain(first, rows))


def _short(text: str) -> str:
    return " ".join(text.split())[:80]


def _rows(given: Iterable[Any], name: str) -> Iterator[Row]:
    for number, value in enumerate(given, start=1):
        if number > MAX_ROWS:
            raise SeedSetError(f"{name} gives more than {MAX_ROWS:,} rows; take a part of it.")
        yield _row(value, f"{name} row {number}")


def _row(value: Any, place: str) -> Row:
    if isinstance(value, str):
        return Row(place, {TEXT_COLUMN: value})
    if isinstance(value, Mapping):
        return Row(place, dict(value))
    if isinstance(value, list) and value and isinstance(value[0], Mapping):
        return Row(place, {_MESSAGES: value})
    kind = type(value).__name__
    return Row(place, problem=f"must be a text, a mapping or a conversation, not {kind}")
