"""Rows of a file or Hub dataset, each with its place; the formats a seed set may come in."""

import codecs
import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from serl_trl.common.text import count_of, examples, list_names, near_matches, one_line, visible

SUFFIXES = (".jsonl", ".json", ".csv", ".parquet", ".txt")
TEXT_COLUMN = "text"
# A seed set is hundreds of rows of a few hundred characters. What is larger by far is another file
# under that name, and reading it whole would take the memory that the model needs.
MAX_FILE_BYTES = 256_000_000
MAX_ROW_BYTES = 1_000_000

# As the Hub writes them: no leading dot, so that ./data and ../data are paths.
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")


class SeedSetError(ValueError):
    """A seed set that cannot be used; the message says what is wrong, and where."""


class HubUnreachableError(SeedSetError):
    """A dataset that may well exist, but the Hub cannot be asked for it now."""


@dataclass(frozen=True)
class Row:
    """A row as read: a mapping, or `problem` says why there is none."""

    place: str
    values: Mapping[str, Any] | None = None
    problem: str = ""


@dataclass(frozen=True)
class Table:
    """A source whose column names are known; `read` gives its rows with the columns asked for."""

    source: str
    columns: tuple[str, ...]
    read: Callable[[list[str]], Iterable[Row]]


# Sources.


def open_table(source: str | Path, *, split: str, config: str | None) -> Table:
    """Open a file in one of the formats of `SUFFIXES`, a folder, or the Hub dataset of that name.

    A folder holds files of one format, or what `Dataset.save_to_disk` wrote; `split` chooses among
    the splits of either.

    Raises `SeedSetError` when it does not exist or cannot be read at all.
    """
    if problem := file_problem(source):
        raise SeedSetError(problem)
    name = str(source)
    path = Path(name).expanduser()
    if not path.exists():
        return _hub_table(name, split=split, config=config)
    try:
        if path.is_dir():
            return _folder_table(path, name, split=split)
        return _TABLES[path.suffix.lower()](path, name)
    except OSError as error:
        raise SeedSetError(f"{name} cannot be read: {error.strerror or error}.") from error


def file_problem(source: str | Path) -> str:
    """Return why `source` can be neither a file to read nor a Hub dataset; empty when it can."""
    name = str(source)
    path = Path(name).expanduser()
    suffix = path.suffix.lower()
    try:
        if not path.exists():
            return "" if suffix not in SUFFIXES and is_hub_id(name) else _missing(path)
        if path.is_dir():
            return _folder_problem(path, name)
        if not path.is_file():
            return f"{name} is not a file; name one of {', '.join(SUFFIXES)}."
        size = path.stat().st_size
    except (OSError, ValueError) as error:
        return f"{visible(name)} cannot be a file name: {one_line(error)}."
    if suffix not in SUFFIXES:
        return f"{name} ends in none of {', '.join(SUFFIXES)}; convert or rename it."
    if not size:
        return f"{name} is empty; give at least one row."
    if size > MAX_FILE_BYTES:
        return f"{name} holds {size:,} bytes; at most {MAX_FILE_BYTES:,} are read."
    return ""


def is_hub_id(name: str) -> bool:
    """Return whether `name` has the form `dataset` or `owner/dataset`."""
    return _HUB_ID.fullmatch(name) is not None


def _missing(path: Path) -> str:
    folder = path.parent
    where = f"{path} does not exist (looked in {folder.absolute()})"
    if not folder.is_dir():
        return f"{where}; the folder does not exist either."
    names = [other.name for other in folder.iterdir() if other.suffix.lower() in SUFFIXES]
    hint = near_matches(path.name, names)
    held = f" It holds {list_names(names)}." if names and not hint else ""
    return f"{where}.{hint or held}"


def _jsonl_table(path: Path, source: str) -> Table:
    def parse(line: str, place: str) -> Row:
        try:
            return _json_row(json.loads(line), place)
        except json.JSONDecodeError as error:
            return Row(place, problem=f"is not JSON: {error.msg} at column {error.colno}")
        # Brackets nested by the thousand, and numbers of more digits than Python converts.
        except (ValueError, RecursionError) as error:
            return Row(place, problem=f"is not usable JSON: {error}")

    rows = list(_line_rows(path, source, parse))
    return Table(source, _columns_of(rows, source), lambda _: rows)


def _txt_table(path: Path, source: str) -> Table:
    rows = list(_line_rows(path, source, lambda line, place: Row(place, {TEXT_COLUMN: line})))
    return Table(source, (TEXT_COLUMN,), lambda _: rows)


