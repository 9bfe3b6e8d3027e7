"""KL by token or by sequence, in the reward or in the loss, at a coefficient that may move."""

import dataclasses
import math
import warnings
from typing import Any

import gymnasium as gym
import pytest
import torch

from prefgym.agents import REINFORCE, LMPolicy, collect_rollout
from prefgym.agents.losses import kl_loss
from prefgym.agents.minibatch import minibatches
from prefgym.errors import InputError


def expected_gradients(env: gym.Env, policy: LMPolicy, kl_estimator: str, level: str) -> tuple[torch.Tensor, ...]:
    """Enumerated: E_y[∇ loss] of the KL loss, ∇KL(π ‖ π_ref) and ∇KL(π_ref ‖ π), flat, all summed over tokens."""
    lab, parameters = env.unwrapped, [p for p in policy.model.parameters() if p.requires_grad]
    tokens, attention_mask = lab._batch
    budget = lab.max_new_tokens
    mask = attention_mask[:, -budget:].bool()
    log_probs = policy.evaluate_actions(tokens, attention_mask, budget).log_probs.double()
    reference = LMPolicy(lab.reference.copy(), decoding=lab.decoding, value_head=False)
    ref_log_probs = reference.evaluate_actions(tokens, attention_mask, budget).log_probs.double().detach()
    whole, ref_whole = (x.masked_fill(~mask, 0).sum(1) for x in (log_probs, ref_log_probs))
    prompts = len(lab.prompts)

    def gradient(x: torch.Tensor) -> torch.Tensor:
        got = torch.autograd.grad(x, parameters, retain_graph=True, allow_unused=True)
        return torch.cat(
            [torch.zeros(p.numel()) if g is None else g.flatten() for g, p in zip(got, parameters, strict=True)]
        )

    losses = torch.stack(
        [
            kl_loss(log_probs[i : i + 1], ref_log_probs[i : i + 1], mask[i : i + 1], kl_estimator, level, 1.0)
            for i in range(len(tokens))
        ]
    )
    expected = gradient((whole.detach().exp() * losses).sum() / prompts)
    reverse = gradient((whole.exp() * (whole - ref_whole)).sum() / prompts)
    forward = gradient((ref_whole.exp() * (ref_whole - whole)).sum() / prompts)
    return expected, reverse, forward


@pytest.mark.parametrize(
    ("kl_estimator", "level", "same_as"),
    [
        ("k1", "token", "nothing"),
        ("k1", "sequence", "nothing"),
        ("k2", "sequence", "reverse"),
        ("k3", "sequence", "forward"),
    ],
)
def test_the_gradient_of_an_estimator_as_a_loss(
    kl_estimator: str, level: str, same_as: str, env: gym.Env, policy: LMPolicy
) -> None:
    expected, reverse, forward = expected_gradients(env, policy, kl_estimator, level)
    assert torch.nn.functional.cosine_similarity(reverse, forward, 0) < 0.999
    target = {"nothing": torch.zeros_like(expected), "reverse": reverse, "forward": forward}[same_as]
    assert torch.allclose(expected, target, atol=1e-5 * float(reverse.norm()) + 1e-7)


def test_k2_by_token_leaves_out_later_tokens(env: gym.Env, policy: LMPolicy) -> None:
    expected, reverse, _ = expected_gradients(env, policy, "k2", "token")
    assert (expected - reverse).norm() > 0.01 * reverse.norm()


def test_kl_loss_by_hand() -> None:
    """Two responses, log-ratios ln 2, -ln 2 and ln 2; the padding's is not looked at."""
    log_probs = torch.tensor([[math.log(0.5), math.log(0.25)], [math.log(0.5), math.nan]])
    ref = torch.tensor([[math.log(0.25), math.log(0.5)], [math.log(0.25), math.nan]])
    mask = torch.tensor([[True, True], [True, False]])
    ln2 = math.log(2)
    for name, tokens, sequences in (
        ("k1", ln2 - ln2 + ln2, 0 + ln2),
        ("k2", 3 * ln2**2 / 2, 0 + ln2**2 / 2),
        ("k3", 2 * (0.5 - 1 + ln2) + (2 - 1 - ln2), 0 + (0.5 - 1 + ln2)),
    ):
        assert float(kl_loss(log_probs, ref, mask, name)) == pytest.approx(tokens / 3, abs=1e-6)
        assert float(kl_loss(log_probs, ref, mask, name, "sequence", 2.0)) == pytest.approx(sequences / 2, abs=1e-6)


