"""Callers that try an argument first: stock stable-baselines3, TorchRL, Gymnasium's own wrappers and vector modes."""

import copy
import pickle
import warnings

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.vector import VectorEnv
from gymnasium.wrappers import RecordEpisodeStatistics, RecordVideo, TimeLimit
from gymnasium.wrappers.vector import RecordEpisodeStatistics as RecordVectorStatistics
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env

import prefgym  # noqa: F401
from prefgym.envs.language_env import UnexpectedArgument
from prefgym.errors import InputError

IDS = ("Summarize-v0", "Instruct-v0", "Enumerable-v0")
SMALL = {"num_tokens": 2, "max_new_tokens": 2, "num_prompts": 1}
REFUSED = "__init__() got an unexpected keyword argument 'render_mode'"
pytestmark = pytest.mark.filterwarnings("ignore:.*render_mode.*:UserWarning")


def by_torchrl(id, num_envs=0, **kwargs):
    """How TorchRL's ``GymEnv(id)`` makes an environment: it leaves out what a ``TypeError`` says is not known."""
    kwargs |= {"disable_env_checker": True, "frameskip": 1}
    while True:
        try:
            env = gym.make(id, **kwargs)
            break
        except TypeError as error:
            if "unexpected keyword argument 'frameskip'" in str(error):
                del kwargs["frameskip"]
            elif REFUSED in str(error):
                del kwargs["render_mode"]
            else:
                raise
    return gym.vector.SyncVectorEnv([lambda: gym.make(id, **kwargs)] * num_envs) if num_envs else env


@pytest.mark.parametrize("id", IDS)
def test_stable_baselines3_makes_every_id_by_name(id):
    env = make_vec_env(id, 2, seed=0)
    env.reset()
    _, rewards, _, _ = env.step(np.zeros(2, dtype=int))
    assert np.isfinite(rewards).all()


def test_stable_baselines3_learns_in_an_environment_named_by_id():
    assert PPO("MultiInputPolicy", "Enumerable-v0", n_steps=8, batch_size=8, n_epochs=1).learn(8).num_timesteps == 8


@pytest.mark.parametrize("id", IDS)
@pytest.mark.parametrize("options", [{}, {"render_mode": "rgb_array"}])
def test_torchrl_makes_every_id_by_name(id, options):
    env = by_torchrl(id, **options)
    env.reset(seed=0)
    assert np.isfinite(env.step(0)[1])


def test_torchrl_makes_several():
    env = by_torchrl("Enumerable-v0", num_envs=2)
    env.reset(seed=[0, 1])
    assert env.step(np.zeros(2, dtype=int))[1].shape == (2,)


@pytest.mark.parametrize("mode", ["sync", "async", "vector_entry_point"])
def test_every_vectorization_mode(mode):
    env = RecordVectorStatistics(gym.make_vec("Enumerable-v0", 2, mode, **SMALL))
    env.reset(seed=0)
    ended = [env.step(np.zeros(2, dtype=int)) for _ in range(2)][-1]
    assert ended[4]["episode"]["l"].tolist() == [2, 2]
    env.close()


@pytest.mark.parametrize(
    "make",
    [
        lambda: gym.make("Enumerable-v0", render_mode="rgb_array"),
        lambda: gym.make_vec("Enumerable-v0", 2, render_mode="rgb_array"),
        lambda: gym.make_vec("Enumerable-v0", 2, "sync", render_mode="rgb_array"),
        lambda: RecordVideo(gym.make("Enumerable-v0", render_mode="rgb_array"), "videos"),
    ],
)
def test_pictures_are_refused_in_one_sentence(make):
    with pytest.raises(UnexpectedArgument) as refused:
        make()
    assert REFUSED in str(refused.value)
    assert str(refused.value).endswith("of value 'rgb_array'; it renders as ansi or human, or not at all.")


@pytest.mark.parametrize("kind", [InputError, ValueError, TypeError])
def test_an_unknown_argument_is_of_both_kinds(kind):
    with pytest.raises(kind, match=r"^Enumerable.__init__\(\) got an unexpected keyword argument 'kl_coeff'. Did you"):
        gym.make("Enumerable-v0", kl_coeff=0.1)
    with pytest.raises(kind, match=r"^EnumerableVector.__init__\(\) got an unexpected keyword argument 'frameskip'.$"):
        gym.make_vec("Enumerable-v0", 2, frameskip=1)


def test_the_error_comes_whole_out_of_another_process():
    error = UnexpectedArgument("A sentence.")
    assert str(pickle.loads(pickle.dumps(error))) == str(copy.copy(error)) == "A sentence."


def test_wrappers_of_gymnasium():
    env = RecordEpisodeStatistics(gym.make("Enumerable-v0", **SMALL))
    env.reset(seed=0)
    env.step(0)
    assert env.step(0)[4]["episode"]["l"] == 2
    limited = gym.make("Enumerable-v0", max_episode_steps=1, **SMALL)
    assert isinstance(limited, TimeLimit)
    limited.reset(seed=0)
    assert limited.step(0)[3]


NUMBERS = [np.int64, np.int32, lambda value: np.array(value), lambda value: torch.tensor(value)]


@pytest.mark.parametrize("kind", NUMBERS)
def test_numbers_of_numpy_and_torch_are_taken_as_pythons(kind):
    options = {"num_tokens": kind(2), "max_new_tokens": kind(2), "max_prompt_tokens": kind(4), "mask_top_k": kind(1)}
    env = gym.make("Enumerable-v0", kl_coef=kind(1), temperature=kind(1), missing_eos_penalty=kind(0), **options)
    assert [type(env.unwrapped.max_new_tokens), type(env.unwrapped.max_prompt_tokens)] == [int, int]
    assert (env.unwrapped.max_new_tokens, env.unwrapped.kl_coef, env.unwrapped.temperature) == (2, 1.0, 1.0)
    env.unwrapped.kl_coef = kind(2)
    assert type(env.unwrapped.kl_coef) is float
    env.reset(seed=kind(3), options={"index": kind(1)})
    assert env.step(0)[4]["kl_coef"] == 2.0
    vector = gym.make_vec("Enumerable-v0", kind(2), **SMALL)
    assert isinstance(vector, VectorEnv)
    assert type(vector.num_envs) is int
    vector.reset(seed=kind(3))


def test_a_whole_float_is_a_whole_number(make_env):
    assert type(make_env(max_prompt_tokens=4.0).max_prompt_tokens) is int


@pytest.mark.parametrize("truth", [True, np.True_, np.array(True), torch.tensor(True)])
@pytest.mark.parametrize("name", ["max_new_tokens", "max_prompt_tokens", "kl_coef", "temperature", "mask_top_p"])
def test_a_truth_value_is_no_number(name, truth):
    with warnings.catch_warnings(), pytest.raises(InputError, match=f"{name} must be"):
        gym.make("Enumerable-v0", **{name: truth})
