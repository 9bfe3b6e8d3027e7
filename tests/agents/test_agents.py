"""Agents as a user meets them: verbs, hyperparameters, errors."""

import inspect
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

from prefgym.agents import AGENTS, PPO, REINFORCE, LMPolicy, PolicyGradient, Rollout, collect_rollout
from prefgym.agents.base import Advantages
from prefgym.agents.baselines import GroupMean, GroupNormalised
from prefgym.agents.minibatch import Minibatch, minibatches
from prefgym.agents.returns import gae
from prefgym.envs.tiny_world import tiny_language_model
from prefgym.errors import InputError, RewardError

SMALL: dict[str, Any] = {"episodes_per_iteration": 16, "batch_size": 8}


def parameters(agent: PolicyGradient) -> list[torch.Tensor]:
    return [parameter.detach().clone() for parameter in agent.policy.parameters()]


def test_same_seed_same_parameters(env: gym.Env) -> None:
    def train(seed: int) -> list[torch.Tensor]:
        return parameters(PPO("default", gym.make("Enumerable-v0"), seed=seed, **SMALL).learn(48))

    first, again, other = train(3), train(3), train(4)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first, other, strict=True))


@pytest.mark.parametrize("name", AGENTS)
def test_reference_and_environment_model_stay_as_they_were(name: str, env: gym.Env) -> None:
    before = env.unwrapped.reference.checksum(), env.unwrapped.language_model.checksum()
    agent = AGENTS[name]("default", env, **SMALL).learn(32)
    assert (env.unwrapped.reference.checksum(), env.unwrapped.language_model.checksum()) == before
    assert agent.policy.language_model.checksum() != before[1]
    assert agent.iteration == 2
    assert agent.num_episodes == 32
    assert [row["episodes"] for row in agent.history] == [16, 32]


def test_the_first_update_of_ppo_starts_from_ratio_one(env: gym.Env) -> None:
    agent = PPO("default", env, episodes_per_iteration=16, batch_size=None, n_epochs=1).learn(16)
    row = agent.history[0]
    assert row["train/approx_kl"] == pytest.approx(0, abs=1e-6)
    assert row["train/clip_fraction"] == 0
    assert row["objective/kl"] == pytest.approx(0, abs=1e-5)
    assert row["train/explained_variance"] == pytest.approx(0, abs=1e-6)  # values start at zero
    assert row["train/policy_loss"] == pytest.approx(0, abs=1e-5)  # whitened advantages sum to zero


def test_whitening_and_gae_are_switches(env: gym.Env, policy: LMPolicy) -> None:
    agent = PPO(policy, env, normalize_advantage=False, gae_lambda=0.5)
    rollout = agent_rollout(agent)
    assert rollout.values is not None
    expected, _ = gae(rollout.rewards, rollout.values, rollout.response_mask, 0.5)
    assert torch.equal(agent.advantages(rollout).advantages, expected)
    whitened = PPO(policy, env).advantages(rollout).advantages[rollout.response_mask]
    assert whitened.mean().item() == pytest.approx(0, abs=1e-6)
    assert whitened.var(correction=0).item() == pytest.approx(1, abs=1e-4)


def test_the_samples_of_a_prompt_stay_together_and_every_episode_is_seen_once(env: gym.Env) -> None:
    agent = REINFORCE("default", env, samples_per_prompt=4, baseline="leave_one_out")
    rollout = collect_rollout(agent.env, agent.policy, 6, 4, agent.generator)
    numbers = torch.arange(24.0)[:, None].expand(rollout.rewards.shape)  # episodes, told by their advantage
    seen = []
    for pieces in minibatches(rollout, numbers, None, 8, 2, np.random.default_rng(1)):
        assert [len(piece.tokens) for piece in pieces] == [4, 4]
        assert all(piece.prompt_of.tolist() == [0] * 4 for piece in pieces)
        assert len({int(piece.num_tokens) for piece in pieces}) == 1
        seen += [int(row) for piece in pieces for row in piece.advantages[:, 0]]
    assert sorted(seen) == list(range(24)) != seen
    orders = [
        [int(p[0].advantages[0, 0]) for p in minibatches(rollout, numbers, None, 4, 1, np.random.default_rng(seed))]
        for seed in (0, 0, 1)
    ]
    assert orders[0] == orders[1] != orders[2]


def agent_rollout(agent: PolicyGradient) -> Rollout:
    from prefgym.agents import collect_rollout

    return collect_rollout(agent.env, agent.policy, 16, 1, agent.generator)


