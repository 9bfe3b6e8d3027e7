"""Where every response can be listed: gradients agree with the exact one, and learning reaches the optimum."""

from typing import Any

import gymnasium as gym
import pytest
import torch

from prefgym.agents import AGENTS, LMPolicy, PolicyGradient, Rollout, collect_rollout
from prefgym.agents.minibatch import minibatches
from prefgym.agents.rollout import at_end
from prefgym.models.forward import token_log_probs

UNBIASED: dict[str, Any] = {
    "vf_coef": 0.0,
    "max_grad_norm": None,
    "loss_reduction": "episode_sum",
    "samples_per_prompt": 4,
    "batch_size": None,
    "n_epochs": 1,
}
CONFIGURATIONS = [
    ("ppo", {"gae_lambda": 1.0, "normalize_advantage": False}),
    ("reinforce", {"baseline": "none"}),
    ("reinforce", {"baseline": "moving_average"}),
    ("reinforce", {"baseline": "value"}),
    ("reinforce", {"baseline": "leave_one_out"}),
]
IDS = [options.get("baseline", name) for name, options in CONFIGURATIONS]


def ascent(agent: PolicyGradient) -> torch.Tensor:
    """The direction in which the agent's gradient would climb, flat."""
    return -torch.cat(
        [
            (torch.zeros_like(parameter) if parameter.grad is None else parameter.grad).flatten()
            for parameter in agent.policy.parameters()
        ]
    )


def estimate(agent: PolicyGradient, episodes: int) -> torch.Tensor:
    """One gradient estimate from fresh episodes; the policy stays as it is."""
    rollout = collect_rollout(agent.env, agent.policy, episodes // 4, 4, agent.generator)
    (pieces,) = minibatches(rollout, *agent.advantages(rollout), None, 1, agent.rng)
    agent.gradient(pieces)
    return ascent(agent)


@pytest.mark.parametrize(("name", "options"), CONFIGURATIONS, ids=IDS)
def test_mean_gradient_is_the_exact_gradient(
    name: str, options: dict[str, Any], policy: LMPolicy, env: gym.Env
) -> None:
    agent = AGENTS[name](policy, env, seed=1, episodes_per_iteration=4096, **UNBIASED, **options)
    exact = torch.cat([gradient.flatten() for gradient in env.unwrapped.exact_gradient(agent.policy).values()])
    estimates = torch.stack([estimate(agent, 4096) for _ in range(4)])
    mean = estimates.mean(0)
    assert torch.cosine_similarity(mean, exact, dim=0) > 0.995
    # The length along the exact gradient too: a baseline that leaks the sample, or KL counted twice, changes it.
    assert (mean @ exact / exact.square().sum()).item() == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize(("name", "options"), [CONFIGURATIONS[0], CONFIGURATIONS[1], CONFIGURATIONS[3]])
def test_expected_gradient_over_all_responses(
    name: str, options: dict[str, Any], policy: LMPolicy, env: gym.Env
) -> None:
    """No sampling: every response counts with its probability, so the agreement is to rounding."""
    agent = AGENTS[name](policy, env, **UNBIASED, **options)
    rollout, weights = every_response(env, policy)
    advantages = agent.advantages(rollout)
    weighted = advantages._replace(advantages=advantages.advantages * weights[:, None])
    (pieces,) = minibatches(rollout, *weighted, None, 1, agent.rng)
    agent.gradient(pieces)
    exact = torch.cat([gradient.flatten() for gradient in env.unwrapped.exact_gradient(policy).values()])
    assert torch.allclose(ascent(agent), exact, atol=1e-5)


def every_response(env: gym.Env, policy: LMPolicy) -> tuple[Rollout, torch.Tensor]:
    """All responses to all prompts as one rollout, and each one's probability relative to a uniform draw."""
    world = env.unwrapped
    responses, (num_prompts, count) = world.responses(), world.scores().shape
    batch = world.encode_prompts(range(num_prompts)).repeat(count)
    tokens, mask = responses.tokens.repeat(num_prompts, 1), responses.mask.repeat(num_prompts, 1)
    both = torch.cat([batch.tokens, tokens], 1), torch.cat([batch.mask, mask], 1)
    with torch.no_grad():
        evaluation = policy.evaluate_actions(*both, tokens.shape[1])
        ref = token_log_probs(world.reference.model, *both, tokens.shape[1], world.vocab_size)
        weights = world.log_probs(policy).exp().flatten() * count
    kl, scores = evaluation.log_probs - ref, world.scores().flatten().float()
    rollout = Rollout(
        prompt_tokens=batch.tokens,
        prompt_mask=batch.mask,
        response_tokens=tokens,
        response_mask=mask,
        log_probs=evaluation.log_probs,
        ref_log_probs=ref,
        values=evaluation.values,
        kl=kl,
        rewards=at_end(scores, mask) - world.kl_coef * kl,
        scores=scores,
        score_parts={},
        groups=torch.arange(num_prompts).repeat_interleave(count),
        finish_reasons=[],
        prompts=batch.texts,
        responses=[],
        references=batch.references,
        prompt_indices=batch.indices,
    )
    return rollout, weights.float()


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
