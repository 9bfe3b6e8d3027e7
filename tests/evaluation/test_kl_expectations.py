"""KL estimators against a case worked by hand, and the traps that listing confirms."""

import math
import sys
from pathlib import Path

import pytest
import torch

from prefgym.agents import LMPolicy
from prefgym.envs import Enumerable
from prefgym.evaluation.checking.check_agent import make_world, move
from prefgym.evaluation.checking.enumeration import flat, trained

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))  # benchmarks are no package of ours
from kl_expectations import KLExpectations

sys.path.pop(0)

P, M, Q = 0.8, 0.6, 0.5  # probability of the word under π, μ and π_ref; EOS otherwise


def policy_saying(world: Enumerable, share: float) -> LMPolicy:
    policy = LMPolicy(world.language_model.copy(), value_head=False)
    with torch.no_grad():
        policy.language_model.model.table.weight[:, :2] = torch.tensor([share, 1 - share]).log()
    return policy


@pytest.fixture(scope="module")
def by_hand() -> tuple[KLExpectations, KLExpectations]:
    """One word or EOS, once: on-policy, and with μ for a sampler."""
    options = {"num_tokens": 1, "max_new_tokens": 1, "num_prompts": 1}
    reference = policy_saying(Enumerable(model="tabular", **options), Q).language_model
    world = Enumerable(model=reference, **options)
    policy, sampler = policy_saying(world, P), policy_saying(world, M)
    return KLExpectations(world, policy), KLExpectations(world, policy, sampler)


WORD, EOS = math.log(P / Q), math.log((1 - P) / (1 - Q))  # the log-ratios
SLOPE = P * (1 - P)  # of P in the word's logit


def k2(log_ratio: float) -> float:
    return log_ratio**2 / 2


def k3(log_ratio: float) -> float:
    return math.exp(-log_ratio) - 1 + log_ratio


def test_values_by_hand(by_hand):
    on, off = by_hand
    exact = P * WORD + (1 - P) * EOS
    assert on.value == pytest.approx(exact, rel=1e-6)
    for name, k in (("k1", lambda x: x), ("k2", k2), ("k3", k3)):
        for level in ("token", "response"):  # one token: the same
            mean = P * k(WORD) + (1 - P) * k(EOS)
            found = on.estimate(name, level)
            assert float(found.mean) == pytest.approx(mean, rel=1e-6)
            assert found.std == pytest.approx(math.sqrt(SLOPE) * abs(k(WORD) - k(EOS)), rel=1e-5)
            assert float(off.estimate(name, level).mean) == pytest.approx(M * k(WORD) + (1 - M) * k(EOS), rel=1e-6)
            weighted = off.estimate(name, level, weights="response")
            assert float(weighted.mean) == pytest.approx(mean, rel=1e-6)
    assert float(on.estimate("exact", "token").mean) == pytest.approx(exact, rel=1e-6)
    assert on.estimate("exact", "token").std == pytest.approx(0, abs=1e-9)


def test_gradients_by_hand(by_hand):
    on, off = by_hand

    def slope(gradient: torch.Tensor) -> float:
        """In the word's logit, in the only state where a token is chosen."""
        return float(gradient.view(on.policy.language_model.model.table.weight.shape)[2, 0])

    exact = SLOPE * (WORD - EOS)
    assert slope(on.gradient) == pytest.approx(exact, rel=1e-5)
    reward = {"k1": exact, "k2": SLOPE * (k2(WORD) - k2(EOS)), "k3": SLOPE * (k3(WORD) - k3(EOS)), "exact": 0.0}
    loss = {"k1": 0.0, "k2": exact, "k3": P - Q, "exact": exact}
    for name in reward:
        assert slope(on.in_reward(name, "token").mean) == pytest.approx(reward[name], rel=1e-5, abs=1e-6)
        assert slope(on.as_loss(name, "token").mean) == pytest.approx(loss[name], rel=1e-5, abs=1e-6)
    # g is +-1 times: WORD (1 - P) with probability P, -EOS P with 1 - P
    spread = math.sqrt(SLOPE) * abs(WORD * (1 - P) + EOS * P)
    assert on.as_loss("k2", "token").std == pytest.approx(math.sqrt(2) * spread, rel=1e-5)  # two logits
    # off-policy as a loss, k1: M (1 - P) - (1 - M) P
    assert slope(off.as_loss("k1", "token").mean) == pytest.approx(M - P, rel=1e-5)
    assert slope(off.as_loss("k1", "token", "token").mean) == pytest.approx(0, abs=1e-6)
    assert slope(off.as_loss("k3", "token", "token", through_weights=True).mean) == pytest.approx(exact, rel=1e-5)


