"""The filters on 500 human problems that nobody here wrote; read where the file is present."""

import hashlib
import json
from pathlib import Path

import pytest

from serl_trl.filters import ProposalFilter, paper_filters

DATA = Path(__file__).parents[2].parent / "shared/data/math_seeds_500.jsonl"
REFUSALS = Path(__file__).parent / "fixtures/math_seed_refusals.json"

needs_data = pytest.mark.skipif(not DATA.exists(), reason="the public seed problems are not here")


def read_seeds() -> list[str]:
    return [json.loads(line)["problem"] for line in DATA.read_text("utf-8").splitlines()]


@needs_data
def test_the_default_refuses_exactly_the_seeds_that_are_listed_and_defended():
    judge = ProposalFilter().judge
    refused = [
        (row, hashlib.sha256(text.encode()).hexdigest(), verdict.reason)
        for row, text in enumerate(read_seeds())
        if not (verdict := judge(text)).keep
    ]
    listed = json.loads(REFUSALS.read_text("utf-8"))
    assert refused == [(entry["row"], entry["sha256"], entry["reason"]) for entry in listed]


def test_the_default_refuses_under_five_percent_beyond_those_that_need_a_figure():
    listed = json.loads(REFUSALS.read_text("utf-8"))
    assert all(entry["why"] for entry in listed)
    assert sum(not entry["needs_figure"] for entry in listed) / 500 < 0.05


@needs_data
def test_the_papers_rules_refuse_as_many_seeds_as_the_original_did():
    judge = ProposalFilter(names=paper_filters, novelty="plain").judge
    num_refused = sum(not judge(text).keep for text in read_seeds())
    assert num_refused / 500 == 0.158
