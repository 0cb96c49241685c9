"""Advantages by hand, and the equalities between kinds."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from serl_trl.train.advantages import (
    by_role,
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


def test_an_unscored_completion_changes_no_advantage_of_the_others():
    rewards = torch.tensor([1.0, torch.nan, 0.0, torch.nan, 1.0, torch.nan, 1.0, 0.0])
    found = leave_one_out(rewards, 4)
    # Of the first group 1 and 0 are known: each is the other's baseline.
    assert found[:4].tolist() == [1.0, 0.0, -1.0, 0.0]
    assert torch.allclose(found[4:], torch.tensor([0.5, 0.0, 0.5, -1.0]))
    known = ~rewards.isnan()
    normal = normalise(found, known)
    assert abs(normal[known].mean()) < 1e-6
    assert normal[~known].tolist() == [0.0, 0.0, 0.0]


def test_a_reward_that_is_alone_in_its_group_has_no_baseline_and_no_advantage():
    rewards = torch.tensor([torch.nan, 1.0, torch.nan, torch.nan])
    assert leave_one_out(rewards, 4).tolist() == [0.0] * 4
    assert minus_group_mean(rewards, 4).tolist() == [0.0] * 4
    assert normalise(torch.tensor([3.0, 1.0]), torch.tensor([True, False])).tolist() == [0.0, 0.0]


def test_roles_are_normalised_each_alone():
    rewards = torch.tensor([1.0, 0.0, 100.0, 0.0, 0.0, 1.0, 0.0, 300.0])
    roles = ["solver", "solver", "proposer", "proposer"] * 2

    def shape(values):
        return normalise(leave_one_out(values, 2))

    found = by_role(shape, rewards, roles)
    solver, proposer = [0, 1, 4, 5], [2, 3, 6, 7]
    assert torch.equal(found[solver], shape(rewards[solver]))
    assert torch.equal(found[proposer], shape(rewards[proposer]))
    assert torch.equal(by_role(shape, rewards, ["solver"] * 8), shape(rewards))


def test_a_batch_in_which_nothing_is_trained_has_finite_token_advantages():
    returns, mask = torch.zeros(2, 3), torch.zeros(2, 3)
    assert normalise_tokens(returns, mask, token_moments(returns, mask)).tolist() == [[0.0] * 3] * 2