def _json_table(path: Path, source: str) -> Table:
    text = _decode(path.read_bytes(), source)
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        hint = "; one object per line belongs in a .jsonl file" if error.msg == "Extra data" else ""
        raise SeedSetError(
            f"{source}:{error.lineno}: is not JSON: {error.msg} at column {error.colno}{hint}."
        ) from None
    except (ValueError, RecursionError) as error:
        raise SeedSetError(f"{source} is not usable JSON: {error}.") from None
    if not isinstance(data, list):
        raise SeedSetError(
            f"{source} holds {type(data).__name__}; it must hold a list of objects or of texts."
        )
    rows = [_json_row(value, f"{source} row {n}") for n, value in enumerate(data, start=1)]
    return Table(source, _columns_of(rows, source), lambda _: rows)


def _json_row(value: Any, place: str) -> Row:
    if isinstance(value, str):
        return Row(place, {TEXT_COLUMN: value})
    if isinstance(value, dict):
        return Row(place, value)
    hint = "; a list of rows belongs in a .json file" if isinstance(value, list) else ""
    return Row(place, problem=f"must be an object or a text, not {type(value).__name__}{hint}")


def _columns_of(rows: Sequence[Row], source: str) -> tuple[str, ...]:
    for row in rows:
        if row.values is not None:
            return tuple(row.values)
    if not rows:
        raise SeedSetError(f"{source} holds no instruction; give at least one row.")
    raise SeedSetError(
        f"{source} has {count_of(len(rows), 'bad row')} and no good one:\n"
        + examples([f"{row.place}: {row.problem}." for row in rows])
    )


def _csv_table(path: Path, source: str) -> Table:
    # Empty lines at the end are ignored, as in other formats.
    text = _decode(path.read_bytes(), source).rstrip("\r\n")
    # Strict, because a quote that is not closed would swallow all rows behind it.
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows: list[Row] = []
    header: list[str] = []
    try:
        for cells in reader:
            place = f"{source}:{reader.line_num}"
            if not header:
                header = [name.strip() for name in cells]
            elif len(cells) == len(header):
                rows.append(Row(place, dict(zip(header, cells, strict=True))))
            elif cells:
                has = f"has {count_of(len(cells), 'field')}, the header {len(header)}"
                rows.append(Row(place, problem=has))
            else:
                rows.append(Row(place, problem="is empty"))
    except csv.Error as error:
        raise SeedSetError(f"{source}:{reader.line_num}: is not CSV: {error}.") from None
    # The later of two columns of one name would silently replace the other.
    if repeated := {name for name in header if header.count(name) > 1}:
        raise SeedSetError(f"{source}:1: the header names {list_names(repeated)} more than once.")
    return Table(source, tuple(header), lambda _: rows)


def _parquet_table(path: Path, source: str) -> Table:
    # Imported here: most seed sets are text files, and the import is slow.
    import pyarrow
    import pyarrow.parquet

    unreadable = (pyarrow.ArrowException, OSError, ValueError)

    def read(columns: list[str]) -> Iterator[Row]:
        try:
            records = pyarrow.parquet.read_table(path, columns=columns).to_pylist()
        except unreadable as error:
            raise SeedSetError(f"{source} cannot be read as Parquet: {one_line(error)}.") from error
        for number, record in enumerate(records, start=1):
            yield Row(f"{source} row {number}", record)

    try:
        names = tuple(pyarrow.parquet.read_schema(path).names)
    except unreadable as error:
        raise SeedSetError(f"{source} cannot be read as Parquet: {one_line(error)}.") from error
    return Table(source, names, read)


def _hub_table(name: str, *, split: str, config: str | None) -> Table:
    # Imported here: only Hub datasets need it, and the import is slow.
    import datasets
    from datasets.exceptions import DatasetsError

    try:
        data = datasets.load_dataset(name, name=config, split=split)
    except ConnectionError as error:
        raise HubUnreachableError(
            f"{name} is not a file here, and the Hub cannot be reached to look for a dataset of "
            f"that name: {one_line(error)}."
        ) from error
    except (OSError, ValueError, DatasetsError) as error:
        raise SeedSetError(
            f"{name} is not a file here, and as a Hub dataset (config {config}, split {split}) it "
            f"cannot be loaded: {one_line(error)}."
        ) from error

    return replace(dataset_table(data, name), source=f"{name} ({split})")


# Folders.

# What `save_to_disk` writes beside the rows, of one dataset or of several splits.
_SAVED = ("state.json", "dataset_dict.json")
_SPLITS = ("train", "test", "validation", "valid", "val", "dev", "eval")


def _folder_problem(path: Path, name: str) -> str:
    if any((path / saved).is_file() for saved in _SAVED):
        return ""
    files = _files_in(path)
    if not files:
        return (
            f"{name} is a folder without a dataset; name a file or a folder of files that end in "
            f"{', '.join(SUFFIXES)}, or one that Dataset.save_to_disk wrote."
        )
    size = sum(file.stat().st_size for file in files)
    if size > MAX_FILE_BYTES:
        return f"{name} holds {size:,} bytes; at most {MAX_FILE_BYTES:,} are read."
    return ""


