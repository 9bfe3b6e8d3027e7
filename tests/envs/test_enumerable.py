import math
import warnings
from types import SimpleNamespace

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env as gymnasium_check
from stable_baselines3.common.env_checker import check_env as sb3_check
from torch import nn

import prefgym  # noqa: F401  (registers the ids)
from prefgym.envs import Enumerable, EnumerableVector, PolicyKL
from prefgym.envs.tiny_world import list_responses, tiny_language_model
from prefgym.errors import InputError


class PositionPolicy(nn.Module):
    """A table of logits per position, in double precision: small enough to differentiate by finite differences."""

    def __init__(self, budget: int, vocab_size: int, seed: int = 0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.logits = nn.Parameter(torch.randn(budget, vocab_size, generator=generator, dtype=torch.float64))
        self.unused = nn.Parameter(torch.zeros(2))

    def evaluate_actions(self, tokens, attention_mask, num_response):
        response = tokens[:, -num_response:]
        table = torch.log_softmax(self.logits, -1).expand(len(tokens), -1, -1)
        return SimpleNamespace(log_probs=table.gather(-1, response.unsqueeze(-1)).squeeze(-1))

    def log_prob(self, observation, action):
        position = int(observation["attention_mask"][-len(self.logits) :].sum())
        return torch.log_softmax(self.logits, -1)[position, action]


def test_both_checkers_find_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gymnasium_check(gym.make("Enumerable-v0").unwrapped)
        sb3_check(gym.make("Enumerable-v0").unwrapped)


@pytest.mark.parametrize(("num_tokens", "budget", "count"), [(3, 3, 40), (1, 4, 5), (2, 2, 7), (30, 2, 931)])
def test_every_response_once(num_tokens, budget, count):
    responses = Enumerable(num_tokens=num_tokens, max_new_tokens=budget).responses()
    assert len(responses.texts) == len(set(responses.texts)) == count
    kept = {tuple(row[mask].tolist()) for row, mask in zip(responses.tokens, responses.mask, strict=True)}
    assert kept == set(list_responses(num_tokens, budget))
    for response in kept:
        assert num_tokens not in response[:-1], "nothing follows EOS"
        assert response[-1] == num_tokens or len(response) == budget


def test_the_embedding_has_padded_rows():
    env = Enumerable()
    assert env.language_model.model.get_input_embeddings().weight.shape[0] == env.action_space.n + 3
    assert env.pad_token_id == env.eos_token_id == env.action_space.n - 1


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_probabilities_sum_to_one(temperature):
    env = Enumerable(num_prompts=3, temperature=temperature)
    other = tiny_language_model(3, context=16, seed=5)
    ones = torch.ones(3, dtype=torch.float64)
    torch.testing.assert_close(env.reference_log_probs().exp().sum(-1), ones, atol=1e-6, rtol=0)
    torch.testing.assert_close(env.log_probs(other).exp().sum(-1), ones, atol=1e-6, rtol=0)
    torch.testing.assert_close(env.optimal_policy().sum(-1), ones)


@pytest.mark.parametrize("estimator", ["k1", "k3", "exact"])
def test_stepping_through_every_response_gives_the_objective(estimator):
    """J(π) = Σ_x Σ_y π(y | x) Σ_t r_t / X, with r from ``step`` and ``PolicyKL``: no shared code with the sum."""
    budget = 2
    env = Enumerable(max_new_tokens=budget, missing_eos_penalty=0.25, kl_estimator=estimator)
    policy = PositionPolicy(budget, 4, seed=2)
    policy.log_probs = lambda observation: torch.log_softmax(policy.logits, -1)[
        int(observation["attention_mask"][-budget:].sum())
    ]
    wrapped = PolicyKL(env, policy)
    expected = 0.0
    for index in range(2):
        for response in list_responses(3, budget):
            wrapped.reset(options={"index": index})
            log_prob, paid = 0.0, 0.0
            for token in response:
                *_, reward, terminated, _, info = wrapped.step(token)
                log_prob, paid = log_prob + info["log_prob"], paid + reward
            assert terminated
            expected += math.exp(log_prob) * paid / 2
    assert float(env.objective(policy).detach()) == pytest.approx(expected, abs=1e-5)


def test_scores_are_the_table_minus_the_penalty():
    table = np.arange(2 * 7).reshape(2, 7)
    env = Enumerable(num_tokens=2, max_new_tokens=2, score_table=table, missing_eos_penalty=0.5)
    by_length = np.array([0, 0, 0, 1, 1, 1, 1])
    np.testing.assert_allclose(env.scores().numpy(), table - 0.5 * by_length)
    env.reset(options={"index": 1})
    env.step(1)
    assert env.step(2)[-1]["score"] == table[1, 2]
    default = Enumerable(num_tokens=2, max_new_tokens=2)
    assert default.missing_eos_penalty == 0
    assert (default.scores() == Enumerable(num_tokens=2, max_new_tokens=2).scores()).all()
    assert (default.scores() != Enumerable(num_tokens=2, max_new_tokens=2, seed=1).scores()).all()


def test_the_optimum_beats_every_perturbation():
    env = Enumerable(kl_coef=0.4)
    scores, log_ref = env.scores(), env.reference_log_probs()

    def value(distribution):
        return float((distribution * (scores - 0.4 * (distribution.log() - log_ref))).sum(-1).mean())

    best = value(env.optimal_policy())
    assert best == pytest.approx(env.optimal_objective(), abs=1e-9)
    generator = torch.Generator().manual_seed(0)
    for size in (1.0, 0.1, 0.01):
        for _ in range(20):
            noise = torch.randn(scores.shape, generator=generator, dtype=torch.float64)
            assert value(torch.softmax(env.optimal_log_probs() + size * noise, -1)) < best


def test_regret_is_beta_times_kl_to_the_optimum():
    env = Enumerable(kl_coef=0.4)
    policy = PositionPolicy(3, 4)
    regret = env.optimal_objective() - float(env.objective(policy).detach())
    assert regret == pytest.approx(0.4 * env.kl_to_optimum(policy), abs=1e-9)
    assert env.kl(env.reference) == pytest.approx(0, abs=1e-9)
    assert env.kl(policy) > 0


def test_without_kl_the_best_response_is_optimal():
    env = Enumerable(kl_coef=0.0)
    assert env.optimal_objective() == pytest.approx(float(env.scores().max(-1).values.mean()))
    assert (env.optimal_policy().argmax(-1) == env.scores().argmax(-1)).all()
    assert env.optimal_policy().max() == 1
    assert env.kl_to_optimum(PositionPolicy(3, 4)) == math.inf


def test_gradient_against_finite_differences():
    env = Enumerable(num_prompts=3)
    policy = PositionPolicy(3, 4, seed=1)
    gradient = env.exact_gradient(policy)
    assert (gradient["unused"] == 0).all()
    step = 1e-5
    for position in range(3):
        for token in range(4):
            values = []
            for sign in (1, -1):
                with torch.no_grad():
                    policy.logits[position, token] += sign * step
                    values.append(float(env.objective(policy)))
                    policy.logits[position, token] -= sign * step
            slope = (values[0] - values[1]) / (2 * step)
            assert float(gradient["logits"][position, token]) == pytest.approx(slope, abs=1e-7)


def test_gradient_of_a_language_model_against_a_directional_difference():
    env = Enumerable()
    policy = tiny_language_model(3, context=5, seed=4)
    gradient = env.exact_gradient(policy)
    norm = math.sqrt(sum(float((g**2).sum()) for g in gradient.values()))
    values = []
    for sign in (1, -1):
        moved = policy.copy()
        with torch.no_grad():
            for name, parameter in moved.model.named_parameters():
                parameter.add_(sign * 2e-3 / norm * gradient[name])
            values.append(float(env.objective(moved)))
    assert (values[0] - values[1]) / 4e-3 == pytest.approx(norm, rel=1e-2)


def test_pieces_add_up_to_the_whole(monkeypatch):
    env = Enumerable(num_prompts=3)
    policy = tiny_language_model(3, context=6, seed=4)
    whole = env.log_probs(policy), env.exact_gradient(policy)
    monkeypatch.setattr("prefgym.envs.enumerable.ROWS_AT_ONCE", 7)
    # the model computes in float32, and how a batch is cut changes the order of its sums
    torch.testing.assert_close(env.log_probs(policy), whole[0], atol=1e-5, rtol=1.3e-6)
    torch.testing.assert_close(env.exact_gradient(policy), whole[1], atol=1e-6, rtol=1e-4)


def test_a_hundred_thousand_responses():
    env = Enumerable(num_tokens=6, max_new_tokens=6, model="tabular")
    assert env.scores().numel() == 2 * 55_987
    assert float(env.optimal_policy().sum(-1).mean()) == pytest.approx(1)
    gap = env.optimal_objective() - float(env.objective(env.reference).detach())
    assert gap == pytest.approx(env.kl_coef * env.kl_to_optimum(env.reference), abs=1e-6)


def test_gradient_worked_by_hand():
    """One word, one step: p = σ(z), J = p s_a + (1 - p) s_eos - β KL, and at π = π_ref the KL is flat."""
    env = Enumerable(num_tokens=1, max_new_tokens=1, num_prompts=1, score_table=[[2.0, 5.0]])
    log_ref = env.reference_log_probs()[0]  # order: EOS, the word
    policy = PositionPolicy(1, 2)
    with torch.no_grad():
        policy.logits[0, 0], policy.logits[0, 1] = log_ref[1], log_ref[0]  # token 0 is the word, token 1 is EOS
    p = float(log_ref[1].exp())
    expected = p * (1 - p) * (5.0 - 2.0)
    gradient = env.exact_gradient(policy)["logits"][0]
    assert gradient.tolist() == pytest.approx([expected, -expected], abs=1e-6)


def test_vector_form_has_the_same_quantities():
    single, vector = Enumerable(seed=2), EnumerableVector(3, seed=2, autoreset_mode="SameStep")
    assert vector.optimal_objective() == single.optimal_objective()
    observations, _ = vector.reset(seed=0)
    assert observations["tokens"].shape == (3, 5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_tokens": 0}, "num_tokens must be an integer of at least 1"),
        ({"num_tokens": 20, "max_new_tokens": 10}, "more than 200000 to list"),
        ({"score_table": [[1.0]]}, r"shape \(1, 1\), not \(2, 40\)"),
        ({"kl_coff": 1}, 'Did you mean "kl_coef"'),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(InputError, match=message):
        Enumerable(**options)


def test_a_prompt_by_hand_has_no_scores():
    with pytest.raises(InputError, match="table_row"):
        Enumerable().reset(options={"prompt": "a a"})
