"""Advantages from rewards, for the kinds that TRL does not name.

Source: method section of SeRL (arXiv 2505.20347) and REINFORCE++ (arXiv 2501.03262). All functions
normalise over what is trained: the groups have been filtered before.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

# Added to a standard deviation, as TRL does, so that a batch without variance gives zeros.
EPS = 1e-4


def leave_one_out(rewards: Tensor, group_size: int) -> Tensor:
    """Subtract from each reward the mean of the other rewards of its group.

    `rewards` has shape (B * G,), a group after another. NaN (no reward function spoke) counts in
    no mean and gives 0, and so does a reward that is the only one of its group. Returns the
    same shape.
    """
    groups, known = _groups(rewards, group_size)
    count = known.sum(dim=1, keepdim=True)
    # A reward that counted in its own baseline would shrink its advantage.
    others = (groups.sum(dim=1, keepdim=True) - groups) / (count - 1).clamp(min=1)
    return ((groups - others) * (known & (count > 1))).flatten()


def minus_group_mean(rewards: Tensor, group_size: int) -> Tensor:
    """Subtract from each reward the mean of its group; shapes and NaN as in `leave_one_out`."""
    groups, known = _groups(rewards, group_size)
    # Clamped for a group of which no completion has a reward.
    mean = groups.sum(dim=1, keepdim=True) / known.sum(dim=1, keepdim=True).clamp(min=1)
    return ((groups - mean) * known).flatten()


def normalise(values: Tensor, known: Tensor | None = None) -> Tensor:
    """Shift and scale `values` to mean 0 and standard deviation 1 over the whole batch.

    Where `known` is false a value counts for neither, and gives 0.
    """
    if known is None or known.all():
        return (values - values.mean()) / (values.std() + EPS)
    # One value has no spread: its standard deviation would be NaN.
    if known.sum() < 2:
        return torch.zeros_like(values)
    return (values - values[known].mean()) / (values[known].std() + EPS) * known


def by_role(shape: Callable[[Tensor], Tensor], rewards: Tensor, roles: Sequence[str]) -> Tensor:
    """Apply `shape` to the rewards of each role alone; `roles` names that of each row.

    Rewards of different roles answer different questions, so one's mean and spread say nothing of
    another's.
    """
    if len(set(roles)) <= 1:
        return shape(rewards)
    shaped = torch.zeros_like(rewards)
    for rows in rows_of_roles(roles):
        shaped[rows] = shape(rewards[rows])
    return shaped


def rows_of_roles(roles: Sequence[str]) -> list[list[int]]:
    """Return the rows of each role, the roles in alphabetical order."""
    return [[row for row, each in enumerate(roles) if each == role] for role in sorted(set(roles))]


def returns_with_kl(rewards: Tensor, kl: Tensor, mask: Tensor, *, beta: float) -> Tensor:
    """Return per token its reward-to-go: the completion's reward minus `beta` times the KL to come.

    `rewards` has shape (N,), `kl` (log-prob minus reference log-prob, the k1 estimate) and `mask`
    have shape (N, L). The result has shape (N, L) and is 0 outside `mask`.
    """
    penalty = beta * kl * mask
    # Summed from the end: a token is charged for the KL that it can still change.
    to_go = penalty.flip(dims=[1]).cumsum(dim=1).flip(dims=[1])
    return (rewards.unsqueeze(1) - to_go) * mask


def normalise_tokens(returns: Tensor, mask: Tensor, moments: Tensor) -> Tensor:
    """Normalise per-token `returns` of shape (N, L) by the batch's `moments`.

    `moments` is (count, sum, sum of squares) over the tokens of all processes; see `token_moments`.
    """
    count, total, squares = moments.unbind()
    # A role of which nothing is trained has no token.
    count = count.clamp(min=1)
    mean = total / count
    # Rounding can make the variance of equal values a little negative.
    std = (squares / count - mean**2).clamp(min=0).sqrt()
    return (returns - mean) / (std + EPS) * mask


def token_moments(returns: Tensor, mask: Tensor) -> Tensor:
    """Return (count, sum, sum of squares) of `returns` over `mask`, in double precision."""
    # The variance is a small difference of large sums, in which single precision loses its digits.
    inside = returns.double() * mask
    return torch.stack([mask.double().sum(), inside.sum(), (inside**2).sum()])


def _groups(rewards: Tensor, group_size: int) -> tuple[Tensor, Tensor]:
    """Return rewards by group with 0 for NaN, and which of them are known."""
    groups = rewards.view(-1, group_size)
    return torch.nan_to_num(groups, nan=0.0), ~groups.isnan()