def test_sequence_level_pays_the_same_sum_at_the_end(env: gym.Env, policy: LMPolicy) -> None:
    agent = REINFORCE(policy, env, kl_level="sequence")
    rollout = collect_rollout(agent.env, policy, 4, 2, torch.Generator().manual_seed(0))
    placed = agent.kl.place(rollout)
    assert torch.allclose(placed.returns, rollout.returns)
    last = rollout.response_mask.sum(1) - 1
    assert ((placed.rewards != 0).sum(1) <= 1).all()
    assert torch.allclose(placed.rewards.gather(1, last[:, None])[:, 0], rollout.returns)
    assert REINFORCE(policy, env).kl.place(rollout) is rollout


@pytest.mark.parametrize("kl_estimator", ["k2", "exact"])
def test_a_kl_loss_alone_pulls_the_policy_back(kl_estimator: str, policy: LMPolicy) -> None:
    """No score, no KL in the reward: only the loss is left, and the KL falls."""
    silent = gym.make("Enumerable-v0", kl_coef=0.0, score_table=torch.zeros(2, 40).tolist())
    before = silent.unwrapped.kl(policy)
    options: dict[str, Any] = {"episodes_per_iteration": 64, "learning_rate": 0.01, "loss_reduction": "episode_sum"}
    agent = REINFORCE(policy, silent, kl_loss_coef=1.0, kl_loss_estimator=kl_estimator, **options).learn(640)
    assert silent.unwrapped.kl(policy) < 0.5 * before
    assert "train/kl_loss" in agent.history[-1]


def test_exact_loss_is_the_sum_over_the_vocabulary(env: gym.Env, policy: LMPolicy) -> None:
    agent = REINFORCE(policy, env, kl_loss_coef=1.0, kl_loss_estimator="exact", loss_reduction="episode_sum")
    rollout = collect_rollout(agent.env, policy, 2, 2, torch.Generator().manual_seed(0))
    ((piece,),) = minibatches(rollout, *agent.advantages(rollout), None, 1, agent.rng)
    piece.evaluate(policy, False, "episode_sum", with_log_dist=True)
    by_hand = 0.0
    observation = {"tokens": piece.tokens.numpy(), "attention_mask": piece.attention_mask.long().numpy()}
    reference = LMPolicy(env.unwrapped.reference.copy(), decoding=env.unwrapped.decoding, value_head=False)
    start = piece.tokens.shape[1] - piece.mask.shape[1]
    for row, column in piece.mask.nonzero().tolist():
        seen = {name: value[row].copy() for name, value in observation.items()}
        seen["attention_mask"][start + column :] = 0
        own, ref = (torch.from_numpy(p.log_probs(seen)).double() for p in (policy, reference))
        by_hand += float((own.exp() * (own - ref)).sum())
    assert float(agent.kl.loss(piece, policy).detach()) == pytest.approx(by_hand / 4, rel=1e-4)


@pytest.mark.parametrize(
    "make", [lambda: gym.make("Enumerable-v0"), lambda: gym.make_vec("Enumerable-v0", 2, vectorization_mode="sync")]
)
def test_the_coefficient_follows_the_target(make: Any) -> None:
    """The start policy has no KL, so β falls by the clipped error: a fiftieth of itself after each iteration."""
    env = make()
    agent = REINFORCE("default", env, kl_target=5.0, episodes_per_iteration=8, learning_rate=1e-9).learn(16)
    assert agent.kl.coef == pytest.approx(0.5 * 0.98**2)
    assert agent.history[-1]["objective/kl_coef"] == pytest.approx(0.5 * 0.98)
    held = env.unwrapped.kl_coef if hasattr(env.unwrapped, "kl_coef") else env.get_attr("kl_coef")[1]
    assert held == pytest.approx(agent.kl.coef)


