"""Returns and advantages against cases worked by hand."""

import pytest
import torch

from prefgym.agents.returns import explained_variance, gae, leave_one_out, returns_to_go, whiten

MASK = torch.tensor([[True, True, True], [True, True, False]])


def test_returns_to_go_by_hand_and_blind_to_padding() -> None:
    rewards = torch.tensor([[1.0, 2.0, 4.0], [-1.0, 3.0, 100.0]])
    assert returns_to_go(rewards, MASK).tolist() == [[7.0, 6.0, 4.0], [2.0, 3.0, 0.0]]


def test_gae_by_hand() -> None:
    # Row 0, lambda 1/2: deltas are 1+4-2=3, 0+8-4=4, 10-8=2; A_2=2, A_1=4+1=5, A_0=3+2.5=5.5.
    # Row 1 ends after two tokens: deltas 1+2-4=-1, 6-2=4; A_1=4, A_0=-1+2=1. Padding holds junk on purpose.
    rewards = torch.tensor([[1.0, 0.0, 10.0], [1.0, 6.0, 99.0]])
    values = torch.tensor([[2.0, 4.0, 8.0], [4.0, 2.0, 77.0]])
    advantages, returns = gae(rewards, values, MASK, gae_lambda=0.5)
    assert advantages.tolist() == [[5.5, 5.0, 2.0], [1.0, 4.0, 0.0]]
    assert returns.tolist() == [[7.5, 9.0, 10.0], [5.0, 6.0, 0.0]]


def test_gae_discounts() -> None:
    # gamma 1/2, lambda 1: A_0 = r_0 + r_1/2 - V_0 = 1 + 2 - 3 = 0.
    advantages, _ = gae(torch.tensor([[1.0, 4.0]]), torch.tensor([[3.0, 1.0]]), torch.ones(1, 2).bool(), 1.0, gamma=0.5)
    assert advantages.tolist() == [[0.0, 3.0]]


def test_gae_with_lambda_one_is_return_minus_value_and_with_zero_is_the_td_error() -> None:
    torch.manual_seed(0)
    rewards, values = torch.randn(4, 6), torch.randn(4, 6)
    mask = torch.arange(6) < torch.tensor([[6], [3], [1], [5]])
    monte_carlo, targets = gae(rewards, values, mask, 1.0)
    expected = (returns_to_go(rewards, mask) - values)[mask]
    assert torch.allclose(monte_carlo[mask], expected, atol=1e-6)
    assert torch.allclose(targets, returns_to_go(rewards, mask), atol=1e-6)
    td, _ = gae(rewards, values, mask, 0.0)
    assert td[2, 0] == rewards[2, 0] - values[2, 0]  # one token: nothing follows


def test_whitened_real_tokens_have_mean_zero_and_variance_one() -> None:
    x = torch.tensor([[1.0, 2.0, 3.0], [4.0, 10.0, 1e9]])
    whitened = whiten(x, MASK)
    assert whitened[MASK].mean().item() == pytest.approx(0.0, abs=1e-6)
    assert whitened[MASK].var(correction=0).item() == pytest.approx(1.0, abs=1e-5)
    assert whitened[1, 2] == 0
    assert whiten(torch.ones(2, 3), MASK).abs().max() == 0


def test_leave_one_out_excludes_the_sample_itself() -> None:
    returns = torch.tensor([1.0, 10.0, 3.0, 30.0, 5.0])
    groups = torch.tensor([7, 2, 7, 2, 7])
    assert leave_one_out(returns, groups).tolist() == [4.0, 30.0, 3.0, 10.0, 2.0]
    moved = leave_one_out(returns + torch.tensor([0.0, 0.0, 100.0, 0.0, 0.0]), groups)
    assert moved[2] == 3.0  # its own return may be anything
    assert moved[0] == 54.0


def test_leave_one_out_refuses_a_single_sample() -> None:
    with pytest.raises(ValueError, match="two samples"):
        leave_one_out(torch.ones(3), torch.tensor([0, 0, 1]))


def test_explained_variance() -> None:
    returns = torch.tensor([[0.0, 2.0, 4.0], [6.0, 8.0, -50.0]])
    assert explained_variance(returns, returns, MASK) == 1.0
    assert explained_variance(returns + 3, returns, MASK) == 1.0  # a constant offset is not variance
    assert explained_variance(torch.full((2, 3), 4.0), returns, MASK) == pytest.approx(0.0)
    assert explained_variance(returns, torch.ones(2, 3), MASK) == 0.0
