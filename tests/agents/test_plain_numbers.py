"""Hyperparameters, counts and weights of NumPy or PyTorch: a run trained with them can be saved."""

import dataclasses

import gymnasium as gym
import numpy as np
import pytest
import torch

import prefgym  # noqa: F401
from prefgym.agents import PPO, REINFORCE
from prefgym.agents.hyperparameters import Hyperparameters
from prefgym.data.prompts import load_prompts
from prefgym.errors import InputError
from prefgym.evaluation.policies.responses import DecodeSettings
from prefgym.numbers import is_number, is_whole, plain, takes_numbers
from prefgym.rewards.functions import length
from prefgym.rewards.reward import Reward

KINDS = [np.int64, np.uint8, np.array, torch.tensor]


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_with_such_numbers_learns_saves_and_loads(kind, tmp_path):
    env = gym.make("Enumerable-v0", max_new_tokens=kind(2), kl_coef=np.float32(0.5))
    options = {"episodes_per_iteration": kind(4), "batch_size": kind(2), "learning_rate": np.float32(1e-4)}
    agent = REINFORCE("default", env, seed=kind(3), **options)
    agent.learn(kind(4), output=tmp_path / "run", save_every=kind(1))
    agent.save(tmp_path / "saved")
    assert agent.num_episodes == 4
    assert REINFORCE.load(tmp_path / "saved", env).hyperparameters == agent.hyperparameters
    assert REINFORCE.resume(tmp_path / "run", env).seed == 3


def test_every_field_is_a_value_of_python():
    kept = PPO.hyperparameter_type(clip_range=np.float64(0.1), gradient_checkpointing=np.True_, kl_target=None)
    assert {type(getattr(kept, field.name)) for field in dataclasses.fields(kept)} <= {
        int,
        float,
        bool,
        str,
        type(None),
    }


@pytest.mark.parametrize("truth", [True, np.True_, torch.tensor(True)])
def test_a_truth_value_is_no_number(truth):
    for name in ("n_epochs", "learning_rate", "vf_coef"):
        with pytest.raises(InputError, match=f"{name} must be"):
            Hyperparameters(**{name: truth})
    agent = REINFORCE("default", "Enumerable-v0", episodes_per_iteration=4)
    with pytest.raises(InputError, match="total_episodes must be"):
        agent.learn(truth)
    with pytest.raises(InputError, match="weight of reward"):
        Reward({"length": (length, truth)})


def test_weights_settings_and_limits(tmp_path):
    assert type(Reward({"length": (length, np.float32(0.5))}).parts["length"][1]) is float
    assert type(DecodeSettings(max_new_tokens=np.int64(4)).max_new_tokens) is int
    (tmp_path / "posts.csv").write_text("prompt\na\nb\nc\n")
    assert len(load_prompts(tmp_path / "posts.csv", limit=np.int64(2), seed=torch.tensor(0))) == 2


def test_what_counts_as_a_number():
    assert [is_whole(value) for value in (1, True, 1.0)] == [True, False, False]
    assert [is_number(value) for value in (1, 1.5, True, "1", float("inf"), 10**400)] == [True, True, *[False] * 4]
    assert plain(np.array([1]))[0] == 1
    assert takes_numbers(lambda *args, **kwargs: (args, kwargs))(np.int64(1), a=np.float64(2)) == ((1,), {"a": 2.0})
