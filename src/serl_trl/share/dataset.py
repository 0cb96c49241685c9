"""The ledger as a data set: one row per proposal, with its fate, its votes and where it comes from.

The ledger is streamed: what is remembered is a few numbers per record, and the accepted texts.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

from serl_trl.common.folder import FolderError
from serl_trl.common.plain_yaml import own_table
from serl_trl.common.records import ANY, RecordError, Shape, check_shape, optional
from serl_trl.common.secrets import secret_in
from serl_trl.common.text import visible
from serl_trl.runs.reader import LedgerIndex, Run

# Files of some ten megabytes; few of their rows are in memory at once.
ROWS_PER_FILE = 50_000
ROWS_PER_WRITE = 2_000
NUM_EXAMPLES = 3
# ROUGE-L F1 from which a proposal that is nearest to a seed counts as a copy of it.
NEAR_COPY = 0.9

SPLITS = ("accepted", "refused")
SAMPLING = (
    "proposer_temperature",
    "proposer_top_p",
    "proposer_max_tokens",
    "temperature",
    "top_p",
    "top_k",
    "max_completion_length",
    "num_generations",
)
# A ledger may be somebody else's: what a record must look like for its row to be written.
_PROPOSAL = {
    "id": optional(int),
    "step": optional(int),
    "text": optional(str),
    "detail": optional(({"rouge_l": optional((float, None))}, None)),
    "shots": optional(([str], None)),
}
_GROUP = {
    "step": optional(int),
    "answers": optional(({ANY: int}, None)),
    "num_unparsable": optional((int, None)),
    "majority_ratio": optional((float, None)),
}


@dataclass(frozen=True)
class Column:
    """A column of the data set; one without a `type` holds several values in each row.

    A `harmless` one stays where the texts of a row are withheld.
    """

    meaning: str
    type: str = ""
    harmless: bool = False


COLUMNS = {name: Column(**row) for name, row in own_table(__file__, "columns.yaml").items()}


def withheld_because(record: Mapping[str, Any], own_texts: Collection[str]) -> str | None:
    """Return why a proposal's text must not be published, or `None`.

    The evaluation problems would be spread, and the seeds are the user's. A filter that is asked
    before the comparison with both may have refused a copy of either, so its texts stay here.
    `own_texts` are those that the model wrote itself and that are published.
    """
    kept, detail = bool(record.get("keep")), record.get("detail") or {}
    reason = "" if kept else record.get("reason")
    if reason == "contamination":
        return "overlaps an evaluation problem"
    if reason in ("duplicate", "normalised_duplicate"):
        copied = record.get("text", "")
    elif detail.get("rouge_l") is None or "nearest" not in detail:
        # A kept text was compared with all that there was.
        return None if kept else "was refused before it was compared with seeds"
    elif detail["rouge_l"] < NEAR_COPY:
        return None
    else:
        copied = detail["nearest"]
    # What the model itself wrote before may be shown as often as it repeats it.
    return None if str(copied) in own_texts else "may copy a seed"


def read_rows(run: Run, *, run_id: str) -> Iterator[dict[str, Any]]:
    """Yield one row per proposal, with the columns `COLUMNS`, in the order of the ledger."""
    proposals, groups = run.ledger.proposals, run.ledger.groups
    sampling = {name: run.config.get(name) for name in SAMPLING}
    group_places = dict(zip(groups.proposals, groups.places, strict=True))
    empties_pool = bool(run.config.get("reset_pool", True))
    starts = {row for _, row in run.ledger.iterations} if empties_pool else set()
    # What is compared with own texts must be in the order of the run: a copy follows its original.
    own_texts: set[str] = set()
    pool: list[int] = []
    for row, place in enumerate(proposals.places):
        record = _read(run.ledger, place, _PROPOSAL)
        number = proposals.ids[row]
        if row in starts:
            pool.clear()
        group = None
        if number in group_places:
            group = _read(run.ledger, group_places[number], _GROUP)
        withheld = withheld_because(record, own_texts)
        columns = _proposal_columns(record, withheld)
        shots = record.get("shots") or ()
        columns["shots"] = [visible(_shot_id(str(shot), pool)) for shot in shots]
        columns["policy_revision"] = f"{run_id}@{record.get('step')}"
        columns["sampling"] = sampling
        yield columns | _group_columns(group)
        if record.get("keep"):
            # The pool numbers its texts in the order in which they were accepted.
            pool.append(number)
            if withheld is None:
                own_texts.add(str(record.get("text", "")))


def without_secrets(
    rows: Iterable[dict[str, Any]], secrets: Collection[str], found: list[str]
) -> Iterator[dict[str, Any]]:
    """Yield `rows`; the texts of one that holds one of `secrets`, or looks like it, are withheld.

    Each such row is named in `found`, by what it holds and the number of the row in its split.
    """
    counts: Counter[str] = Counter()
    for row in rows:
        split = SPLITS[not row["accepted"]]
        counts[split] += 1
        if kind := next(filter(None, (secret_in(text, secrets) for text in _texts_in(row))), ""):
            found.append(f"{kind}, from row {counts[split]:,} of {split} ({row['id']})")
            row = {name: value for name, value in row.items() if COLUMNS[name].harmless}
            row |= {"withheld": f"holds {kind}", "answers": [], "shots": []}
        yield row


def _texts_in(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from chain.from_iterable(map(_texts_in, value.values()))
    elif isinstance(value, list):
        yield from chain.from_iterable(map(_texts_in, value))


def write_dataset(folder: Path, rows: Iterator[dict[str, Any]]) -> dict[str, int]:
    """Write `rows` as Parquet files that `datasets.load_dataset(folder)` reads; return the counts.

    The splits are those of `SPLITS`; one without rows has no file.
    """
    writers = {name: _SplitWriter(folder / "data", name) for name in SPLITS}
    for row in rows:
        # False counts as 0, and the accepted come first.
        writers[SPLITS[not row["accepted"]]].add(row)
    return {name: writer.close() for name, writer in writers.items()}


class _SplitWriter:
    """Writes the rows of one split to numbered files."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._name = name
        self._rows: list[dict[str, Any]] = []
        self._writer: Any = None
        self._num_in_file = 0
        self._num_rows = 0
        self._files: list[Path] = []

    def add(self, row: dict[str, Any]) -> None:
        self._rows.append(row)
        if len(self._rows) == ROWS_PER_WRITE:
            self._write()

    def close(self) -> int:
        if self._rows:
            self._write()
        self._end_file()
        # How many files there are stands in their names, and is known at the end only.
        for number, path in enumerate(self._files):
            path.rename(
                self._folder / f"{self._name}-{number:05d}-of-{len(self._files):05d}.parquet"
            )
        return self._num_rows

    def _write(self) -> None:
        import pyarrow
        from pyarrow import parquet

        if self._writer is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._files.append(self._folder / f"{self._name}-{len(self._files):05d}.parquet")
            self._writer = parquet.ParquetWriter(self._files[-1], _schema(), compression="zstd")
        self._writer.write_table(pyarrow.Table.from_pylist(self._rows, schema=_schema()))
        self._num_in_file += len(self._rows)
        self._num_rows += len(self._rows)
        self._rows = []
        if self._num_in_file >= ROWS_PER_FILE:
            self._end_file()

    def _end_file(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._writer, self._num_in_file = None, 0


def _schema() -> Any:
    import pyarrow as pa

    counts = ("tokens", "top_k", "length", "num_generations")
    sampling = {name: pa.int64() if name.endswith(counts) else pa.float64() for name in SAMPLING}
    several = {
        "answers": pa.list_(pa.struct({"answer": pa.string(), "votes": pa.int64()})),
        "shots": pa.list_(pa.string()),
        "sampling": pa.struct(sampling),
    }
    types = {name: each.type for name, each in COLUMNS.items() if each.type}
    types = {name: pa.type_for_alias(alias) for name, alias in types.items()} | several
    return pa.schema([(name, types[name]) for name in COLUMNS])


def _read(ledger: LedgerIndex, place: int, shape: Shape) -> dict[str, Any]:
    """Return the record at `place` when it is one that a run writes."""
    record = ledger.read(place)
    try:
        return check_shape(record, shape)
    except RecordError as error:
        raise FolderError(
            f"{ledger.path}, byte {place}: no run wrote this line: {error}."
        ) from None


def examples_of(ledger: LedgerIndex) -> dict[str, list[str]]:
    """Return the first `NUM_EXAMPLES` texts of each split that may be shown."""
    # The first ones: the same run gives the same card.
    kept, refused = ledger.proposals.kept(), ledger.proposals.refused()
    found: dict[str, list[str]] = {name: [] for name in SPLITS}
    if not kept and not refused:
        return found
    places = ledger.proposals.places
    records = {
        "accepted": (_read(ledger, places[row], _PROPOSAL) for row in kept),
        # What it repeats is not looked for here, so that no seed can slip through.
        "refused": (_read(ledger, places[row], _PROPOSAL) for row in refused),
    }
    for name, split in records.items():
        shown = (str(r.get("text", "")) for r in split if withheld_because(r, ()) is None)
        found[name] += islice((text for text in shown if not secret_in(text)), NUM_EXAMPLES)
    return found


def _proposal_columns(record: Mapping[str, Any], withheld: str | None) -> dict[str, Any]:
    detail = record.get("detail") or {}
    keep = bool(record.get("keep"))
    return {
        "id": f"proposal:{record.get('id')}",
        "instruction": None if withheld else visible(str(record.get("text", ""))),
        "accepted": keep,
        "reason": None if keep else visible(str(record.get("reason"))),
        "withheld": withheld,
        "similarity": detail.get("rouge_l"),
        "step": record.get("step"),
    }


def _group_columns(group: Mapping[str, Any] | None) -> dict[str, Any]:
    if group is None:
        return {"rolled_out": False, "answers": []}
    counts: Mapping[str, int] = group.get("answers") or {}
    unparsable = int(group.get("num_unparsable") or 0)
    majority = group.get("majority_answer")
    ordered = sorted(counts.items(), key=lambda pair: -pair[1])
    return {
        "rolled_out": True,
        "kept": bool(group.get("keep")),
        "group_reason": None if group.get("keep") else visible(str(group.get("reason"))),
        "majority_answer": None if majority is None else visible(str(majority)),
        "majority_ratio": group.get("majority_ratio"),
        "num_completions": sum(counts.values()) + unparsable,
        "num_unparsable": unparsable,
        "answers": [{"answer": visible(text), "votes": votes} for text, votes in ordered],
        "voted_step": group.get("step"),
    }


def _shot_id(origin: str, pool: Sequence[int]) -> str:
    """Return the id of a shot: the pool numbers what it holds from its last emptying on."""
    kind, _, number = origin.partition(":")
    # A number that the pool does not have was written by no run; it is shown as it is.
    if kind != "pool" or not number.isdecimal() or int(number) >= len(pool):
        return origin
    return f"proposal:{pool[int(number)]}"