@pytest.fixture(scope="module")
def both() -> tuple[KLExpectations, KLExpectations]:
    """Three steps: π and, off-policy, a μ before it."""
    world = make_world(0.5)
    policies = [LMPolicy(world.language_model.copy(), value_head=False) for _ in range(2)]
    move(policies[0])
    policies[1].load_state_dict(policies[0].state_dict())
    move(policies[1], 0.2, seed=5)
    return KLExpectations(world, policies[0]), KLExpectations(world, policies[0], policies[1])


def test_the_exact_value_and_gradient_are_those_of_the_environment(both):
    on, off = both
    world, policy = on.every.world, on.policy
    assert on.value == off.value == pytest.approx(world.kl(policy), rel=1e-5)
    log_probs = world.log_probs(policy)
    total = (log_probs.exp() * (log_probs - world.reference_log_probs())).sum(-1).mean()
    differentiated = flat(torch.autograd.grad(total, trained(policy)), trained(policy))
    torch.testing.assert_close(on.gradient.float(), differentiated, atol=1e-6, rtol=1e-4)


LOCAL, FORWARD = "reverse KL of each state, no credit for later ones", "forward KL"


@pytest.mark.parametrize(
    ("use", "estimator", "level", "name"),
    [
        ("in_reward", "k1", "token", "exact"),
        ("in_reward", "k1", "response", "exact"),
        ("in_reward", "k2", "token", ""),
        ("in_reward", "k3", "token", ""),
        ("in_reward", "exact", "token", "credit for later states only"),
        ("as_loss", "k1", "token", "zero"),
        ("as_loss", "k1", "response", "zero"),
        ("as_loss", "k2", "token", LOCAL),
        ("as_loss", "k2", "response", "exact"),
        ("as_loss", "k3", "token", "forward KL of each state, no credit for later ones"),
        ("as_loss", "k3", "response", FORWARD),
        ("as_loss", "exact", "token", LOCAL),
        ("in_both", "exact", "token", "exact"),
    ],
)
def test_what_the_expected_gradients_are_on_policy(both, use, estimator, level, name):
    on, _ = both
    assert on.name_of(getattr(on, use)(estimator, level).mean) == name


def test_weights_that_carry_gradient_make_unbiased_estimators_exact_losses(both):
    for data in both:
        for estimator in ("k1", "k3"):
            for level in ("token", "response"):
                assert data.name_of(data.as_loss(estimator, level, "response", True).mean) == "exact"
        assert data.name_of(data.as_loss("exact", "token", "response", True).mean) == "exact"


def test_weights_of_whole_responses_correct_what_is_off_policy(both):
    on, off = both
    for estimator, level in (("k1", "token"), ("k2", "response"), ("k3", "token"), ("exact", "token")):
        torch.testing.assert_close(
            off.estimate(estimator, level, "response").mean, on.estimate(estimator, level).mean, atol=1e-6, rtol=1e-5
        )
        for use in ("in_reward", "as_loss"):
            corrected = getattr(off, use)(estimator, level, "response").mean
            torch.testing.assert_close(corrected, getattr(on, use)(estimator, level).mean, atol=1e-6, rtol=1e-4)
        assert abs(float(off.estimate(estimator, level).mean - on.estimate(estimator, level).mean)) > 1e-4
