"""Answers of kinds beside mathematics that users of other graders have seen misjudged."""

import json
from pathlib import Path

import pytest

from serl_trl.answers.equality import same_answer

FILE = Path(__file__).parents[3] / "shared" / "data" / "public_faults.jsonl"
AREAS = ("choice", "set", "list", "text", "label")


def rows():
    if not FILE.is_file():
        return []
    found = [json.loads(line) for line in FILE.read_text(encoding="utf-8").splitlines()]
    return [row for row in found if row["area"] in AREAS]


@pytest.mark.skipif(not FILE.is_file(), reason="needs ../shared/data/public_faults.jsonl")
def test_reported_faults_of_kinds_are_mended():
    wrong = []
    for row in rows():
        pair = row["input"]
        verdict = same_answer(pair["left"], pair["right"], kind=pair["kind"])
        if verdict != row["want"]:
            wrong.append(pair)
    assert wrong == []
