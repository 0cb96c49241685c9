"""Diversity in numbers, by hand and by their bounds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serl_trl.loop.diversity import (
    distinct_ratio,
    seed_coverage_ratio,
    template_ratio,
    top_template_ratio,
)

TEXTS = ["Tom has 3 pens", "Tom has 4 pens", "Tom has five pens", "Ann has 3 pens"]


def test_templates_are_counted_without_their_numbers():
    assert template_ratio(TEXTS) == 0.5
    assert top_template_ratio(TEXTS) == 0.75


def test_distinct_n_by_hand():
    assert distinct_ratio(["a b a b", "a b"], n=1) == pytest.approx(2 / 6)
    assert distinct_ratio(["a b a b", "a b"], n=2) == pytest.approx(2 / 4)
    assert distinct_ratio(["a"], n=2) == 0.0


def test_seed_coverage_counts_seeds_only():
    assert seed_coverage_ratio({"seed:0", "seed:7", "pool:1"}, num_seeds=4) == 0.5
    assert seed_coverage_ratio([], num_seeds=0) == 0.0


@given(st.lists(st.text(max_size=10), max_size=6))
def test_ratios_lie_between_zero_and_one_and_ignore_order(texts):
    for ratio in (template_ratio, top_template_ratio, lambda t: distinct_ratio(t, n=2)):
        assert 0 <= ratio(texts) <= 1
        assert ratio(texts) == pytest.approx(ratio(texts[::-1]))