def test_the_loss_coefficient_moves_where_the_kl_is_in_the_loss() -> None:
    env = gym.make("Enumerable-v0", kl_coef=0.0)
    agent = REINFORCE(
        "default", env, kl_target=5.0, kl_loss_coef=0.2, episodes_per_iteration=8, learning_rate=1e-9
    ).learn(8)
    assert agent.kl.coef == pytest.approx(0.2 * 0.98)
    assert env.unwrapped.kl_coef == 0.0


def test_a_resumed_run_goes_on_with_its_coefficient(tmp_path: Any) -> None:
    options: dict[str, Any] = {"kl_target": 5.0, "episodes_per_iteration": 8}
    whole = REINFORCE("default", gym.make("Enumerable-v0"), **options).learn(32)
    agent = REINFORCE("default", gym.make("Enumerable-v0"), **options)
    agent.learn(32, output=tmp_path, save_every=1, callback=lambda agent, _: agent.iteration < 2)
    env = gym.make("Enumerable-v0")
    resumed = REINFORCE.resume(tmp_path, env)
    assert env.unwrapped.kl_coef == resumed.kl.coef < 0.5
    resumed.learn(32)
    assert resumed.kl.coef == whole.kl.coef
    assert [row["objective/kl"] for row in resumed.history] == [row["objective/kl"] for row in whole.history]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kl_level": "sentence"}, 'kl_level "sentence" is not one of token, sequence'),
        ({"kl_loss_estimator": "k4"}, 'kl_loss_estimator "k4" is not one of k1, k2, k3, exact'),
        ({"kl_loss_coef": -0.1}, "kl_loss_coef must be a number of at least 0"),
        ({"kl_target": 0}, "kl_target must be a number above 0"),
        ({"kl_loss_coef": 1.0, "kl_loss_estimator": "exact", "kl_level": "sequence"}, 'use it with kl_level "token"'),
    ],
)
def test_bad_options(options: dict[str, Any], message: str, env: gym.Env) -> None:
    with pytest.raises(InputError, match=message):
        REINFORCE("default", env, **options)


def test_place_keeps_everything_else(env: gym.Env, policy: LMPolicy) -> None:
    agent = REINFORCE(policy, env, kl_level="sequence")
    rollout = collect_rollout(agent.env, policy, 2, 2, torch.Generator().manual_seed(0))
    placed = agent.kl.place(rollout)
    for field in dataclasses.fields(rollout):
        if field.name != "rewards":
            assert getattr(placed, field.name) is getattr(rollout, field.name)


def test_paying_twice_is_told(policy: LMPolicy) -> None:
    def made(estimator: str, kl_coef: float, **options: Any) -> list[str]:
        env = gym.make("Enumerable-v0", kl_coef=kl_coef, kl_estimator=estimator)
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            REINFORCE(policy, env, **options)
        return [str(warning.message) for warning in told if "KL counts twice" in str(warning.message)]

    exact = {"kl_loss_coef": 0.1, "kl_loss_estimator": "exact"}
    assert len(made("k1", 0.1, kl_loss_coef=0.1)) == len(made("k1", 0.1, **exact)) == 1
    assert len(made("exact", 0.1, kl_loss_coef=0.1)) == 1
    assert not made("exact", 0.1, **exact)
    assert not made("k1", 0.0, **exact)
    assert not made("k1", 0.1)


def test_a_rollout_was_paid_with_the_coefficients_of_its_episodes(env: gym.Env, policy: LMPolicy) -> None:
    agent = REINFORCE(policy, env, seed=0)
    rollout = collect_rollout(env, policy, 2, 1, agent.generator)
    mixed = dataclasses.replace(rollout, kl_coef=torch.tensor([0.1, 0.3]))
    agent.kl.coef = 0.7  # moved since
    assert agent.kl.paid(mixed) == pytest.approx(0.2)
    assert agent.kl.paid(dataclasses.replace(rollout, kl_coef=None)) == pytest.approx(0.7)
