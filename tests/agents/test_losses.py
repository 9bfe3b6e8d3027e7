"""Losses against cases worked by hand."""

import math

import pytest
import torch

from prefgym.agents.losses import (
    approx_kl,
    clip_fraction,
    clipped_surrogate_loss,
    masked_mean,
    policy_gradient_loss,
    value_loss,
)

MASK = torch.tensor([[True, True], [True, False]])
INF = float("inf")


def test_masked_mean_divides_by_tokens_or_by_what_it_is_told() -> None:
    x = torch.tensor([[1.0, 2.0], [6.0, float("nan")]])
    assert masked_mean(x, MASK) == 3.0
    assert masked_mean(x, MASK, denominator=2) == 4.5


def test_policy_gradient_loss_and_its_gradient() -> None:
    log_probs = torch.tensor([[-1.0, -2.0], [-3.0, -INF]], requires_grad=True)
    advantages = torch.tensor([[2.0, -1.0], [4.0, 50.0]])
    loss = policy_gradient_loss(log_probs, advantages, MASK)
    assert loss.item() == pytest.approx((2 - 2 + 12) / 3)
    loss.backward()
    assert log_probs.grad is not None
    assert torch.allclose(log_probs.grad, torch.tensor([[-2.0, 1.0], [-4.0, 0.0]]) / 3)


def test_pieces_with_the_denominator_of_the_whole_add_up() -> None:
    log_probs, advantages = torch.randn(4, 3), torch.randn(4, 3)
    mask = torch.arange(3) < torch.tensor([[3], [1], [2], [3]])
    whole = policy_gradient_loss(log_probs, advantages, mask)
    pieces = sum(
        policy_gradient_loss(log_probs[rows], advantages[rows], mask[rows], denominator=9)
        for rows in (slice(0, 1), slice(1, 4))
    )
    assert torch.allclose(whole, torch.as_tensor(pieces))


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "gradient"),
    [
        (1.0, 3.0, -3.0, -3.0),  # at the start: the policy gradient
        (1.5, 2.0, -2.4, 0.0),  # already raised enough: clipped, no gradient
        (0.5, 2.0, -1.0, -1.0),  # good token lost probability: pull it back
        (0.5, -2.0, 1.6, 0.0),  # already lowered enough: clipped
        (1.5, -2.0, 3.0, 3.0),  # bad token gained probability: push it down
    ],
)
def test_clipped_surrogate_by_cases(ratio: float, advantage: float, loss: float, gradient: float) -> None:
    log_probs = torch.tensor([[math.log(ratio) - 1.0, -INF]], requires_grad=True)
    old, mask = torch.tensor([[-1.0, -INF]]), torch.tensor([[True, False]])
    value = clipped_surrogate_loss(log_probs, old, torch.tensor([[advantage, 9.0]]), mask, clip_range=0.2)
    assert value.item() == pytest.approx(loss, abs=1e-6)
    value.backward()
    assert log_probs.grad is not None
    assert log_probs.grad[0].tolist() == pytest.approx([gradient, 0.0], abs=1e-6)


def test_surrogate_without_clip_is_importance_weighting() -> None:
    log_probs, old = torch.log(torch.tensor([[0.9]])), torch.log(torch.tensor([[0.3]]))
    loss = clipped_surrogate_loss(log_probs, old, torch.tensor([[2.0]]), torch.tensor([[True]]), clip_range=None)
    assert loss.item() == pytest.approx(-6.0)


def test_value_loss_with_and_without_clip() -> None:
    values = torch.tensor([[3.0, 1.0], [0.0, 9.0]])
    returns = torch.tensor([[5.0, 1.0], [1.0, 0.0]])
    assert value_loss(values, returns, MASK).item() == pytest.approx((4 + 0 + 1) / 3)
    # V moved from 0 to 3; clipped at 1 the error is (1 - 5)^2 = 16, which is the larger one.
    clipped = value_loss(values, returns, MASK, old_values=torch.zeros(2, 2), clip_range_vf=1.0)
    assert clipped.item() == pytest.approx((16 + 0 + 1) / 3)
    with pytest.raises(ValueError, match="old_values"):
        value_loss(values, returns, MASK, clip_range_vf=1.0)


def test_approx_kl_and_clip_fraction() -> None:
    old = torch.zeros(2, 2)
    log_probs = torch.log(torch.tensor([[2.0, 1.0], [1.1, 7.0]]))
    expected = ((1 - math.log(2)) + 0 + (0.1 - math.log(1.1))) / 3
    assert approx_kl(log_probs, old, MASK).item() == pytest.approx(expected, abs=1e-6)
    assert clip_fraction(log_probs, old, MASK, clip_range=0.2).item() == pytest.approx(1 / 3)
    assert approx_kl(old, old, MASK) == 0


def test_what_is_logged_of_the_kl_holds_no_graph() -> None:
    log_probs = torch.tensor([[-1.0, -2.0], [-3.0, -4.0]], requires_grad=True)
    estimate = approx_kl(log_probs, torch.full((2, 2), -2.0), MASK)
    assert estimate > 0
    assert not estimate.requires_grad
