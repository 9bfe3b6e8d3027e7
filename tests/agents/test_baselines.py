"""Baselines worked by hand on two prompts with two samples each."""

import dataclasses

import gymnasium as gym
import pytest
import torch

from prefgym.agents import BASELINES, LMPolicy, Rollout, collect_rollout
from prefgym.agents.baselines import make_baseline
from prefgym.errors import InputError


@pytest.fixture
def rollout(env: gym.Env, policy: LMPolicy) -> Rollout:
    """Returns 1, 3 and 10, 20; the second token of the first episode pays 5 of its 1."""
    real = collect_rollout(env, policy, 2, 2, torch.Generator().manual_seed(0))
    rewards = torch.tensor([[-4.0, 5.0, 9.0], [3.0, 0.0, 0.0], [4.0, 3.0, 3.0], [0.0, 0.0, 20.0]])
    mask = torch.tensor([[True, True, False], [True, False, False], [True] * 3, [True] * 3])
    values = torch.tensor([[1.0, 2.0, 7.0], [0.0, 7.0, 7.0], [0.5, 0.0, 1.0], [10.0, 10.0, 10.0]])
    return dataclasses.replace(real, rewards=rewards, response_mask=mask, values=values)


def test_none_is_the_return(rollout: Rollout) -> None:
    assert make_baseline("none").advantages(rollout).tolist() == [[1.0], [3.0], [10.0], [20.0]]


def test_leave_one_out_is_the_other_sample(rollout: Rollout) -> None:
    assert make_baseline("leave_one_out").advantages(rollout).tolist() == [[-2.0], [2.0], [-10.0], [10.0]]


def test_value_is_per_token(rollout: Rollout) -> None:
    advantages = make_baseline("value").advantages(rollout)
    assert advantages[0, :2].tolist() == [0.0, 3.0]
    assert advantages[2].tolist() == [9.5, 6.0, 2.0]


def test_moving_average_knows_only_the_past(rollout: Rollout) -> None:
    baseline = make_baseline("moving_average")
    # The first rollout has no past: others' means are 33/3, 31/3, 24/3, 14/3.
    first = baseline.advantages(rollout)[:, 0]
    assert first.tolist() == pytest.approx([1 - 11, 3 - 31 / 3, 10 - 8, 20 - 14 / 3])
    # Its mean return 8.5 is the baseline of the second; then it moves by a fifth towards 0.
    silent = dataclasses.replace(rollout, rewards=rollout.rewards * 0)
    assert baseline.advantages(silent)[:, 0].tolist() == [-8.5] * 4
    assert baseline.advantages(silent)[:, 0].tolist() == pytest.approx([-0.8 * 8.5] * 4)
    restored = make_baseline("moving_average")
    restored.load_state_dict(baseline.state_dict())
    assert restored.advantages(silent).tolist() == baseline.advantages(silent).tolist()


def test_an_unknown_baseline_is_told_its_nearest() -> None:
    with pytest.raises(InputError, match='Did you mean "leave_one_out"'):
        make_baseline("leave_one_ot")
    assert set(BASELINES) == {
        "none",
        "moving_average",
        "value",
        "greedy",
        "leave_one_out",
        "group_mean",
        "group_normalised",
    }


def test_groups_are_centred_and_standardised(rollout: Rollout) -> None:
    assert make_baseline("group_mean").advantages(rollout).tolist() == [[-1.0], [1.0], [-5.0], [5.0]]
    normalised = make_baseline("group_normalised")
    assert normalised.advantages(rollout)[:, 0].tolist() == pytest.approx([-1, 1, -1, 1], abs=1e-3)
    equal = dataclasses.replace(rollout, rewards=torch.ones_like(rollout.rewards) * rollout.response_mask[:1])
    assert normalised.advantages(equal)[2:].tolist() == [[0.0], [0.0]]


def test_greedy_is_the_return_of_the_likeliest_tokens(env: gym.Env, policy: LMPolicy) -> None:
    real = collect_rollout(env, policy, 3, 2, torch.Generator().manual_seed(0))
    baseline = make_baseline("greedy")
    baseline.look(env, policy, real)
    lab = env.unwrapped
    for row, index in enumerate(real.prompt_indices):
        observation, _ = lab.reset(options={"index": index})
        ended, total = False, 0.0
        while not ended:
            action, _ = policy.predict(observation, deterministic=True)
            log_prob = policy.log_prob(observation, action)
            observation, reward, ended, _, _ = lab.step(action)
            total += reward - lab.kl_coef * log_prob
        expected = float(real.returns[row]) - total
        assert baseline.advantages(real)[row, 0].item() == pytest.approx(expected, abs=1e-4)
