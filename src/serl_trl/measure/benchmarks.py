"""The benchmarks a model is measured on: the table of benchmarks.yaml, and reading one of them."""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from serl_trl import sandbox
from serl_trl.answers.equality import get_kind
from serl_trl.answers.golds import read_gold
from serl_trl.common.plain_yaml import own_table
from serl_trl.common.text import count_of, examples, list_names, near_matches, one_line, visible
from serl_trl.data.tables import HubUnreachableError, SeedSetError, file_problem, open_table
from serl_trl.measure.rows import READERS, BadRowError, Problem


@dataclass(frozen=True)
class ProblemSet:
    """The problems a benchmark was read as; `fingerprint` is the SHA-256 of kind and problems.

    `source` is the file or Hub dataset, `whole` says that it is all of the original on the Hub,
    `warnings` name the rows that were passed over.
    """

    name: str
    kind: str
    problems: tuple[Problem, ...]
    fingerprint: str
    source: str
    whole: bool = True
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Benchmark:
    """One entry of benchmarks.yaml, which says what each field is."""

    name: str
    title: str
    licence: str
    rows: Sequence[str]
    hub_id: str = ""
    split: str = ""
    config: str | None = None
    revision: str = "main"
    kind: str = "math"
    task_id: str | None = None

    def read(self, row: Mapping[str, Any]) -> Problem | None:
        """Return the problem that a row of the source is, or `None` where it is passed over."""
        reader, *columns = self.rows
        return READERS[reader](row, *columns)


_TABLE = own_table(__file__)
# A key that is not a field of `Benchmark` fails here.
BENCHMARKS: Mapping[str, Benchmark] = {
    name: Benchmark(name, **entry) for name, entry in _TABLE.items()
}


def check_benchmarks(names: Sequence[str], files: Mapping[str, str]) -> list[str]:
    """Return one text per unknown benchmark and per file that cannot be read; loads nothing."""
    problems = []
    for name in dict.fromkeys([*names, *files]):
        # The name becomes that of a file.
        if name not in BENCHMARKS and not (name in files and re.fullmatch(r"\w[\w.-]{0,60}", name)):
            problems.append(
                f"benchmarks={visible(name)} is unknown; choose among {list_names(BENCHMARKS)}, or "
                f"give the file of your own set by benchmark_files."
                + near_matches(name, BENCHMARKS)
            )
        # A file for a benchmark that is not measured is most likely a slip of the name.
        elif name not in names:
            problems.append(f"benchmark_files={name}=...: {name} is not among the benchmarks.")
        elif name in files:
            problem = file_problem(files[name])
            if not problem and not Path(files[name]).expanduser().exists():
                problem = f"{visible(files[name])} does not exist (looked in {Path.cwd()})."
            if problem:
                problems.append(f"benchmark_files={name}: {problem}")
    return problems


def load_benchmark(
    name: str,
    *,
    file: str | None = None,
    own_kind: str = "math",
    max_problems: int | None = None,
    max_bad_rows: int = 0,
) -> ProblemSet:
    """Read a benchmark from the Hub, or from `file` in its place; the first `max_problems` of it.

    A file has the columns of the Hub dataset, or an instruction column (`INSTRUCTION_COLUMNS`),
    `answer`, and for a choice benchmark `options`; the gold answer may be in `\\boxed{}`. With any
    other name it is a set of the user's, whose answers are of `own_kind`.

    Raises `SeedSetError` naming every bad row (more than `max_bad_rows`), or why nothing was read.
    """
    own = Benchmark(name, name, "the user's", ("plain", "text", "answer"), kind=own_kind)
    benchmark = BENCHMARKS[name] if file is None else BENCHMARKS.get(name, own)
    source, rows = _rows(benchmark, file)
    problems, bad = _read_rows(benchmark, rows)
    if len(bad) > max_bad_rows:
        raise SeedSetError(
            f"{name}: {source} has {count_of(len(bad), 'bad row')}, allowed are max_bad_rows="
            f"{max_bad_rows}:\n{examples(bad)}"
        )
    if not problems:
        raise SeedSetError(f"{name}: {source} holds no problem; give at least one row.")
    taken = tuple(problems[:max_problems])
    return ProblemSet(
        name=name,
        kind=benchmark.kind,
        problems=taken,
        fingerprint=_fingerprint(benchmark.kind, taken),
        source=source,
        # Only then may its figures stand for the benchmark on the Hub.
        whole=file is None and not bad and len(taken) == len(problems),
        warnings=tuple(f"{name}: passed over {line}" for line in bad),
    )


