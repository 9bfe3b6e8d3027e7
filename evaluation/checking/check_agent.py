"""``check_agent``: does for agents what ``check_env`` does for environments.

The agent runs on ``Enumerable-v0``, where the expected gradient and the optimum are known, and faults have names.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import torch

from ...agents.base import PolicyGradient
from ...agents.hyperparameters import Hyperparameters
from ...agents.policy import LMPolicy
from ...envs.enumerable import Enumerable
from ...errors import InputError
from ...numbers import takes_numbers
from .agent_report import AgentReport
from .diagnosis import Finding, diagnose, directions
from .enumeration import Enumeration
from .faults import SENTENCES, candidates
from .gradient_samples import MeanTest, sample_gradients

UNBIASED: dict[str, Any] = {
    "loss_reduction": "episode_sum",
    "gae_lambda": 1.0,
    "gamma": 1.0,
    "normalize_advantage": False,
    "clip_range": None,
    "clip_range_vf": None,
    "target_kl": None,
    "max_grad_norm": None,
    "n_epochs": 1,
    "samples_per_prompt": 4,
}
"""The configuration in which an agent's estimates are unbiased; an agent gets the options that it has."""

SAMPLING: dict[str, Any] = UNBIASED | {"vf_coef": 0.0, "episodes_per_iteration": 4096, "batch_size": 64}
LEARNING: dict[str, Any] = UNBIASED | {
    "learning_rate": 0.1,
    "lr_schedule": "linear",
    "episodes_per_iteration": 128,
    "batch_size": 128,
    "max_grad_norm": 1.0,
}
MAX_REGRET = 0.02
"""How far below the optimum's objective learning may end, as a share of it."""
MakeAgent = Callable[..., PolicyGradient]


@takes_numbers
def check_agent(
    agent: MakeAgent,
    *,
    kl_coef: float = 0.5,
    kl_estimator: str = "k1",
    seed: int = 0,
    estimates: int = 512,
    iterations: int = 120,
    **hyperparameters: Any,
) -> AgentReport:
    """Run an agent on ``Enumerable-v0``; print and return what was found.

    The mean of its gradient estimates, at a policy that is not the reference, is compared with the exact gradient, and
    if they differ, with the enumerated expected gradients of agents with one fault each. Then it learns, and the
    objective it reaches is compared with the optimum's. It gets the unbiased configuration, ``UNBIASED``. All of this
    takes less than half a minute on one core.

    Args:
        agent: a class of agents, or a function ``(policy, env, *, seed, **hyperparameters)`` that makes one.
        kl_coef: β of the objective. ``kl_loss_coef`` among the hyperparameters is β instead: the rewards are then
            without KL, unless ``kl_estimator`` is ``"exact"``.
        kl_estimator: of the KL in the rewards. ``"exact"`` there leaves out a token's effect on its own KL, which the
            same amount in the loss adds (``kl_loss_coef`` with ``kl_loss_estimator="exact"``): the KL counts once, not
            twice.
        seed: of the agent's sampling. The world and its start policy are always the same.
        estimates: minimum number of gradient estimates.
        iterations: of learning; 0 skips it.
        **hyperparameters: of the agent; they override the unbiased configuration.

    Raises:
        InputError: ``agent`` does not make a policy-gradient agent, or a hyperparameter is unknown.
    """
    in_loss = hyperparameters.get("kl_loss_coef") or None
    beta = kl_coef if in_loss is None else in_loss
    world, in_reward = make_world(beta), in_loss is None or kl_estimator == "exact"
    played = make_world(beta if in_reward else 0.0, kl_estimator=kl_estimator)
    judged = make_agent(agent, played, seed, SAMPLING, hyperparameters)
    move(judged.policy)
    gradient = check_gradient(judged, world, estimates)
    learning = check_learning(make_agent(agent, played, seed, LEARNING, hyperparameters), world, iterations)
    result = AgentReport(agent=type(judged).__name__, **gradient, **learning)
    if iterations and result.passed and result.optimum - result.objective > MAX_REGRET * abs(result.optimum):
        shortfall = Finding("learning", SENTENCES["learning"], result.p_value)
        result = dataclasses.replace(result, faults=(shortfall,))
    print(result)
    return result


