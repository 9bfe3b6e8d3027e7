"""Losses of policy-gradient agents: pure functions of tensors, to be minimised.

Notation: b episodes of a minibatch, R response columns. ``mask`` (b, R) is True on real tokens. Every function sums
over real tokens and divides by ``denominator``; None means the number of real tokens, which gives the mean over tokens.
With ``denominator`` = number of episodes each episode is summed, and the policy loss is an unbiased estimate of the
policy gradient; the mean over tokens is not, since it weighs a token by the lengths of the other episodes. A minibatch
that is run in pieces passes the denominator of the full minibatch to each piece; the pieces then add up exactly.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from ..rewards.kl import estimator


def masked_mean(x: Tensor, mask: Tensor, denominator: Tensor | float | None = None) -> Tensor:
    """Sum of ``x`` over real tokens divided by ``denominator`` (None: the number of real tokens)."""
    total = x.masked_fill(~mask, 0.0).sum()
    return total / (mask.sum() if denominator is None else denominator)


def policy_gradient_loss(
    log_probs: Tensor, advantages: Tensor, mask: Tensor, denominator: Tensor | float | None = None
) -> Tensor:
    """-A_t log pi(a_t | s_t) (Williams 1992; Sutton et al. 2000). ``advantages`` carry no gradient; all (b, R)."""
    return masked_mean(-advantages.detach() * log_probs, mask, denominator)


def clipped_surrogate_loss(
    log_probs: Tensor,
    old_log_probs: Tensor,
    advantages: Tensor,
    mask: Tensor,
    clip_range: float | None,
    denominator: Tensor | float | None = None,
) -> Tensor:
    """-min(rho_t A_t, clip(rho_t, 1 - eps, 1 + eps) A_t) (PPO: Schulman et al. 2017, equation 7).

    Args:
        log_probs: (b, R) log pi(a_t | s_t), with gradient.
        old_log_probs: (b, R) log-probs of the same tokens when they were sampled; rho = pi / pi_old.
        advantages: (b, R), without gradient.
        mask: (b, R) bool, True = real token.
        clip_range: eps; None does not clip.
        denominator: see the module docstring.
    """
    ratio = _log_ratio(log_probs, old_log_probs, mask).exp()
    surrogate = ratio * advantages.detach()
    if clip_range is not None:
        clipped = ratio.clamp(1 - clip_range, 1 + clip_range) * advantages.detach()
        surrogate = torch.minimum(surrogate, clipped)
    return masked_mean(-surrogate, mask, denominator)


def value_loss(
    values: Tensor,
    returns: Tensor,
    mask: Tensor,
    old_values: Tensor | None = None,
    clip_range_vf: float | None = None,
    denominator: Tensor | float | None = None,
) -> Tensor:
    """(V_t - G_t)^2, or with ``clip_range_vf`` the larger of that and the error of V clipped around its old value.

    The clipped form is that of the PPO authors' code (OpenAI baselines, ppo2): a value gains nothing by moving away
    from ``old_values`` by more than ``clip_range_vf``. All tensors (b, R).
    """
    returns = returns.detach()
    error = (values - returns).square()
    if clip_range_vf is not None:
        if old_values is None:
            raise ValueError("clip_range_vf needs old_values")
        clipped = old_values + (values - old_values).clamp(-clip_range_vf, clip_range_vf)
        error = torch.maximum(error, (clipped - returns).square())
    return masked_mean(error, mask, denominator)


def kl_loss(
    log_probs: Tensor,
    ref_log_probs: Tensor,
    mask: Tensor,
    kl_estimator: str,
    level: str = "token",
    denominator: Tensor | float | None = None,
) -> Tensor:
    """An estimate of KL(pi || pi_ref) as a loss: its gradient is that of the estimator, not of the KL (kl_term.py).

    Args:
        log_probs: (b, R) log pi of the tokens, with gradient.
        ref_log_probs: (b, R) log pi_ref of the same tokens.
        mask: (b, R) bool, True = real token.
        kl_estimator: k1, k2 or k3.
        level: ``token`` estimates each token's KL; ``sequence`` that of a whole response, from its log-probability.
        denominator: see the module docstring.
    """
    estimate = estimator(kl_estimator)
    log_probs, ref_log_probs = log_probs.masked_fill(~mask, 0.0), ref_log_probs.detach().masked_fill(~mask, 0.0)
    if level == "token":
        return masked_mean(estimate(log_probs, ref_log_probs), mask, denominator)
    total = estimate(log_probs.sum(1), ref_log_probs.sum(1)).sum()
    return total / (mask.sum() if denominator is None else denominator)


def dpo_loss(margins: Tensor, preferred: Tensor) -> Tensor:
    """-p log σ(m) - (1 - p) log σ(-m), mean over pairs (DPO: Rafailov et al. 2023, equation 7, which has p = 1).

    Args:
        margins: (N,) m = beta times the difference of log(pi / pi_ref) between two responses, with gradient.
        preferred: (N,) p, the probability that the first response is preferred.
    """
    return functional.binary_cross_entropy_with_logits(margins, preferred)


@torch.no_grad()
def approx_kl(
    log_probs: Tensor, old_log_probs: Tensor, mask: Tensor, denominator: Tensor | float | None = None
) -> Tensor:
    """Mean estimate of KL(pi_old || pi) per token, (rho - 1) - log rho (Schulman, "Approximating KL divergence")."""
    log_ratio = _log_ratio(log_probs, old_log_probs, mask)
    return masked_mean(log_ratio.exp() - 1 - log_ratio, mask, denominator)


@torch.no_grad()
def clip_fraction(
    log_probs: Tensor,
    old_log_probs: Tensor,
    mask: Tensor,
    clip_range: float,
    denominator: Tensor | float | None = None,
) -> Tensor:
    """Share of real tokens whose ratio is outside 1 +- ``clip_range``."""
    ratio = _log_ratio(log_probs, old_log_probs, mask).exp()
    return masked_mean(((ratio - 1).abs() > clip_range).to(ratio.dtype), mask, denominator)


def _log_ratio(log_probs: Tensor, old_log_probs: Tensor, mask: Tensor) -> Tensor:
    """Log pi - log pi_old, 0 at padding: an inf there would turn into NaN in the backward pass."""
    return (log_probs - old_log_probs.detach()).masked_fill(~mask, 0.0)
