"""Diversity in numbers, by hand and by their bounds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serl_trl.diversity import (
    distinct_ratio,
    diversity_metrics,
    mean_nearest_rouge_l,
    num_refused,
    num_templates,
    seed_coverage_ratio,
    template_ratio,
    top_template_ratio,
)
from serl_trl.verdict import Verdict

VERDICTS = [
    Verdict(True, detail={"rouge_l": 0.25, "nearest": "x"}),
    Verdict(False, "rouge_l", {"rouge_l": 0.75, "nearest": "x"}),
    Verdict(False, "figure", {"found": "below"}),
    Verdict(False, "figure"),
]
TEXTS = ["Tom has 3 pens", "Tom has 4 pens", "Tom has five pens", "Ann has 3 pens"]


def test_refusals_are_counted_by_reason():
    assert num_refused(VERDICTS) == {"figure": 2, "rouge_l": 1}


def test_the_mean_is_over_the_texts_that_were_compared():
    assert mean_nearest_rouge_l(VERDICTS) == 0.5
    assert mean_nearest_rouge_l([]) == 0.0


def test_templates_are_counted_without_their_numbers():
    assert num_templates(TEXTS) == 2
    assert template_ratio(TEXTS) == 0.5
    assert top_template_ratio(TEXTS) == 0.75


def test_distinct_n_by_hand():
    assert distinct_ratio(["a b a b", "a b"], n=1) == pytest.approx(2 / 6)
    assert distinct_ratio(["a b a b", "a b"], n=2) == pytest.approx(2 / 4)
    assert distinct_ratio(["a"], n=2) == 0.0


def test_seed_coverage_counts_seeds_only():
    assert seed_coverage_ratio({"seed:0", "seed:7", "pool:1"}, num_seeds=4) == 0.5
    assert seed_coverage_ratio([], num_seeds=0) == 0.0


@given(st.lists(st.text(max_size=10), max_size=6), st.lists(st.sampled_from(VERDICTS), max_size=6))
def test_ratios_lie_between_zero_and_one_and_ignore_order(texts, verdicts):
    metrics = diversity_metrics(verdicts, texts, shown={"seed:1"}, num_seeds=3)
    assert all(0 <= v <= 1 for k, v in metrics.items() if k.endswith("_ratio"))
    assert metrics == pytest.approx(
        diversity_metrics(verdicts[::-1], texts[::-1], shown={"seed:1"}, num_seeds=3)
    )
    assert sum(v for k, v in metrics.items() if k.startswith("num_refused/")) == sum(
        not verdict.keep for verdict in verdicts
    )