def make_world(kl_coef: float, **options: Any) -> Enumerable:
    """Two words, three steps, two prompts, and a policy without constraints: 30 responses in 14 states."""
    return Enumerable(**{"model": "tabular", "num_tokens": 2, "kl_coef": kl_coef, **options})


def check_gradient(agent: PolicyGradient, world: Enumerable, estimates: int) -> dict[str, Any]:
    """The report's fields about the gradient, at the agent's policy."""
    every, kl_coef = Enumeration(world, agent.policy), world.kl_coef
    exact, score_part = every.exact_gradient(kl_coef), every.exact_gradient(0.0)
    faults = list(candidates(every, kl_coef))
    samples = sample_gradients(agent, estimates)
    test = MeanTest(samples, directions(every, exact, faults))
    fit = test.fit(test.project(exact))
    parts = [score_part, exact - score_part] if kl_coef else [score_part]
    factors, errors = (numbers.tolist() for numbers in test.coefficients(parts))
    of_score, of_kl = [*zip(factors, errors, strict=True), None][:2]
    return {
        "estimates": len(samples),
        "cosine": float(torch.cosine_similarity(samples.mean(0), exact, dim=0)),
        "chi2": fit.chi2,
        "components": test.size,
        "p_value": fit.p_value,
        "score_part": of_score,
        "kl_part": of_kl,
        "faults": diagnose(test, exact, faults, length_factors(every, agent.hyperparameters)),
    }


def check_learning(agent: PolicyGradient, world: Enumerable, iterations: int) -> dict[str, Any]:
    """The report's fields about learning."""
    start = float(world.objective(agent.policy).detach())
    if iterations:
        with suppress(FloatingPointError):  # a diverging agent is judged as it was before the step it cannot take
            agent.learn(iterations * agent.hyperparameters.episodes_per_iteration)
    return {
        "start": start,
        "objective": float(world.objective(agent.policy).detach()),
        "optimum": world.optimal_objective(),
        "kl_to_optimum": world.kl_to_optimum(agent.policy),
    }


def length_factors(every: Enumeration, hyperparameters: Hyperparameters) -> dict[str, float]:
    """The factor by which a pure length fault scales the gradient."""
    samples, length = hyperparameters.samples_per_prompt, every.mean(every.mask.sum(1).double())
    factors = {"token_mean": 1 / float(length), "padding": 1 / every.mask.shape[1]}
    return factors | ({"leak": 1 - 1 / samples} if samples > 1 else {})


def move(policy: LMPolicy, size: float = 0.7, seed: int = 3) -> None:
    """Move a policy away from the reference, and its values away from 0, with seeded noise."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.add_(size * torch.randn(parameter.shape, generator=generator))


def make_agent(
    agent: MakeAgent, world: Enumerable, seed: int, defaults: Mapping[str, Any], given: Mapping[str, Any]
) -> PolicyGradient:
    """An agent with the defaults that it has, and the given hyperparameters.

    Raises:
        InputError: it is not a policy-gradient agent, or lacks a given hyperparameter.
    """
    kind = getattr(agent, "hyperparameter_type", Hyperparameters)
    known = {field.name for field in dataclasses.fields(kind)}
    chosen = {name: value for name, value in defaults.items() if name in known} | dict(given)
    made = agent("default", world, seed=seed, **chosen)
    if not isinstance(made, PolicyGradient):
        raise InputError(
            f"check_agent checks policy-gradient agents, and {agent!r} made a {type(made).__name__}; give a subclass "
            "of prefgym.agents.PolicyGradient, or a function (policy, env, *, seed, **hyperparameters) that makes one."
        )
    return made