def _files_in(folder: Path) -> list[Path]:
    """Return the files of rows in `folder`, or in its folder "data": those of the first format."""
    for place in (folder, folder / "data"):
        # In this order: a folder of data may hold a .json or .txt that only describes it.
        for suffix in (".parquet", ".jsonl", ".csv", ".json", ".txt"):
            if files := sorted(path for path in place.glob(f"*{suffix}") if path.is_file()):
                return files
    return []


def _folder_table(path: Path, source: str, *, split: str) -> Table:
    if any((path / saved).is_file() for saved in _SAVED):
        return _saved_table(path, source, split=split)
    files = _files_in(path)
    splits: dict[str, list[Path]] = {}
    for file in files:
        # train-00000-of-00002.parquet, test.jsonl: as the Hub names the files of a split.
        start = re.split(r"[-_.]", file.name.lower(), maxsplit=1)[0]
        splits.setdefault(start if start in _SPLITS else "", []).append(file)
    # Where no file names a split, all of them are rows of one set.
    if set(splits) != {""}:
        files = splits.get(split, [])
        if not files:
            raise _no_split(source, split, splits)
    tables = [_TABLES[file.suffix.lower()](file, str(file)) for file in files]

    def read(columns: list[str]) -> Iterator[Row]:
        for table in tables:
            # Columns are found in the first file; the others need not have them.
            lacking = [name for name in columns if name not in table.columns]
            if lacking:
                yield Row(table.source, problem=f"has no column {list_names(lacking)}")
            else:
                yield from table.read(columns)

    return Table(source, tables[0].columns, read)


def _saved_table(path: Path, source: str, *, split: str) -> Table:
    # Imported here as for Hub datasets.
    import datasets
    from datasets.exceptions import DatasetsError

    try:
        data = datasets.load_from_disk(str(path))
    except (OSError, ValueError, KeyError, TypeError, DatasetsError) as error:
        raise SeedSetError(
            f"{source} cannot be read as what Dataset.save_to_disk wrote: {one_line(error)}."
        ) from error
    if isinstance(data, dict):
        if split not in data:
            raise _no_split(source, split, data)
        data = data[split]
    return dataset_table(data, source)


def _no_split(source: str, split: str, splits: Iterable[str]) -> SeedSetError:
    return SeedSetError(f"{source} has no split {visible(split)}; it has {list_names(splits)}.")


def dataset_table(data: Any, source: str) -> Table:
    """Return the rows of a `datasets.Dataset`, each named by its number in `source`."""

    def read(columns: list[str]) -> Iterator[Row]:
        for number, record in enumerate(data.select_columns(columns), start=1):
            yield Row(f"{source} row {number}", record)

    return Table(source, tuple(data.column_names), read)


_TABLES: dict[str, Callable[[Path, str], Table]] = {
    ".jsonl": _jsonl_table,
    ".json": _json_table,
    ".csv": _csv_table,
    ".parquet": _parquet_table,
    ".txt": _txt_table,
}


# Bytes.


def _line_rows(path: Path, source: str, parse: Callable[[str, str], Row]) -> Iterator[Row]:
    """Parse each line; empty lines are bad rows, but those at the end of the file are ignored."""
    empty: list[Row] = []
    for number, line in _lines(path):
        place = f"{source}:{number}"
        # A mark of encoding stands only before the first line.
        if number == 1 and line is not None:
            _check_encoding(line, source)
            line = line.removeprefix(codecs.BOM_UTF8)
        if line is not None and not line.strip():
            empty.append(Row(place, problem="is empty"))
            continue
        yield from empty
        empty = []
        yield _line_row(line, place, parse)


def _line_row(line: bytes | None, place: str, parse: Callable[[str, str], Row]) -> Row:
    if line is None:
        return Row(place, problem=f"is longer than {MAX_ROW_BYTES:,} bytes")
    try:
        return parse(line.decode("utf-8").rstrip("\r\n"), place)
    except UnicodeDecodeError as error:
        return Row(place, problem=f"is not UTF-8 (byte {error.start + 1} of the line)")


def _lines(path: Path) -> Iterator[tuple[int, bytes | None]]:
    """Give each line with its number; of one beyond `MAX_ROW_BYTES` only `None`, and no memory."""
    with path.open("rb") as file:
        number = 0
        while line := file.readline(MAX_ROW_BYTES):
            number += 1
            whole = True
            while len(line) == MAX_ROW_BYTES and not line.endswith(b"\n"):
                whole = False
                line = file.readline(MAX_ROW_BYTES)
            yield number, line if whole else None


def _check_encoding(start: bytes, source: str) -> None:
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise SeedSetError(f"{source} is encoded as UTF-16; save it as UTF-8.")


def _decode(data: bytes, source: str) -> str:
    _check_encoding(data, source)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise SeedSetError(f"{source}:{line}: is not UTF-8 (byte {error.start + 1}).") from None
