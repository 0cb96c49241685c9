"""The filters on 500 human problems that nobody here wrote; read where the file is present."""

import hashlib
import json
from pathlib import Path

from serl_trl.filters.gate import ProposalFilter
from serl_trl.filters.registry import paper_filters

REFUSALS = Path(__file__).parent / "fixtures/math_seed_refusals.json"


def read_seeds(problems) -> list[str]:
    return [row["problem"] for row in problems("math_seeds_500")]


def test_the_default_refuses_exactly_the_seeds_that_are_listed_and_defended(problems):
    judge = ProposalFilter().judge
    refused = [
        (row, hashlib.sha256(text.encode()).hexdigest(), verdict.reason)
        for row, text in enumerate(read_seeds(problems))
        if not (verdict := judge(text)).keep
    ]
    listed = json.loads(REFUSALS.read_text("utf-8"))
    assert refused == [(entry["row"], entry["sha256"], entry["reason"]) for entry in listed]


def test_the_default_refuses_under_five_percent_beyond_those_that_need_a_figure():
    listed = json.loads(REFUSALS.read_text("utf-8"))
    assert all(entry["why"] for entry in listed)
    assert sum(not entry["needs_figure"] for entry in listed) / 500 < 0.05


def test_the_papers_rules_refuse_as_many_seeds_as_the_original_did(problems):
    judge = ProposalFilter(names=paper_filters, max_words=150, novelty="plain").judge
    num_refused = sum(not judge(text).keep for text in read_seeds(problems))
    assert num_refused / 500 == 0.158


def test_no_rule_refuses_a_good_problem_of_ours(problems):
    for judge in (
        ProposalFilter().judge,
        ProposalFilter(names=paper_filters, novelty="plain").judge,
    ):
        texts = [row["problem"] for row in problems("own")]
        assert [(text, judge(text).reason) for text in texts if not judge(text).keep] == []
