"""Between a hyperparameter and the number that it moves: each test fails where one wire is laid wrongly."""

from typing import Any

import gymnasium as gym
import pytest
import torch
from gymnasium.vector import SyncVectorEnv

from prefgym.agents import PPO, REINFORCE, ExpertIteration, LMPolicy, collect_rollout
from prefgym.agents.base import Advantages, PolicyGradient
from prefgym.agents.minibatch import Minibatch, minibatches
from prefgym.agents.rollout import Rollout
from prefgym.models.lora import AdaptedModel, LoRA


def ascent(agent: PolicyGradient) -> torch.Tensor:
    """The direction in which the agent's gradient would climb, flat."""
    parameters = agent.policy.parameters()
    return -torch.cat([(p.grad if p.grad is not None else torch.zeros_like(p)).flatten() for p in parameters])


def collected(agent: PolicyGradient, episodes: int = 32) -> Rollout:
    return collect_rollout(agent.env, agent.policy, episodes, 1, agent.generator)


def whole(agent: PolicyGradient, rollout: Rollout, advantages: Advantages | None = None) -> list[Minibatch]:
    """The rollout as one minibatch, in one piece."""
    given = agent.advantages(rollout) if advantages is None else advantages
    return next(minibatches(rollout, *given, None, 1, agent.rng))


def nothing(rollout: Rollout) -> Advantages:
    """Advantages and returns of 0: what is left of a loss is its other terms."""
    zeros = torch.zeros_like(rollout.rewards)
    return Advantages(zeros, zeros)


def test_an_entropy_bonus_climbs_the_entropy(env: gym.Env, policy: LMPolicy) -> None:
    agent = REINFORCE(policy, env, seed=0, ent_coef=0.5, vf_coef=0.0, loss_reduction="token_mean")
    (piece,) = whole(agent, rollout := collected(agent), nothing(rollout))
    agent.gradient([piece])
    climbing = ascent(agent)
    logits = policy.language_model.model(piece.tokens, attention_mask=piece.attention_mask.long()).logits
    logits = logits[:, -piece.mask.shape[1] - 1 : -1, : policy.vocab_size]  # those that chose the response's tokens
    log_dist = logits.log_softmax(-1)
    entropy = -(log_dist.exp() * log_dist).sum(-1)[piece.mask].mean()
    policy.zero_grad()
    (-0.5 * entropy).backward()
    assert climbing.norm() > 0
    assert torch.allclose(climbing, ascent(agent), atol=1e-5)


def test_each_clip_range_clips_its_own(env: gym.Env, policy: LMPolicy) -> None:
    agent = PPO(policy, env, clip_range=0.5, clip_range_vf=0.1, vf_coef=1.0)
    one = torch.ones(1, 1)
    piece = Minibatch(
        tokens=torch.zeros(1, 2, dtype=torch.long),
        attention_mask=torch.ones(1, 2, dtype=torch.bool),
        mask=torch.ones(1, 1, dtype=torch.bool),
        prompt_of=torch.zeros(1, dtype=torch.long),
        old_log_probs=0 * one,
        ref_log_probs=0 * one,
        old_values=0 * one,
        advantages=one,
        returns=one,
        num_tokens=1,
        num_episodes=1,
    )
    piece.log_probs, piece.values = torch.log(2 * one), 0.3 * one
    loss, stats = agent.loss(piece)
    assert float(stats["policy_loss"]) == pytest.approx(-1.5)  # the ratio 2 counts as 1.5
    assert float(stats["value_loss"]) == pytest.approx(0.81)  # the value 0.3 counts as 0.1: (0.1 - 1)²
    assert float(loss) == pytest.approx(-1.5 + 0.81)


def test_the_controller_is_told_the_kl_of_a_response(env: gym.Env, policy: LMPolicy) -> None:
    """The KL of a token is so much smaller that its error would be clipped at -0.2."""
    rollouts: list[Rollout] = []

    class Watched(REINFORCE):
        def advantages(self, rollout: Rollout) -> Advantages:
            rollouts.append(rollout)
            return super().advantages(rollout)

    target = 1.1 * float(collected(REINFORCE(policy, env, seed=0), 512).kl.sum(1).mean())
    agent = Watched(policy, env, seed=0, episodes_per_iteration=512, kl_target=target)
    agent.learn(512)
    (rollout,) = rollouts
    kl, tokens = float(rollout.kl[rollout.response_mask].sum()), int(rollout.response_mask.sum())
    assert (kl / tokens - target) / target < -0.2 < (kl / 512 - target) / target < 0.2
    assert agent.kl.coef == pytest.approx(0.1 * (1 + 0.1 * (kl / 512 - target) / target))
    assert env.unwrapped.kl_coef == agent.kl.coef


def test_a_kl_loss_is_weighed_by_the_coefficient_of_now(policy: LMPolicy) -> None:
    env = gym.make("Enumerable-v0", kl_coef=0.0)
    agent = REINFORCE(policy, env, seed=0, kl_loss_coef=0.3, kl_target=5.0, vf_coef=0.0)
    piece = whole(agent, rollout := collected(agent), nothing(rollout))
    losses, gradients = [], []
    for coef in (0.3, 0.9):
        agent.kl.load_state({"coef": coef})
        losses.append(agent.gradient(piece)["loss"])
        gradients.append(ascent(agent))
    assert losses[1] == pytest.approx(3 * losses[0])
    assert losses[0] > 0
    assert torch.allclose(gradients[1], 3 * gradients[0], atol=1e-6)


