"""`serl strategies` names every labeller and source there is, and the docs have the same tables."""

import json
import re
from pathlib import Path

import pytest

from serl_trl.cli.commands.strategies import COLUMNS, tables
from serl_trl.cli.entry import main
from serl_trl.labels.registry import LABELLERS
from serl_trl.propose.sources.registry import SOURCES
from serl_trl.train.config_checks import find_problems
from serl_trl.train.options import PRESETS

PAGE = (Path(__file__).parents[2] / "docs" / "strategies.md").read_text(encoding="utf-8")
# The systems that a reader of the literature looks for.
SOUGHT = {
    "TTRL", "SRT", "Co-Reward", "CoVo", "SSR-Zero", "SIRLC", "self-rewarding", "DuPO", "R3/DRO",
    "EMPO", "Intuitor", "RENT", "RESTRAIN", "EVOL-RL", "SCRL", "R-Few",
}  # fmt: skip


def test_every_labeller_and_source_has_its_row_and_no_other():
    found = tables()
    assert found["labellers"].keys() == LABELLERS.keys()
    assert found["sources"].keys() == SOURCES.keys()
    for rows in found.values():
        assert all(cell for row in rows.values() for cell in row.values())


@pytest.mark.parametrize("system", tables()["systems"])
def test_what_stands_for_a_system_is_a_config(system):
    row = tables()["systems"][system]
    if row["here"] == "not built":
        assert row["lacks"].startswith("all: ")
        return
    values = {}
    for part in re.split(r", (?=\w+: )", row["here"]):
        option, value = part.split(": ", maxsplit=1)
        values[option] = value.strip("[]").split(", ") if value.startswith("[") else value
    assert values.keys() <= {"label_reward", "preset", "sources", "advantage"}
    assert values.get("preset", "paper") in PRESETS
    assert find_problems({k: v for k, v in values.items() if k != "preset"}) == []


def test_the_systems_that_are_sought_are_there():
    assert tables()["systems"].keys() >= SOUGHT


def test_what_a_labeller_needs_is_read_off_its_class():
    rows = tables()["labellers"]
    assert rows["margin_vote"]["needs"] == "entropy"
    assert rows["vote"]["needs"] == "nothing"


@pytest.mark.parametrize("kind", COLUMNS)
def test_the_page_has_the_rows_of_the_command(kind):
    for name, cells in tables()[kind].items():
        assert (
            "| " + " | ".join([f"`{name}`" if kind != "systems" else name, *cells.values()]) + " |"
            in PAGE
        )


def test_the_command_prints_the_tables_and_writes_them(tmp_path, capsys):
    file = tmp_path / "strategies.json"
    assert main(["strategies", "--json", str(file)]) == 0
    assert json.loads(file.read_text()) == tables()
    said = capsys.readouterr().out
    assert "margin_vote" in said and "RESTRAIN" in said
    assert main(["strategies", "more"]) == 2
