"""Best-of-n in closed form, against all draws of n responses, against sampling, and against its bound."""

import itertools
import math

import gymnasium as gym
import pytest
import torch

import prefgym  # noqa: F401  (registers the environments)
from prefgym.evaluation.policies.best_of_n import best_of_n_kl, best_of_n_weights
from prefgym.evaluation.policies.candidates import as_scorer
from prefgym.evaluation.policies.decode import best_of_n
from prefgym.evaluation.policies.responses import DecodeSettings


@pytest.fixture
def world():
    """Seven responses to one prompt; two of them tie."""
    made = gym.make("Enumerable-v0", num_tokens=2, max_new_tokens=2, num_prompts=1).unwrapped
    table = made.scores().clone()
    table[0, 3] = table[0, 5]
    return gym.make("Enumerable-v0", num_tokens=2, max_new_tokens=2, num_prompts=1, score_table=table.numpy()).unwrapped


def kl(probabilities, weights):
    return float((probabilities * weights * weights.log()).sum())


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_it_is_the_sum_over_all_draws(world, n):
    pi, scores = world.reference_log_probs()[0].exp(), world.scores()[0].tolist()
    expected = torch.zeros_like(pi)
    for drawn in itertools.product(range(7), repeat=n):
        best = max(drawn, key=lambda response: scores[response])  # the first of equals
        expected[best] += math.prod(pi[response].item() for response in drawn)
    weights = best_of_n_weights(pi, torch.tensor(scores, dtype=torch.float64), n)
    torch.testing.assert_close(pi * weights, expected)
    assert expected.sum() == pytest.approx(1)
    if n == 1:
        assert kl(pi, weights) == pytest.approx(0, abs=1e-12)
    else:
        assert 0 < kl(pi, weights) < best_of_n_kl(n) - 0.01, "a bound only: a response may be drawn twice"


def test_rows_are_prompts_of_their_own():
    pi = torch.tensor([[0.5, 0.25, 0.25], [0.2, 0.3, 0.5]])
    scores = torch.tensor([[1.0, 2.0, 2.0], [3.0, 1.0, 2.0]])
    # Two draws. First row: the worst only twice, the others share the rest. Second: 1 - 0.8², 0.3², 0.8² - 0.3².
    expected = torch.tensor([[0.25, 0.375, 0.375], [0.36, 0.09, 0.55]])
    torch.testing.assert_close(pi * best_of_n_weights(pi, scores, 2), expected)


def test_the_bound_is_reached_where_no_response_is_likely():
    pi = torch.full((20_000,), 1 / 20_000, dtype=torch.float64)
    scores = torch.randn(20_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for n in (2, 4, 16):
        found = kl(pi, best_of_n_weights(pi, scores, n))
        assert best_of_n_kl(n) - 2e-3 < found < best_of_n_kl(n)


def test_what_is_sampled_is_distributed_so(world):
    n, count = 3, 3000
    rows = [dict(world.prompts[0])] * count
    settings = DecodeSettings(world.template, world.max_prompt_tokens, world.max_new_tokens, batch_size=1024)
    written = best_of_n(world.language_model, rows, as_scorer("table", world.reward), n, settings, seed=1)
    names = world.responses().texts
    found = torch.bincount(torch.tensor([names.index(text) for text in written.texts]), minlength=7) / count
    pi = world.reference_log_probs()[0].exp()
    expected = pi * best_of_n_weights(pi, world.scores()[0], n)
    assert ((found - expected).abs() < 4 * (expected * (1 - expected) / count).sqrt()).all()
    assert (expected - pi).abs().max() > 0.1


def test_the_bound_by_hand():
    assert best_of_n_kl(1) == 0
    assert best_of_n_kl(2) == pytest.approx(0.1931, abs=1e-4)  # log 2 - 1/2
    assert best_of_n_kl(4) == pytest.approx(0.6363, abs=1e-4)  # log 4 - 3/4
