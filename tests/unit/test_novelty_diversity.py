"""Diversity in numbers, by hand and by their bounds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serl_trl.loop.diversity import (
    distinct_ratio,
    pair_similarity,
    repetition_ratio,
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


def test_the_similarity_of_two_completions_by_hand():
    # Bigrams 12, 23 and 34 against 12, 23 and 35: two of three are common.
    assert pair_similarity([1, 2, 3, 4], [1, 2, 3, 5]) == pytest.approx(2 / 3)
    assert pair_similarity([1, 2], [2, 1]) == 0.0
    assert pair_similarity([7], [7]) == pair_similarity([], []) == 1.0
    assert pair_similarity([7], [8]) == pair_similarity([7], []) == 0.0


def test_repetition_by_hand():
    # 1234, 2341, 3412, 4123 and 1234 again.
    assert repetition_ratio([1, 2, 3, 4, 1, 2, 3, 4]) == pytest.approx(1 / 5)
    assert repetition_ratio([5] * 11) == pytest.approx(7 / 8)
    assert repetition_ratio([1, 2, 3]) == repetition_ratio([]) == 0.0


tokens = st.lists(st.integers(0, 3), max_size=20)


@given(tokens, tokens)
def test_similarity_and_repetition_are_shares_and_similarity_has_no_order(first, second):
    assert 0 <= pair_similarity(first, second) == pair_similarity(second, first) <= 1
    assert pair_similarity(first, first) == 1
    assert 0 <= repetition_ratio(first) <= 1


def test_seed_coverage_counts_seeds_only():
    assert seed_coverage_ratio({"seed:0", "seed:7", "pool:1"}, num_seeds=4) == 0.5
    assert seed_coverage_ratio([], num_seeds=0) == 0.0


@given(st.lists(st.text(max_size=10), max_size=6))
def test_ratios_lie_between_zero_and_one_and_ignore_order(texts):
    for ratio in (template_ratio, top_template_ratio, lambda t: distinct_ratio(t, n=2)):
        assert 0 <= ratio(texts) <= 1
        assert ratio(texts) == pytest.approx(ratio(texts[::-1]))
