"""Estimators of the KL divergence between a policy and its reference, and controllers for its coefficient.

Everything is in nats. The estimators are elementwise and know nothing about masks or sums: the caller multiplies by the
response mask, so a padded position contributes exactly 0.

Source: J. Schulman, "Approximating KL Divergence" (2020), http://joschu.net/blog/kl-approx.html, with p = π_ref, q = π;
D. Ziegler et al., "Fine-Tuning Language Models from Human Preferences" (2019), section 2.2, for the coefficient.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from ..errors import InputError, nearest
from .kl_names import KL_ESTIMATORS


def k1(log_probs: Tensor, ref_log_probs: Tensor) -> Tensor:
    """log π(y) - log π_ref(y), for y drawn from π: unbiased, but negative for many single samples.

    It is never clamped: clamping at 0 would bias it upwards.

    Args:
        log_probs: log π of the sampled tokens, any shape.
        ref_log_probs: log π_ref of the same tokens, same shape.
    """
    return log_probs - ref_log_probs


def k2(log_probs: Tensor, ref_log_probs: Tensor) -> Tensor:
    """½ (log π(y) - log π_ref(y))²: never negative, low variance; biased, but only slightly where π is near π_ref."""
    return 0.5 * (log_probs - ref_log_probs) ** 2


def k3(log_probs: Tensor, ref_log_probs: Tensor) -> Tensor:
    """r - 1 - log r with r = π_ref(y) / π(y): unbiased and never negative; its variance is unbounded in r."""
    log_ratio = ref_log_probs - log_probs
    return torch.expm1(log_ratio) - log_ratio


def exact(log_dist: Tensor, ref_log_dist: Tensor) -> Tensor:
    """Σ_v π(v) (log π(v) - log π_ref(v)) over the whole vocabulary: no sampling error.

    A token with probability 0 under π (log-probability -inf) contributes exactly 0 to the value and to the gradient;
    one that π allows and π_ref forbids makes the divergence infinite.

    Args:
        log_dist: (..., V) normalised log-probabilities of π.
        ref_log_dist: (..., V) normalised log-probabilities of π_ref.

    Returns:
        (...) the divergence KL(π ‖ π_ref) at each position.
    """
    log_ratio = torch.where(log_dist > -math.inf, log_dist - ref_log_dist, 0.0)  # -inf - -inf is NaN
    return (log_dist.exp() * log_ratio).sum(-1)  # (..., V) -> (...)


ESTIMATORS: dict[str, Callable[[Tensor, Tensor], Tensor]] = dict(zip(KL_ESTIMATORS, (k1, k2, k3, exact), strict=True))
"""Estimators by name. ``exact`` takes full distributions (..., V), the others log-probs of sampled tokens."""


def estimator(name: str) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the estimator of that name; ``InputError`` names the nearest one."""
    if name not in ESTIMATORS:
        raise InputError(f'kl_estimator "{name}" is not one of {", ".join(ESTIMATORS)}.{nearest(name, ESTIMATORS)}')
    return ESTIMATORS[name]


class FixedKL:
    """A constant coefficient β."""

    def __init__(self, coef: float) -> None:
        if not (math.isfinite(coef) and coef >= 0):
            raise InputError(f"kl_coef must be a finite number of at least 0, not {coef}.")
        self.coef = coef

    def update(self, kl: float) -> float:
        """Return β for the next batch, after one whose mean KL per response was ``kl``."""
        return self.coef


class AdaptiveKL(FixedKL):
    """A log-space proportional controller that steers the KL per response to a target.

        e_t = clip((KL_t - target) / target, -0.2, 0.2)
        β_{t+1} = β_t (1 + gain · e_t)

    Source: Ziegler et al. 2019, section 2.2, where gain (K_β) is 0.1; one update per batch.

    Args:
        coef: β of the first batch, above 0.
        target: KL per response to steer to, in nats, above 0.
        gain: K_β, above 0.
        clip: largest proportional error counted for one batch.
    """

    def __init__(self, coef: float, target: float, gain: float = 0.1, clip: float = 0.2) -> None:
        super().__init__(coef)
        for name, value in {"kl_coef": coef, "kl_target": target, "gain": gain, "clip": clip}.items():
            if not (math.isfinite(value) and value > 0):
                raise InputError(f"{name} of an adaptive KL coefficient must be a finite number above 0, not {value}.")
        self.target, self.gain, self.clip = target, gain, clip

    def update(self, kl: float) -> float:
        """Move β by the clipped error of the last batch's mean KL per response (nats), and return it."""
        error = min(max((kl - self.target) / self.target, -self.clip), self.clip)
        self.coef *= 1 + self.gain * error
        return self.coef
