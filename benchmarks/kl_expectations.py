"""Bias and variance of KL estimators and of their gradients, by listing every response of ``Enumerable-v0``.

A response y is drawn from a sampler μ, which is the policy π itself (on-policy) or an earlier one. From it
KL(π ‖ π_ref) is estimated, and its gradient. Mean and variance of both are sums over all responses here.

An estimator k is applied to each token, and summed, or once to the whole response. It is used:

    in the reward   g = Σ_t ∇ log π(y_t | s_t) Σ_{s >= t} k_s, k being a number
    as a loss       g = ∇ Σ_t k_t, or ∇ Σ_t w_t k_t where the importance weight carries gradient too
    in both         the sum of the two

(Schulman 2020 for the estimators; Tang and Munos 2025, "On a few pitfalls in KL divergence gradient estimation for RL",
for their gradients.) The weight w is π / μ of the token, or of the whole response.

Notation: B all responses to all prompts, R response columns, D parameters. KL is in nats.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from prefgym.agents.policy import LMPolicy
from prefgym.agents.returns import returns_to_go
from prefgym.agents.rollout import at_end
from prefgym.envs.enumerable import ExactQuantities
from prefgym.evaluation.checking.enumeration import Enumeration, flat, trained
from prefgym.models.distribution import log_distribution
from prefgym.models.forward import response_logits
from prefgym.rewards import kl

ESTIMATORS = ("k1", "k2", "k3", "exact")
LEVELS = ("token", "response")
WEIGHTS = ("none", "token", "response")


@dataclass(frozen=True)
class Moments:
    """Mean, and standard deviation (the root of the summed variances), of a number or a vector under μ."""

    mean: Tensor
    std: float


class KLExpectations:
    """Everything listed: log-ratios, exact KL of each state, and the gradient of each token's log-probability.

    Args:
        world: an ``Enumerable-v0`` environment, unwrapped; gives π_ref.
        policy: π.
        sampler: μ; None is π.
    """

    def __init__(self, world: ExactQuantities, policy: LMPolicy, sampler: LMPolicy | None = None) -> None:
        self.every, self.policy = Enumeration(world, policy), policy
        drawn = self.every if sampler is None else Enumeration(world, sampler)
        self.mask, self.probabilities = self.every.mask, drawn.probabilities  # of μ
        self.log_probs, self.ref_log_probs = self.every.log_probs.double(), self.every.ref_log_probs.double()
        self.log_weights = self.log_probs - drawn.log_probs.double()  # (B, R), log π / μ of each token

    @cached_property
    def score_vectors(self) -> Tensor:
        """∇ log π(y_t | s_t); (B, R, D), 0 at padding."""
        return self._jacobian(self.every.evaluate()[0])

    @cached_property
    def _exact(self) -> tuple[Tensor, Tensor]:
        """KL of the next token in each state (B, R), and its gradient (B, R, D); 0 at padding."""
        world, models = self.every.world.mdp, (self.policy.language_model.model, self.every.world.mdp.reference.model)
        dists = (
            log_distribution(response_logits(model, *self.every.batch), world.vocab_size, world.decoding)
            for model in models
        )
        per_state = kl.exact(*dists).masked_fill(~self.mask, 0.0)
        return per_state.detach().double(), self._jacobian(per_state)

    def _jacobian(self, x: Tensor) -> Tensor:
        """Gradient of each real entry of ``x`` (B, R); (B, R, D)."""
        parameters = trained(self.policy)
        size = sum(parameter.numel() for parameter in parameters)
        result = torch.zeros(*x.shape, size, dtype=torch.float64)
        for row, column in self.mask.nonzero().tolist():
            gradients = torch.autograd.grad(x[row, column], parameters, retain_graph=True, allow_unused=True)
            result[row, column] = flat(gradients, parameters)
        return result

    @cached_property
    def value(self) -> float:
        """KL(π ‖ π_ref) of whole responses, exactly."""
        return float(self.every.mean((self.log_probs - self.ref_log_probs).sum(1)))

    @cached_property
    def gradient(self) -> Tensor:
        """∇ KL(π ‖ π_ref), exactly: Σ_y π(y) log(π(y) / π_ref(y)) ∇ log π(y); (D,)."""
        log_ratio = (self.log_probs - self.ref_log_probs).sum(1)
        return self.every.mean(log_ratio[:, None] * self.score_vectors.sum(1))

    @cached_property
    def landmarks(self) -> dict[str, Tensor]:
        """Gradients (D,) that an estimator's expectation may equal, by name."""
        per_state = self.every.mean(self._exact[1].sum(1))
        ratio = (self.ref_log_probs - self.log_probs).exp()  # π_ref / π of each token
        forward = -self.every.mean(ratio.prod(1)[:, None] * self.score_vectors.sum(1))
        forward_per_state = -self.every.mean((ratio[..., None] * self.score_vectors).sum(1))
        return {
            "zero": torch.zeros_like(per_state),
            "exact": self.gradient,
            "reverse KL of each state, no credit for later ones": per_state,
            "credit for later states only": self.gradient - per_state,
            "forward KL": forward,
            "forward KL of each state, no credit for later ones": forward_per_state,
        }

    def name_of(self, gradient: Tensor) -> str:
        """Which landmark a gradient (D,) is; "" if none."""
        scale = self.gradient.norm()
        near = {name: float((gradient - landmark).norm() / scale) for name, landmark in self.landmarks.items()}
        name = min(near, key=lambda each: near[each])
        return name if near[name] < 1e-4 else ""

    def estimate(self, estimator: str, level: str, weights: str = "none") -> Moments:
        """The estimate Σ_t w_t k_t of the KL's value."""
        k, _ = self._terms(estimator, level)
        return self._moments((self._weights(weights) * k).sum(1, keepdim=True))

    def in_reward(self, estimator: str, level: str, weights: str = "none") -> Moments:
        """The gradient of an agent with the estimate in its rewards."""
        return self._moments(self._in_reward(estimator, level, weights))

    def as_loss(self, estimator: str, level: str, weights: str = "none", through_weights: bool = False) -> Moments:
        """The gradient of the estimate itself; ``through_weights``: also that of its importance weights."""
        return self._moments(self._as_loss(estimator, level, weights, through_weights))

    def in_both(self, estimator: str, level: str, weights: str = "none") -> Moments:
        """The gradient of an agent with the estimate both in its rewards and as a loss."""
        loss = self._as_loss(estimator, level, weights, through_weights=False)
        return self._moments(self._in_reward(estimator, level, weights) + loss)

    def _in_reward(self, estimator: str, level: str, weights: str) -> Tensor:
        """For each response, (B, D)."""
        k, _ = self._terms(estimator, level)
        to_go = returns_to_go(k, self.mask) * self._weights(weights)
        return (to_go[..., None] * self.score_vectors).sum(1)

    def _as_loss(self, estimator: str, level: str, weights: str, through_weights: bool) -> Tensor:
        """For each response, (B, D)."""
        k, gradient = self._terms(estimator, level)
        if through_weights:
            of_weights = self.score_vectors if weights == "token" else self.score_vectors.sum(1, keepdim=True)
            gradient = gradient + k[..., None] * of_weights
        return (self._weights(weights)[..., None] * gradient).sum(1)

    def _terms(self, estimator: str, level: str) -> tuple[Tensor, Tensor]:
        """The estimator's terms (B, R), for a whole response in its last column, and their gradients (B, R, D)."""
        if estimator == "exact":
            return self._exact
        both = (self.log_probs, self.ref_log_probs)
        log_probs, ref_log_probs = both if level == "token" else (x.sum(1) for x in both)
        log_probs = log_probs.clone().requires_grad_()
        k = kl.estimator(estimator)(log_probs, ref_log_probs)
        (slope,) = torch.autograd.grad(k.sum(), log_probs)
        if level == "token":
            k, slope = (x.masked_fill(~self.mask, 0.0) for x in (k.detach(), slope))
            return k, slope[..., None] * self.score_vectors
        gradient = torch.zeros_like(self.score_vectors)
        gradient[:, -1] = slope[:, None] * self.score_vectors.sum(1)
        return at_end(k.detach(), self.mask), gradient

    def _weights(self, weights: str) -> Tensor:
        """Importance weights (B, R), or (B, 1) if all tokens of a response share one."""
        if weights == "none":
            return torch.ones(len(self.mask), 1, dtype=torch.float64)
        return self.log_weights.exp() if weights == "token" else self.log_weights.sum(1, keepdim=True).exp()

    def _moments(self, x: Tensor) -> Moments:
        """Of ``x`` (B, D) under μ."""
        mean = torch.tensordot(self.probabilities, x, 1)
        variance = torch.tensordot(self.probabilities, (x - mean).square(), 1).sum()
        return Moments(mean, float(variance.sqrt()))
