"""One gradient of an agent."""

import gymnasium as gym
import pytest
import torch

from prefgym.agents import REINFORCE, LMPolicy, collect_rollout
from prefgym.agents.minibatch import minibatches


@pytest.mark.parametrize("ent_coef", [0.0, 1.0])
def test_entropy_is_computed_for_a_bonus_alone_and_then_moves_the_policy(
    ent_coef: float, env: gym.Env, policy: LMPolicy
) -> None:
    agent = REINFORCE(policy, env, seed=0, ent_coef=ent_coef, vf_coef=0.0)
    rollout = collect_rollout(env, policy, 8, 1, agent.generator)
    nothing = torch.zeros_like(rollout.rewards)
    (piece,) = next(minibatches(rollout, nothing, nothing, None, 1, agent.rng))
    agent.gradient([piece])
    moves = any(p.grad is not None and p.grad.abs().max() > 0 for p in policy.parameters())
    assert (piece.entropy is not None) == moves == (ent_coef > 0)