def _fingerprint(kind: str, problems: Sequence[Problem]) -> str:
    # Of what was asked, not of the file: the same problems from elsewhere may be compared.
    digest = hashlib.sha256(kind.encode())
    for problem in problems:
        digest.update(json.dumps(asdict(problem)).encode("ascii") + b"\n")
    return digest.hexdigest()


def _read_rows(
    benchmark: Benchmark, rows: Iterable[tuple[str, Mapping]]
) -> tuple[list[Problem], list[str]]:
    """Return the problems of `rows`, and one line for each bad row."""
    kind = get_kind(benchmark.kind)
    problems: list[Problem] = []
    bad: list[str] = []
    for number, (place, row) in enumerate(rows, start=1):
        try:
            problem = benchmark.read(row)
        except BadRowError as reason:
            bad.append(f"{place}: {reason}.")
            continue
        if problem is None:
            continue
        gold = read_gold(problem.gold, kind)
        if gold is None:
            shown = f"{problem.gold[:80]!r}"
            bad.append(f"{place}: the gold {shown} is not an answer of kind {kind.name}.")
        else:
            problems.append(replace(problem, gold=gold, row=number))
    return problems, bad


def _rows(benchmark: Benchmark, file: str | None) -> tuple[str, list[tuple[str, Mapping]]]:
    """Return the name of the source, and its rows, each with its place."""
    if file is not None:
        table = open_table(file, split="", config=None)
        rows = list(table.read(list(table.columns)))
        # A line that cannot be read means a damaged file; `max_bad_rows` is about rows that cannot
        # be used.
        if broken := [f"{row.place}: {row.problem}." for row in rows if row.values is None]:
            raise SeedSetError(f"{benchmark.name}: bad rows:\n{examples(broken)}")
        return table.source, [(row.place, row.values or {}) for row in rows]
    if not benchmark.hub_id:
        built_in = enumerate(sandbox.heldout(benchmark.name), 1)
        return benchmark.name, [(f"{benchmark.name} row {n}", row) for n, row in built_in]
    source = f"{benchmark.hub_id}@{benchmark.revision} ({benchmark.split})"
    data = _load_from_hub(benchmark)
    return source, [(f"{benchmark.hub_id} row {n}", row) for n, row in enumerate(data, 1)]


def _load_from_hub(benchmark: Benchmark) -> Any:
    # Imported here: only Hub datasets need it, and the import is slow.
    import datasets
    from datasets.exceptions import DatasetsError

    instead = f"give a local file: --benchmark_files {benchmark.name}=FILE."
    try:
        return datasets.load_dataset(
            benchmark.hub_id,
            name=benchmark.config,
            split=benchmark.split,
            revision=benchmark.revision,
        )
    except ConnectionError as error:
        raise HubUnreachableError(
            f"{benchmark.name}: the Hub cannot be reached for {benchmark.hub_id} "
            f"({one_line(error)}); {instead}"
        ) from error
    except (OSError, ValueError, DatasetsError) as error:
        raise SeedSetError(
            f"{benchmark.name}: {benchmark.hub_id} at {benchmark.revision} cannot be loaded: "
            f"{one_line(error)}; {instead}"
        ) from error