def stepped() -> Any:
    return SyncVectorEnv([lambda: gym.make("Enumerable-v0", kl_coef=0.1)] * 2)


@pytest.mark.parametrize("make", [lambda: gym.make("Enumerable-v0", kl_coef=0.1), stepped], ids=["single", "stepped"])
@pytest.mark.parametrize("target", [None, 0.01])
def test_the_coefficient_that_is_logged_is_the_one_that_was_paid(
    make: Any, target: float | None, policy: LMPolicy
) -> None:
    """Also where a callback sets it, and a controller goes on from there."""
    env, rollouts = make(), list[Rollout]()

    class Watched(REINFORCE):
        def advantages(self, rollout: Rollout) -> Advantages:
            rollouts.append(rollout)
            return super().advantages(rollout)

    def raise_it(agent: PolicyGradient, scalars: dict[str, float]) -> None:
        if scalars["iteration"] == 1:
            for world in getattr(env, "envs", [env]):
                world.unwrapped.kl_coef = 0.5

    agent = Watched(policy, env, seed=0, episodes_per_iteration=8, kl_target=target)
    agent.learn(24, callback=raise_it)
    logged = [row["objective/kl_coef"] for row in agent.history]
    assert logged[:2] == pytest.approx([0.1, 0.5])
    assert logged[2] == pytest.approx(0.5 if target is None else 0.5 * 1.02)
    for rollout, coef in zip(rollouts, logged, strict=True):
        paid = (rollout.scores - rollout.returns) / rollout.kl.sum(1)
        assert torch.allclose(paid, torch.full_like(paid, coef), rtol=1e-3)


@pytest.mark.parametrize(("precision", "lower"), [("bf16", True), ("fp32", False)])
def test_policy_and_reference_are_read_in_the_same_precision(precision: str, lower: bool) -> None:
    env = gym.make("Enumerable-v0", kl_coef=0.0)
    agent = REINFORCE(
        "default", env, precision=precision, kl_loss_coef=0.1, kl_loss_estimator="exact", episodes_per_iteration=8
    )
    seen: dict[str, set[bool]] = {"policy": set(), "reference": set()}
    for name, model in (("policy", agent.policy.language_model), ("reference", env.unwrapped.reference)):
        model.model.register_forward_pre_hook(
            lambda *_, name=name: seen[name].add(torch.is_autocast_enabled("cpu"))  # type: ignore[misc]
        )
    agent.learn(8)
    assert seen == {"policy": {lower}, "reference": {lower}}


def test_the_gradient_of_the_value_head_is_clipped_with_the_rest(env: gym.Env, policy: LMPolicy) -> None:
    agent = PPO(policy, env, seed=0, max_grad_norm=0.01, vf_coef=10.0)
    agent.gradient(whole(agent, collected(agent)))
    before = agent._step()
    assert policy.value_head is not None
    assert any(p.grad is not None and p.grad.norm() > 0 for p in policy.value_head.parameters())
    assert before > 0.01
    assert float(ascent(agent).norm()) == pytest.approx(0.01, rel=1e-4)


def test_expert_iteration_keeps_the_highest_return(env: gym.Env, policy: LMPolicy) -> None:
    """The best score is not the best return where it is paid for with KL."""
    agent = ExpertIteration(policy, env, seed=0, samples_per_prompt=2, episodes_per_iteration=4, batch_size=2)
    rollout = collect_rollout(agent.env, agent.policy, 2, 2, agent.generator)
    rollout.scores = torch.tensor([5.0, 0.0, 5.0, 0.0])
    rollout.rewards = torch.zeros_like(rollout.rewards)
    rollout.rewards[:, 0] = torch.tensor([-1.0, 2.0, 3.0, 1.0])
    kept: list[Rollout] = []

    class Done(Exception):
        pass

    def stop(chosen: Rollout) -> Any:
        kept.append(chosen)
        raise Done

    agent.advantages = stop  # type: ignore[method-assign]
    with pytest.raises(Done):
        agent.train(rollout)
    assert kept[0].returns.tolist() == [2.0, 3.0]


def test_rewards_are_divided_by_their_deviation_where_asked(env: gym.Env, policy: LMPolicy) -> None:
    plain = PPO(policy, env, gae_lambda=1.0, normalize_advantage=False)
    divided = PPO(policy, env, gae_lambda=1.0, normalize_advantage=False, normalize_reward=True)
    rollout = collected(plain)
    rollout.values = torch.zeros_like(rollout.rewards)
    real = rollout.rewards[rollout.response_mask]
    deviation = (real - real.mean()).square().mean().sqrt()
    assert torch.allclose(divided.advantages(rollout)[1], plain.advantages(rollout)[1] / deviation, rtol=1e-4)


def test_an_adapter_of_default_alpha_is_scaled_by_two(env: gym.Env) -> None:
    pytest.importorskip("peft")
    base = env.unwrapped.language_model
    for alpha, scale in ((None, 2.0), (3.0, 1.0)):
        adapted = AdaptedModel.start(base.copy(), LoRA(3, alpha))
        layers = [module for module in adapted.model.modules() if hasattr(module, "lora_A")]
        assert {factor for layer in layers for factor in layer.scaling.values()} == {scale}