def test_padding_contributes_nothing_to_a_loss(env: gym.Env, policy: LMPolicy) -> None:
    agent = PPO(policy, env, ent_coef=0.1)
    rollout = agent_rollout(agent)
    wide = widen(rollout)
    gradients = []
    for some in (rollout, wide):
        advantages = agent.advantages(some)
        rows = torch.arange(len(some))
        minibatch = Minibatch(
            tokens=torch.cat([some.prompt_tokens, some.response_tokens], 1),
            attention_mask=torch.cat([some.prompt_mask, some.response_mask], 1),
            mask=some.response_mask,
            prompt_of=some.groups,
            old_log_probs=some.log_probs,
            ref_log_probs=some.ref_log_probs,
            old_values=some.values,
            advantages=advantages.advantages,
            returns=advantages.returns,
            num_tokens=int(some.response_mask.sum()),
            num_episodes=len(rows),
        )
        agent.gradient([minibatch])
        gradients.append(torch.cat([p.grad.flatten() for p in policy.parameters() if p.grad is not None]))
    assert torch.allclose(gradients[0], gradients[1], atol=1e-6)


def widen(rollout: Rollout) -> Rollout:
    """The same episodes with two columns of junk padding on either side."""
    import dataclasses

    def junk(x: torch.Tensor, value: float) -> torch.Tensor:
        return torch.full((len(x), 2), value, dtype=x.dtype)

    right = {"response_tokens": 1, "response_mask": 0, "log_probs": -3, "ref_log_probs": -5, "kl": 0, "rewards": 9}
    columns = {name: torch.cat([x := getattr(rollout, name), junk(x, value)], 1) for name, value in right.items()}
    assert rollout.values is not None
    columns["values"] = torch.cat([rollout.values, junk(rollout.values, 50)], 1)
    columns["prompt_tokens"] = torch.cat([junk(rollout.prompt_tokens, 2), rollout.prompt_tokens], 1)
    columns["prompt_mask"] = torch.cat([junk(rollout.prompt_mask, 0), rollout.prompt_mask], 1)
    return dataclasses.replace(rollout, **columns)


def test_target_kl_ends_an_update_early(env: gym.Env) -> None:
    def steps(target_kl: float | None) -> int:
        agent = PPO("default", env, learning_rate=0.05, target_kl=target_kl, **SMALL)
        agent.learn(16)
        return int(next(iter(agent.optimizer.state.values()))["step"])

    assert steps(None) == 8  # 4 epochs of 2 minibatches
    assert 0 < steps(1e-3) < 8


def test_learning_rate_schedule(env: gym.Env) -> None:
    agent = PPO("default", env, learning_rate=1e-3, lr_schedule="linear", **SMALL).learn(64)
    assert [row["train/learning_rate"] for row in agent.history] == pytest.approx([1e-3, 7.5e-4, 5e-4, 2.5e-4])


def test_learn_adds_episodes_and_a_callback_can_stop_it(env: gym.Env) -> None:
    agent = REINFORCE("default", env, episodes_per_iteration=16)
    assert agent.learn(20) is agent
    assert agent.num_episodes == 32  # rounded up
    seen = []
    agent.learn(160, callback=lambda agent, scalars: seen.append(scalars["episodes"]) or len(seen) < 2)
    assert seen == [48, 64]
    agent.learn(16)
    assert agent.num_episodes == 80


def test_the_policy_can_be_named_in_several_ways(env: gym.Env, tmp_path: Any) -> None:
    model = env.unwrapped.language_model
    model.save(tmp_path / "model")
    assert PPO(tmp_path / "model", env).policy.language_model.checksum() == model.checksum()
    agent = PPO(str(tmp_path / "model"), env)
    assert agent.policy.language_model.checksum() == model.checksum()
    assert PPO(model, env).policy.language_model.model is not model.model
    assert PPO(agent.policy, env).policy is agent.policy
    assert PPO("default", "Enumerable-v0").env.spec.id == "Enumerable-v0"
    with pytest.raises(InputError, match="another vocabulary"):
        PPO(tiny_language_model(5, 8), env)
    with pytest.raises(InputError, match='must be "default"'):
        PPO(7, env)
    with pytest.raises(InputError, match="value_head=True"):
        PPO(LMPolicy(model.copy(), value_head=False), env)
    with pytest.raises(InputError, match="not an environment of prefgym"):
        PPO("default", gym.make("CartPole-v1"))


