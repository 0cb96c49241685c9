"""`serl eval --self_check`: the golds of benchmarks graded against themselves, without a model."""

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from serl_trl.common.console import BAD_INPUT, OK, say
from serl_trl.common.text import visible
from serl_trl.measure.benchmarks import load_benchmark
from serl_trl.measure.self_check import find_mismatches

# A page of them shows what is wrong; the JSON file has all.
_MOST_SHOWN = 20


def check_golds(
    names: Sequence[str], files: Mapping[str, str], own_kind: str, out: Console
) -> tuple[int, dict[str, Any]]:
    """Check each benchmark, show what cannot match, and return the exit code and a record.

    The code is that of bad input where a gold cannot be read or does not match itself, or a
    benchmark cannot be read.
    """
    record: dict[str, dict[str, Any]] = {}
    for name in names:
        with out.status(f"checking {name}"):
            record[name] = _check(name, files.get(name), own_kind)
    table = Table("benchmark", "golds", "match themselves", "cannot match")
    for name, found in record.items():
        size, bad = found["num_golds"], len(found["cannot_match"])
        table.add_row(name, f"{size:,}", f"{size - bad:,}", f"{bad:,}")
    out.print(table)
    for name, found in record.items():
        lines = [*found["problems"], *found["cannot_match"]]
        for line in lines[:_MOST_SHOWN]:
            out.print(Text(f"{name}: {visible(line)}", "yellow"), soft_wrap=True)
        if len(lines) > _MOST_SHOWN:
            say(out, f"{name}: and {len(lines) - _MOST_SHOWN:,} more.")
    failed = any(found["problems"] or found["cannot_match"] for found in record.values())
    return BAD_INPUT if failed else OK, {"benchmarks": record}


def _check(name: str, file: str | None, own_kind: str) -> dict[str, Any]:
    try:
        # Rows that cannot be read are what is looked for, so none of them is one too many.
        found = load_benchmark(name, file=file, own_kind=own_kind, max_bad_rows=sys.maxsize)
    except ValueError as error:
        return {"num_golds": 0, "cannot_match": [], "problems": [str(error)]}
    bad = [*found.warnings, *map(str, find_mismatches(found))]
    size = len(found.problems) + len(found.warnings)
    return {"num_golds": size, "cannot_match": bad, "problems": []}
