"""The stable-baselines3 ``VecEnv`` over the native vector environment: its conventions, attributes, refusals."""

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import DummyVecEnv, VecMonitor

from prefgym.agents.sb3 import LMActorCriticPolicy, make_vec_env
from prefgym.errors import InputError


def test_the_vec_env_keeps_stable_baselines3s_conventions():
    """Step by step what its own DummyVecEnv makes of single environments."""
    ours = make_vec_env("Enumerable-v0", 3)
    theirs = VecMonitor(DummyVecEnv([lambda: gym.make("Enumerable-v0").unwrapped] * 3))
    assert ours.observation_space == theirs.observation_space
    assert ours.action_space == theirs.action_space
    for env in (ours, theirs):
        env.seed(7)
        env.set_options([{}, {"index": 1}, {}])
    assert_same(ours.reset(), theirs.reset())
    staggered = False
    for actions in np.random.default_rng(0).choice(4, size=(20, 3)):
        one, other = ours.step(actions), theirs.step(actions)
        for info in (*one[3], *other[3]):
            info.get("episode", {}).pop("t", None)
        assert_same(one, other)
        for done, info in zip(one[2], one[3], strict=True):
            assert done == ("terminal_observation" in info) == ("episode" in info)
            assert info["TimeLimit.truncated"] is False
        staggered |= 0 < one[2].sum() < 3
    assert staggered
    assert_same(ours.reset(), theirs.reset())  # seed and options were used up


def assert_same(ours, theirs):
    if isinstance(ours, dict):
        assert ours.keys() == theirs.keys()
        for name in ours:
            assert_same(ours[name], theirs[name])
    elif isinstance(ours, list | tuple):
        for one, other in zip(ours, theirs, strict=True):
            assert_same(one, other)
    elif isinstance(ours, str | bool):
        assert ours == theirs
    else:
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_attributes_and_methods_of_rows():
    env = make_vec_env("Enumerable-v0", 3)
    assert env.get_attr("kl_coef") == [0.5] * 3
    env.set_attr("kl_coef", 0.2)
    assert env.unwrapped.env.kl_coef == 0.2
    with pytest.raises(InputError, match="shared by all rows"):
        env.set_attr("kl_coef", 0.1, indices=[0])
    masks = env.env_method("action_masks", indices=[0, 2])
    assert [mask.shape for mask in masks] == [(4,)] * 2
    assert env.has_attr("action_masks")
    assert not env.has_attr("nothing")
    assert env.env_method("encode_prompts", [0])[0].texts == env.env_method("encode_prompts", [0])[2].texts
    assert env.env_is_wrapped(gym.Wrapper) == [False] * 3


def test_a_policy_the_user_attached_stays():
    class Uniform:
        def log_prob(self, observation, action):
            return np.full(np.shape(action), -np.log(4))

    env, policy = make_vec_env("Enumerable-v0", 2), Uniform()
    env.env_method("attach_policy", policy)
    env.reset()
    _, _, _, infos = env.step(np.zeros(2, int))
    assert env.get_attr("policy") == [policy] * 2
    assert infos[0]["log_prob"] == pytest.approx(-np.log(4))


def test_bad_environments():
    with pytest.raises(InputError, match="make_vec_env"):
        PPO(LMActorCriticPolicy, gym.make("Enumerable-v0"), n_steps=8, batch_size=8)
    with pytest.raises(InputError, match='"CartPole-v1" is not a prefgym environment'):
        make_vec_env("CartPole-v1", 2)
    with pytest.raises(InputError, match='Did you mean "kl_coef"'):
        make_vec_env("Enumerable-v0", 2, kl_coeff=0.1)
    with pytest.raises(InputError, match="num_envs"):
        make_vec_env("Enumerable-v0", 0)
