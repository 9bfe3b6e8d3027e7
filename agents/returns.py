"""Returns, advantages and baselines of whole responses: pure functions of tensors.

Notation: B episodes, R response columns. ``mask`` (B, R) is True on real tokens, EOS included; responses are right
padded. An episode is one row, so nothing here can leak from one episode into another, and no value is bootstrapped:
both EOS and the token budget end the task. Values at padding never matter and are returned as 0.
"""

from __future__ import annotations

import torch
from torch import Tensor


def returns_to_go(rewards: Tensor, mask: Tensor) -> Tensor:
    """G_t = sum of r_s over s >= t, undiscounted.

    Args:
        rewards: (B, R) reward of each token.
        mask: (B, R) bool, True = real token.

    Returns:
        (B, R), 0 at padding.
    """
    rewards = rewards.masked_fill(~mask, 0.0)
    return rewards.flip(1).cumsum(1).flip(1).masked_fill(~mask, 0.0)


def gae(rewards: Tensor, values: Tensor, mask: Tensor, gae_lambda: float, gamma: float = 1.0) -> tuple[Tensor, Tensor]:
    """Generalised advantage estimation (Schulman et al. 2016, equation 16).

    delta_t = r_t + gamma V_{t+1} - V_t and A_t = delta_t + gamma lambda A_{t+1}, with V and A zero after the last real
    token. ``gae_lambda=1`` gives A_t = G_t - V_t.

    Args:
        rewards: (B, R) reward of each token.
        values: (B, R) V(s_t), the value of the state in which token t was chosen.
        mask: (B, R) bool, True = real token.
        gae_lambda: lambda, 0 to 1.
        gamma: discount, 1 in the token MDP.

    Returns:
        advantages (B, R) and the value targets A_t + V_t (B, R), both 0 at padding.
    """
    rewards, values = rewards.masked_fill(~mask, 0.0), values.masked_fill(~mask, 0.0)
    advantages = torch.zeros_like(rewards)
    next_value = next_advantage = torch.zeros_like(rewards[:, 0])
    for t in reversed(range(rewards.shape[1])):
        delta = rewards[:, t] + gamma * next_value - values[:, t]
        next_advantage = (delta + gamma * gae_lambda * next_advantage).masked_fill(~mask[:, t], 0.0)
        next_value = values[:, t]
        advantages[:, t] = next_advantage
    return advantages, advantages + values


def whiten(x: Tensor, mask: Tensor, eps: float = 1e-8) -> Tensor:
    """Shift and scale ``x`` (B, R) to mean 0 and variance 1 over its real tokens; 0 at padding.

    A constant ``x`` is returned as zeros, not as amplified noise.
    """
    return ((x - x[mask].mean()) / deviation(x, mask, eps)).masked_fill(~mask, 0.0)


def deviation(x: Tensor, mask: Tensor, eps: float = 1e-8) -> Tensor:
    """Standard deviation of ``x`` (B, R) over its real tokens, plus ``eps``, so that it can be divided by."""
    return x[mask].std(correction=0) + eps


def group_numbers(groups: Tensor) -> Tensor:
    """Number the distinct groups (B,) from 0: (B,) int64.

    >>> group_numbers(torch.tensor([7, 7, 3]))
    tensor([1, 1, 0])
    """
    return torch.unique(groups, return_inverse=True)[1]


def group_mean(x: Tensor, groups: Tensor) -> Tensor:
    """Mean of ``x`` (B,) over the episodes of the same prompt, for each episode (B,); ``groups`` (B,) int64."""
    group = group_numbers(groups)
    counts = torch.bincount(group)
    totals = torch.zeros(len(counts), dtype=x.dtype, device=x.device).index_add_(0, group, x)
    return (totals / counts)[group]


def leave_one_out(returns: Tensor, groups: Tensor) -> Tensor:
    """Mean return of the *other* samples of the same prompt (RLOO: Kool et al. 2019; Ahmadian et al. 2024).

    The baseline of a sample does not depend on that sample, so subtracting it leaves the gradient unbiased.

    Args:
        returns: (B,) return of each episode.
        groups: (B,) int64, which prompt an episode belongs to; every group needs at least two samples.

    Returns:
        (B,) baseline of each episode.

    Raises:
        ValueError: a group has a single sample.
    """
    group = group_numbers(groups)
    counts = torch.bincount(group)
    if int(counts.min()) < 2:
        raise ValueError("leave-one-out needs at least two samples of every prompt")
    totals = torch.zeros(len(counts), dtype=returns.dtype, device=returns.device).index_add_(0, group, returns)
    return (totals[group] - returns) / (counts[group] - 1)


def explained_variance(values: Tensor, returns: Tensor, mask: Tensor) -> float:
    """1 - Var(G - V) / Var(G) over real tokens: 1 = perfect values, 0 = no better than a constant, or G constant."""
    variance = returns[mask].var(correction=0)
    if variance == 0:
        return 0.0
    return float(1 - (returns - values)[mask].var(correction=0) / variance)
