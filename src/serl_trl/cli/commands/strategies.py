"""`serl strategies`: the labellers and sources, what each costs and needs, and whose idea it is."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table

from serl_trl.common.console import OK, Parser, UsageError, report_problems, say, write_json
from serl_trl.labels.registry import known_needs

# Columns of each table, after the name; a row without a value has the word behind it.
COLUMNS: Mapping[str, Mapping[str, str]] = {
    "labellers": {
        "paper": "",
        "rollouts": "",
        "passes": "",
        "needs": "nothing",
        "measured": "not yet",
    },
    "sources": {"paper": "", "rollouts": "", "measured": "not yet"},
    "systems": {"paper": "", "here": "not built", "lacks": "nothing"},
}


def run(argv: Sequence[str], out: Console) -> int:
    """Print what there is to choose from."""
    parser = Parser(prog="serl strategies", allow_abbrev=False)
    parser.add_argument("--json", metavar="PATH", help="Write the tables to this file, as JSON.")
    try:
        options = parser.parse_args(list(argv))
    except UsageError:
        return report_problems("strategies", ["serl strategies takes only --json PATH."])
    found = tables()
    for kind, rows in found.items():
        table = Table(kind, *COLUMNS[kind], title_justify="left")
        for name, cells in rows.items():
            table.add_row(name, *cells.values())
        out.print(table)
    say(
        out,
        "Per group of G completions: rollouts are sampled, passes go forward through the model "
        "once more. Labellers are values of label_reward, with their options in brackets.",
    )
    write_json(options.json, found)
    return OK


def tables() -> dict[str, dict[str, dict[str, str]]]:
    """Return the rows of each table of `COLUMNS`, every cell filled in."""
    text = Path(__file__).parents[1].joinpath("strategies.yaml").read_text(encoding="utf-8")
    known: dict[str, Any] = yaml.safe_load(text)
    for name, row in known["labellers"].items():
        # The class is the one home of what it needs.
        row |= {"needs": ", ".join(sorted(known_needs(name)))} if known_needs(name) else {}
    return {
        kind: {
            name: {column: row.get(column, word) for column, word in columns.items()}
            for name, row in known[kind].items()
        }
        for kind, columns in COLUMNS.items()
    }
