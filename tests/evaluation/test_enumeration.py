"""Expectations by listing responses, against cases worked by hand and against differentiating the objective."""

import pytest
import torch

from prefgym.agents import LMPolicy
from prefgym.envs import Enumerable
from prefgym.evaluation.checking.enumeration import Enumeration, flat, trained
from prefgym.evaluation.checking.faults import candidates


def moved(world: Enumerable) -> LMPolicy:
    policy = LMPolicy(world.language_model.copy(), decoding=world.decoding)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return policy


@pytest.mark.parametrize("model", ["llama", "tabular"])
def test_the_policy_gradient_theorem_holds(model):
    world = Enumerable(model=model, num_prompts=3, kl_coef=0.4)
    policy = moved(world)
    differentiated = flat(world.exact_gradient(policy).values(), trained(policy))
    torch.testing.assert_close(Enumeration(world, policy).exact_gradient(0.4), differentiated, atol=1e-5, rtol=1e-4)


def one_step() -> tuple[Enumerable, LMPolicy, float, float]:
    """One word or EOS, once: π says the word with p = 0.8, π_ref with q = 0.5; scores 1 (EOS) and 4."""
    world = Enumerable(
        model="tabular", num_tokens=1, max_new_tokens=1, num_prompts=1, score_table=[[1.0, 4.0]], kl_coef=0.5
    )
    policy = LMPolicy(world.language_model.copy(), value_head=False)
    for model, share in ((world.reference.model, 0.5), (policy.language_model.model, 0.8)):
        with torch.no_grad():
            model.table.weight[:, :2] = torch.tensor([share, 1 - share]).log()
    world.__dict__.pop("_reference_log_probs", None)
    return world, policy, 0.8, 0.5


def logit_gradient(policy: LMPolicy, gradient: torch.Tensor) -> list[float]:
    """The part of a flat gradient that belongs to the two logits of the only state in which a token is chosen."""
    return gradient.view(policy.language_model.model.table.weight.shape)[2, :2].tolist()


def test_expected_gradient_by_hand():
    world, policy, p, _ = one_step()
    every = Enumeration(world, policy)
    assert every.tokens[:, 0].tolist() == [1, 0]  # EOS, the word
    assert every.probabilities.tolist() == pytest.approx([1 - p, p])
    # E[w ∇ log π] in the word's logit: p w_word (1 - p) - (1 - p) w_eos p
    by_hand = p * (1 - p) * (7.0 - 3.0)
    gradient = every.expected_gradient(torch.tensor([[3.0], [7.0]]))
    assert logit_gradient(policy, gradient) == pytest.approx([by_hand, -by_hand], rel=1e-5)


def test_gradients_of_faulty_agents_by_hand():
    world, policy, p, q = one_step()
    log_ratio = torch.tensor([(1 - p) / (1 - q), p / q]).log()  # of EOS and of the word
    slope = p * (1 - p)  # of the word's probability in its logit
    difference = {"score": 4.0 - 1.0, "kl": float(log_ratio[1] - log_ratio[0])}
    r_eos, r_word = 1.0 - 0.5 * float(log_ratio[0]), 4.0 - 0.5 * float(log_ratio[1])
    expected = {
        "kl_missing": slope * difference["score"],
        "kl_twice": slope * (difference["score"] - 2 * 0.5 * difference["kl"]),
        "kl_sign": slope * (difference["score"] + 0.5 * difference["kl"]),
        "wrong_sign": -slope * (difference["score"] - 0.5 * difference["kl"]),
        # the forward KL, KL(π_ref ‖ π), has the slope p - q in the logit
        "kl_forward": slope * difference["score"] - 0.5 * (p - q),
        "old_log_probs": slope * (p / q * r_word - (1 - p) / (1 - q) * r_eos),
        "probability": slope * (p * r_word - (1 - p) * r_eos),
        "eos": slope * r_word,
    }
    found = {}
    for candidate in candidates(Enumeration(world, policy), 0.5):
        found.setdefault(candidate.fault, logit_gradient(policy, candidate.gradient)[0])  # the first: plain return
    assert {name: found[name] for name in expected} == pytest.approx(expected, rel=1e-4)
