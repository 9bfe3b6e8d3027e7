"""Where every response can be listed: gradients agree with the exact one, and learning reaches the optimum."""

from typing import Any

import gymnasium as gym
import pytest
import torch

from prefgym.agents import AGENTS, BASELINES, LMPolicy, PolicyGradient, collect_rollout
from prefgym.agents.minibatch import minibatches
from prefgym.evaluation.checking.check_agent import make_world, move
from prefgym.evaluation.checking.diagnosis import directions
from prefgym.evaluation.checking.enumeration import Enumeration
from prefgym.evaluation.checking.faults import candidates
from prefgym.evaluation.checking.gradient_samples import MeanTest, expectation, sample_gradients

pytestmark = pytest.mark.no_cover  # other tests run the same lines; counting them here doubles the time

UNBIASED: dict[str, Any] = {
    "vf_coef": 0.0,
    "max_grad_norm": None,
    "loss_reduction": "episode_sum",
    "samples_per_prompt": 4,
    "batch_size": None,
    "n_epochs": 1,
}
ONE_BY_ONE = [
    ("ppo", {"gae_lambda": 1.0, "normalize_advantage": False}),
    ("a2c", {}),
    ("reinforce", {"baseline": "none"}),
    ("reinforce", {"baseline": "value"}),
]
"""What an episode teaches depends on no other here, so that no sampling is needed."""


def ascent(agent: PolicyGradient) -> torch.Tensor:
    """The direction in which the agent's gradient would climb, flat."""
    return -torch.cat(
        [
            (torch.zeros_like(parameter) if parameter.grad is None else parameter.grad).flatten()
            for parameter in agent.policy.parameters()
        ]
    )


def test_mean_gradient_is_the_exact_gradient(policy: LMPolicy, env: gym.Env) -> None:
    """320 estimates of 64 episodes each: the direction of their mean, and whether what is left is noise.

    Here for a language model; ``check_agent`` does it for all agents and baselines on a table.
    """
    world = env.unwrapped
    world.kl_coef = 0.5  # far from the optimum: the gradient stands out of the noise
    sampling = UNBIASED | {"episodes_per_iteration": 64 * 320, "batch_size": 64, "baseline": "leave_one_out"}
    agent = AGENTS["reinforce"](policy, env, seed=1, **sampling)
    exact = torch.cat([gradient.flatten() for gradient in world.exact_gradient(policy).values()])
    every = Enumeration(world, policy)
    test = MeanTest(sample_gradients(agent, 320), directions(every, exact, list(candidates(every, world.kl_coef))))
    assert torch.cosine_similarity(test.full_mean, exact, dim=0) > 0.999
    assert test.fit(test.project(exact)).p_value > 0.001
    # The test has teeth: a fifth of the gradient's length is found.
    assert test.fit(test.project(0.8 * exact)).p_value < 0.001


BY_DESIGN = [
    ("reinforce", {"normalize_advantage": True}),
    ("reinforce", {"loss_reduction": "token_mean"}),
    ("ppo", {"gae_lambda": 0.5, "normalize_advantage": False}),
    ("ppo", {"gae_lambda": 1.0, "normalize_advantage": True}),
    *(("reinforce", {"baseline": name}) for name in ("group_mean", "group_normalised") if name in BASELINES),
]


@pytest.mark.parametrize(("name", "options"), BY_DESIGN, ids=[str(options) for _, options in BY_DESIGN])
def test_what_is_biased_by_design_has_its_own_expectation(name: str, options: dict[str, Any]) -> None:
    """All 28 rollouts of two out of seven responses give the expectation; sampled rollouts of two agree with it."""
    world = make_world(0.5, max_new_tokens=2, num_prompts=1)
    pairs = UNBIASED | {"episodes_per_iteration": 2, "samples_per_prompt": 2, "batch_size": 2}
    agent = AGENTS[name]("default", world, seed=1, **(pairs | options))
    move(agent.policy)
    every = Enumeration(world, agent.policy)
    exact, expected = every.exact_gradient(0.5), expectation(agent, every, 2, 0.5)
    test = MeanTest(sample_gradients(agent, 250), directions(every, exact, list(candidates(every, 0.5))))
    assert test.fit(test.project(expected)).p_value > 0.001
    assert torch.norm(expected - exact) > 0.05 * torch.norm(exact)


