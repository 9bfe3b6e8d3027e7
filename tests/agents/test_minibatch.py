"""Minibatches: the order of prompts, and who gives which field."""

import dataclasses

import gymnasium as gym
import numpy as np

from prefgym.agents import LMPolicy, collect_rollout
from prefgym.agents.minibatch import Minibatch, minibatches


def test_prompts_come_in_the_order_of_one_permutation() -> None:
    env = gym.make("Enumerable-v0", num_prompts=5)
    policy = LMPolicy(env.unwrapped.language_model.copy(), value_head=False)
    rollout = collect_rollout(env, policy, 5, 2, prompt_indices=[0, 1, 2, 3, 4])
    assert rollout.prompt_indices == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    batches = minibatches(rollout, rollout.rewards, None, 2, 1, np.random.default_rng(7))
    order = [int(piece.attention_mask[0].sum() - piece.mask[0].sum()) - 1 for (piece,) in batches]  # by prompt length
    rank = np.random.default_rng(7).permutation(5)
    assert order == np.argsort(rank).tolist() != sorted(order)


def test_what_the_policy_says_is_computed_and_never_given() -> None:
    computed = {field.name for field in dataclasses.fields(Minibatch) if not field.init}
    assert computed == {"log_probs", "values", "entropy", "log_dist"}
