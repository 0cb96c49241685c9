"""Advantages by hand, and the equalities between kinds."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from serl_trl.train.advantages import (
    leave_one_out,
    minus_group_mean,
    normalise,
    normalise_tokens,
    returns_with_kl,
    token_moments,
)

rewards_of_two_groups = st.lists(st.sampled_from([0.0, 1.0]), min_size=8, max_size=8)


def test_leave_one_out_subtracts_the_mean_of_the_others():
    advantages = leave_one_out(torch.tensor([1.0, 0.0, 0.0, 1.0]), 4)
    assert torch.allclose(advantages, torch.tensor([2 / 3, -2 / 3, -2 / 3, 2 / 3]))


@given(rewards_of_two_groups)
def test_rloo_and_the_baseline_variant_coincide_after_normalisation(rewards):
    values = torch.tensor(rewards)
    left, right = normalise(leave_one_out(values, 4)), normalise(minus_group_mean(values, 4))
    assert torch.allclose(left, right, atol=1e-3)


@given(rewards_of_two_groups)
def test_normalised_advantages_have_mean_zero_and_no_nan(rewards):
    advantages = normalise(leave_one_out(torch.tensor(rewards), 4))
    assert torch.isfinite(advantages).all()
    assert abs(advantages.mean()) < 1e-5


def test_an_unscored_completion_counts_as_the_mean():
    advantages = minus_group_mean(torch.tensor([1.0, torch.nan, 0.0, 0.5]), 4)
    assert advantages[1] == 0.0
    assert torch.isfinite(advantages).all()


def test_a_token_is_charged_for_the_kl_that_is_still_to_come():
    kl = torch.tensor([[1.0, 2.0, 9.0]])
    mask = torch.tensor([[1, 1, 0]])
    returns = returns_with_kl(torch.tensor([1.0]), kl, mask, beta=0.1)
    assert torch.allclose(returns, torch.tensor([[1.0 - 0.3, 1.0 - 0.2, 0.0]]))


def test_token_normalisation_ignores_padding():
    mask = torch.tensor([[1, 1, 0], [1, 0, 0]])
    returns = torch.tensor([[1.0, 3.0, 50.0], [5.0, 50.0, 50.0]]) * mask
    normal = normalise_tokens(returns, mask, token_moments(returns, mask))
    inside = normal[mask.bool()]
    assert abs(inside.mean()) < 1e-5
    assert abs(inside.std(correction=0) - 1.0) < 1e-3
    assert (normal[~mask.bool()] == 0).all()