@pytest.mark.parametrize(
    "options",
    [
        {"baseline": "none", "normalize_advantage": True},
        *({"baseline": name} for name in ["group_normalised"] if name in BASELINES),
    ],
)
def test_division_by_the_standard_deviation_by_hand(options: dict[str, Any]) -> None:
    """One word or EOS, once. Of two samples only a pair of both teaches anything, and then ±1 whatever the scores."""
    world = make_world(0.0, num_tokens=1, max_new_tokens=1, num_prompts=1, score_table=[[2.0, 5.0]])
    pairs = UNBIASED | {"episodes_per_iteration": 2, "samples_per_prompt": 2, "batch_size": 2}
    agent = AGENTS["reinforce"]("default", world, **(pairs | options))
    every = Enumeration(world, agent.policy)
    p = float(every.probabilities[1])  # of the word
    # 2 p (1 - p) such pairs; the mean over the two of ±∇ log π is ½ ((1 - p) + p) in the word's logit
    table = expectation(agent, every, 2, 0.0).view(agent.policy.language_model.model.table.weight.shape)
    assert table[2, :2].tolist() == pytest.approx([p * (1 - p), -p * (1 - p)], rel=1e-3)
    exact = every.exact_gradient(0.0).view(table.shape)
    assert exact[2, 0].item() == pytest.approx(p * (1 - p) * (5 - 2), rel=1e-4)


@pytest.mark.parametrize(("name", "options"), ONE_BY_ONE, ids=[str(options) for _, options in ONE_BY_ONE])
def test_expected_gradient_over_all_responses(
    name: str, options: dict[str, Any], policy: LMPolicy, env: gym.Env
) -> None:
    """No sampling: every response counts with its probability, so the agreement is to rounding."""
    agent = AGENTS[name](policy, env, **UNBIASED, **options)
    every, kl_coef = Enumeration(env.unwrapped, policy), env.unwrapped.kl_coef
    rollout = every.rollout(torch.arange(len(every.scores)), every.prompt, kl_coef)
    weights = (every.probabilities * len(rollout)).float()
    advantages = agent.advantages(rollout)
    weighted = advantages._replace(advantages=advantages.advantages * weights[:, None])
    (pieces,) = minibatches(rollout, *weighted, None, 1, agent.rng)
    agent.gradient(pieces)
    exact = torch.cat([gradient.flatten() for gradient in env.unwrapped.exact_gradient(policy).values()])
    assert torch.allclose(ascent(agent), exact, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("ppo", {"batch_size": 64}),
        ("reinforce", {"baseline": "leave_one_out"}),
        ("reinforce", {"baseline": "moving_average", "samples_per_prompt": 1}),
        ("reinforce", {"baseline": "value", "samples_per_prompt": 1}),
    ],
    ids=["ppo", "leave_one_out", "moving_average", "value"],
)
def test_learning_reaches_the_optimum(name: str, options: dict[str, Any], env: gym.Env) -> None:
    agent = AGENTS[name]("default", env, seed=0, learning_rate=1e-2, episodes_per_iteration=128, **options)
    start = float(env.unwrapped.objective(agent.policy).detach())
    agent.learn(128 * 30)
    reached, optimum = float(env.unwrapped.objective(agent.policy).detach()), env.unwrapped.optimal_objective()
    assert start < 0.5 * optimum
    assert reached > 0.97 * optimum
    assert reached <= optimum + 1e-6
    assert agent.history[-1]["objective/rlhf_reward"] == pytest.approx(optimum, rel=0.1)


def test_gradient_in_pieces_is_the_gradient_of_the_whole(policy: LMPolicy, env: gym.Env) -> None:
    for reduction in ("token_mean", "episode_sum"):
        agent = AGENTS["ppo"](policy, env, seed=2, episodes_per_iteration=64, ent_coef=0.1, loss_reduction=reduction)
        rollout = collect_rollout(agent.env, agent.policy, 64, 1, agent.generator)
        advantages = agent.advantages(rollout)
        gradients, losses = [], []
        for pieces in (1, 4):
            (minibatch,) = minibatches(rollout, *advantages, None, pieces, agent.rng)
            assert len(minibatch) == pieces
            losses.append(agent.gradient(minibatch))
            gradients.append(ascent(agent))
        assert torch.allclose(gradients[0], gradients[1], atol=1e-5, rtol=1e-4)
        assert losses[0] == pytest.approx(losses[1], abs=1e-5)


def test_the_value_gradient_flows_into_the_trunk_scaled_by_its_coefficient(policy: LMPolicy, env: gym.Env) -> None:
    def trunk_gradient(vf_coef: float) -> torch.Tensor:
        agent = AGENTS["ppo"](policy, env, seed=0, vf_coef=vf_coef, clip_range_vf=None)
        rollout = collect_rollout(agent.env, agent.policy, 32, 1, agent.generator)
        (minibatch,) = minibatches(rollout, *agent.advantages(rollout), None, 1, agent.rng)
        agent.gradient(minibatch)
        trunk = policy.language_model.model.model.layers[0].mlp.up_proj.weight
        assert trunk.grad is not None
        return trunk.grad.clone()

    none, half, whole = trunk_gradient(0.0), trunk_gradient(0.5), trunk_gradient(1.0)
    assert (whole - none).abs().max() > 1e-4
    assert torch.allclose(half - none, (whole - none) / 2, atol=1e-5)
