import torch

from prefgym.models.value_head import ValueHead


def test_values_start_at_zero_and_have_the_shape_of_the_states():
    hidden = torch.randn(3, 5, 8)
    values = ValueHead(8)(hidden)
    assert values.shape == (3, 5)
    assert (values == 0).all()


def test_gradients_reach_head_and_trunk_after_one_step():
    head, hidden = ValueHead(4), torch.ones(2, 4, requires_grad=True)
    optimizer = torch.optim.SGD(head.parameters(), lr=0.1)
    ((head(hidden) - 1) ** 2).sum().backward()
    optimizer.step()
    # d/dw sum (w h + b - 1)^2 = -2 * 2 for each weight and the bias: w = b = 0.4, value = 4 * 0.4 + 0.4
    torch.testing.assert_close(head(hidden), torch.full((2,), 2.0))
    head(hidden).sum().backward()
    torch.testing.assert_close(hidden.grad, torch.full((2, 4), 0.4))


def test_half_precision_states_give_fp32_values():
    assert ValueHead(4)(torch.ones(2, 4, dtype=torch.bfloat16)).dtype == torch.float32
