"""The gradients an agent gives its optimiser, recorded with a fixed policy; and a test of their mean.

Notation: M estimates, D parameters, k directions.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from scipy.special import fdtrc
from torch import Tensor

from ...agents.base import PolicyGradient
from ...agents.collecting import collect_rollout
from .enumeration import Enumeration, flat, trained


@contextmanager
def recording_gradients(agent: PolicyGradient) -> Iterator[list[Tensor]]:
    """Collect the ascent direction (D,) of each optimiser step, without letting any of them move the policy."""
    recorded: list[Tensor] = []
    parameters = trained(agent.policy)

    def record(*arguments: object, **options: object) -> None:
        recorded.append(-flat([parameter.grad for parameter in parameters], parameters))

    agent.optimizer.step = record  # type: ignore[method-assign, assignment]
    try:
        yield recorded
    finally:
        del agent.optimizer.step


def sample_gradients(agent: PolicyGradient, count: int) -> Tensor:
    """At least ``count`` gradient estimates (M, D) from fresh episodes, one per optimiser step of the agent."""
    h = agent.hyperparameters
    with recording_gradients(agent) as recorded:
        while len(recorded) < count:
            num_prompts = h.episodes_per_iteration // h.samples_per_prompt
            agent.train(collect_rollout(agent.env, agent.policy, num_prompts, h.samples_per_prompt, agent.generator))
    return torch.stack(recorded)


def expectation(agent: PolicyGradient, every: Enumeration, samples: int, kl_coef: float) -> Tensor:
    """The agent's expected direction (D,): a sum over all rollouts of one prompt with ``samples`` responses.

    Samples are exchangeable, so each multiset of responses is run once, weighted by its number of orderings.

    Args:
        agent: may take any number of steps per rollout; their mean counts. It must not remember earlier rollouts.
        every: all responses to the one prompt, under the agent's policy.
        samples: responses per rollout.
        kl_coef: β of its rewards.
    """
    parameters = trained(agent.policy)
    total = torch.zeros(sum(parameter.numel() for parameter in parameters), dtype=torch.float64)
    groups = torch.zeros(samples, dtype=torch.int64)
    for chosen in itertools.combinations_with_replacement(range(len(every.scores)), samples):
        repeats = (math.factorial(chosen.count(row)) for row in set(chosen))
        rows = torch.tensor(chosen)
        probability = float(every.probabilities[rows].prod()) * math.factorial(samples) / math.prod(repeats)
        with recording_gradients(agent) as recorded:
            agent.train(every.rollout(rows, groups, kl_coef))
        total += probability * torch.stack(recorded).mean(0).double()
    return total.float()


@dataclass(frozen=True)
class Fit:
    """How well a vector explains the mean of gradient estimates: χ² over k components, and its p-value."""

    chi2: float
    p_value: float


class MeanTest:
    """Tests whether M estimates have a given mean, along k fixed directions, whitened by their covariance.

    If S were known, the statistic M d' S^-1 d (Hotelling 1931) would be χ² with k degrees of freedom; S is estimated,
    so the p-value comes from the F distribution with k and M - k degrees, to which the statistic is proportional.

    Args:
        samples: (M, D), independent.
        directions: (D, k) orthonormal, chosen without looking at the samples.

    Attributes:
        count: M.
        size: k.
        full_mean: (D,) the mean of the estimates.
    """

    def __init__(self, samples: Tensor, directions: Tensor) -> None:
        self.directions, self.full_mean = directions.double(), samples.mean(0)
        projected = samples.double() @ self.directions  # (M, k)
        (self.count, self.size), self.mean = projected.shape, projected.mean(0)
        covariance = torch.cov(projected.T) / self.count
        variances, axes = torch.linalg.eigh(covariance)
        floor = variances.max() * 1e-6  # a direction without noise: any deviation there counts, except rounding
        self.whiten = axes / variances.clamp(min=floor).sqrt()  # (k, k): coordinates of unit variance

    def project(self, vector: Tensor) -> Tensor:
        """The vector (D,) in whitened coordinates (k,)."""
        return (vector.double() @ self.directions) @ self.whiten

    @property
    def observed(self) -> Tensor:
        """The mean of the estimates in whitened coordinates (k,)."""
        return self.mean @ self.whiten

    def fit(self, expected: Tensor, free: int = 0) -> Fit:
        """Test the mean against whitened coordinates (k,), of which ``free`` numbers were fitted to it."""
        chi2 = float((self.observed - expected).square().sum())
        size = self.size - free
        scaled = chi2 * (self.count - size) / (self.count - 1)  # k times an F variable
        return Fit(chi2, f_survival(scaled / size, size, self.count - size))

    def coefficients(self, vectors: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Generalised least squares of the mean on vectors (D,): coefficients (m,) and their standard errors (m,)."""
        design = torch.stack([self.project(vector) for vector in vectors], 1)  # (k, m)
        inverse = torch.linalg.pinv(design.T @ design)
        return inverse @ (design.T @ self.observed), inverse.diagonal().sqrt()


def f_survival(f: float, first: int, second: int) -> float:
    """P(F > f) for F with ``first`` and ``second`` degrees of freedom."""
    return float(fdtrc(first, second, f))
