"""Faults of parsing and filtering that others reported; read where the file is present."""

import json
from pathlib import Path

import pytest

from serl_trl.filters.gate import ProposalFilter
from serl_trl.propose.requests import parse_proposals

FAULTS = Path(__file__).parents[2].parent / "shared/data/public_faults.jsonl"


def rows(area: str) -> list[dict]:
    if not FAULTS.exists():
        return []
    read = map(json.loads, FAULTS.read_text("utf-8").splitlines())
    return [row for row in read if row["area"] == area]


@pytest.mark.parametrize("row", rows("proposer"))
def test_what_others_saw_a_model_write_is_read(row):
    assert parse_proposals(row["input"]["text"]) == row["want"]


@pytest.mark.parametrize("row", rows("filters"))
def test_what_others_saw_pass_a_filter_is_judged(row):
    names, want = row["input"]["names"], row["want"]
    chosen = {} if names == "default" else {"names": names.split(",")}
    verdict = ProposalFilter(**chosen).judge(row["input"]["text"])
    assert verdict.keep == want["keep"]
    assert verdict.reason == want.get("reason", verdict.reason)