def test_vector_and_wrapped_environments_train(env: gym.Env) -> None:
    for some in (
        gym.make_vec("Enumerable-v0", num_envs=4),
        gym.make_vec("Enumerable-v0", num_envs=4, vectorization_mode="sync"),
        gym.wrappers.TransformReward(env, lambda reward: 2 * reward),
    ):
        agent = PPO("default", some, **SMALL).learn(16)
        assert len(agent.history) == 1
        assert agent.history[0]["objective/kl"] == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"learning_rate": -1e-4}, "learning_rate must be a number above 0, not -0.0001"),
        ({"learning_rate": float("nan")}, "learning_rate must be a number above 0"),
        ({"batch_size": 0}, "batch_size must be a positive whole number, not 0"),
        ({"episodes_per_iteration": -4}, "episodes_per_iteration must be a positive whole number"),
        ({"n_epochs": 1.5}, "n_epochs must be a positive whole number"),
        ({"samples_per_prompt": 3}, r"episodes_per_iteration \(64\) must be a multiple of samples_per_prompt \(3\)"),
        ({"batch_size": 65}, r"batch_size \(65\) cannot be above episodes_per_iteration \(64\)"),
        ({"gae_lambda": 1.5}, "gae_lambda must be a number from 0 to 1"),
        ({"ent_coef": -0.1}, "ent_coef must be a number of at least 0"),
        ({"clip_range": 0}, "clip_range must be a number above 0"),
        ({"loss_reduction": "token-mean"}, 'Did you mean "token_mean"'),
        ({"lr_schedule": "cosin"}, 'constant, linear, cosine. Did you mean "cosine"'),
        ({"warmup": 1}, "warmup is a share of the training from 0 to below 1, not 1"),
        ({"warmup": -0.1}, "warmup must be a number of at least 0"),
        ({"weight_decay": -0.1}, "weight_decay must be a number of at least 0"),
        ({"weight_decay": "much"}, "weight_decay must be a number of at least 0"),
        ({"learning_rat": 1e-4}, 'There is no hyperparameter "learning_rat". Did you mean "learning_rate"'),
    ],
)
def test_bad_hyperparameters_of_ppo(options: dict[str, Any], message: str, env: gym.Env) -> None:
    with pytest.raises(InputError, match=message):
        PPO("default", env, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"baseline": "leave-one-out"}, 'Did you mean "leave_one_out"'),
        ({"samples_per_prompt": 1}, "set samples_per_prompt to 2 or more"),
        ({"gae_lambda": 0.9}, 'There is no hyperparameter "gae_lambda"'),
    ],
)
def test_bad_hyperparameters_of_reinforce(options: dict[str, Any], message: str, env: gym.Env) -> None:
    with pytest.raises(InputError, match=message):
        REINFORCE("default", env, **options)


def test_bad_arguments_of_learn(env: gym.Env) -> None:
    agent = PPO("default", env)
    with pytest.raises(InputError, match="total_episodes must be a positive whole number"):
        agent.learn(0)
    with pytest.raises(InputError, match="needs an output folder"):
        agent.learn(16, save_every=2)


def test_a_reward_error_names_the_prompt_and_leaves_nothing(tmp_path: Any) -> None:
    def reward(prompts: list[str], completions: list[str], **columns: list) -> list[float]:
        raise ZeroDivisionError("no")

    agent = PPO("default", gym.make("Enumerable-v0", reward=reward), **SMALL)
    before = parameters(agent)
    with pytest.raises(RewardError) as failure:
        agent.learn(32, output=tmp_path / "run", save_every=1)
    assert failure.value.prompt_index in (0, 1)
    assert not (tmp_path / "run").exists()
    assert all(torch.equal(a, b) for a, b in zip(before, parameters(agent), strict=True))


def test_a_diverging_run_stops(env: gym.Env) -> None:
    class Broken(PPO):
        def loss(self, minibatch: Minibatch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
            loss, stats = super().loss(minibatch)
            return loss * float("inf"), stats

    with pytest.raises(FloatingPointError, match="lower learning_rate"):
        Broken("default", env, **SMALL).learn(16)


def test_an_agent_is_two_methods(env: gym.Env) -> None:
    class Sign(PolicyGradient):
        """Raises tokens of responses with a positive return, lowers the others."""

        name = "sign"

        def advantages(self, rollout: Rollout) -> Advantages:
            return Advantages(rollout.returns.sign()[:, None].expand_as(rollout.rewards))

        def loss(self, minibatch: Minibatch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
            loss = -(minibatch.advantages * minibatch.log_probs)[minibatch.mask].sum() / minibatch.denominator
            return loss, {"policy_loss": loss}

    agent = Sign("default", env, learning_rate=1e-2)
    before = float(env.unwrapped.objective(agent.policy).detach())
    agent.learn(64 * 10)
    assert float(env.unwrapped.objective(agent.policy).detach()) > before + 0.3


def test_an_agent_is_one_small_file() -> None:
    for agent in AGENTS.values():
        assert len(inspect.getsource(inspect.getmodule(agent)).splitlines()) < 200  # type: ignore[arg-type]
    assert len(inspect.getsource(GroupMean).splitlines()) <= 20
    code = [line for line in inspect.getsource(GroupNormalised.advantages).splitlines() if line.strip()]
    assert len(code) <= 10
