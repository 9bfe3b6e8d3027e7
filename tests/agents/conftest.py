"""The small world in which everything can be enumerated, and a policy that is not the reference."""

import gymnasium as gym
import pytest
import torch

import prefgym  # noqa: F401  (registers the environments)
from prefgym.agents import LMPolicy


@pytest.fixture
def env() -> gym.Env:
    return gym.make("Enumerable-v0", kl_coef=0.1)


@pytest.fixture
def policy(env: gym.Env) -> LMPolicy:
    return moved_policy(env)


def moved_policy(env: gym.Env, value_head: bool = True) -> LMPolicy:
    """A copy of the reference, moved by seeded noise, with a value head that is not zero."""
    policy = LMPolicy(env.unwrapped.language_model.copy(), decoding=env.unwrapped.decoding, value_head=value_head)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return policy
