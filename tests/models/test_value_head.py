from types import SimpleNamespace

import torch
from transformers import OPTConfig, OPTForCausalLM

from prefgym.models.value_head import ValueHead, value_model


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


def test_a_value_model_reads_what_the_head_it_replaces_read():
    """This one's head reads 8 numbers, projected from the 16 of its states."""
    config = OPTConfig(
        vocab_size=12, hidden_size=16, word_embed_proj_dim=8, ffn_dim=16, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=16, bos_token_id=0, eos_token_id=0, pad_token_id=1,
    )  # fmt: skip
    values = value_model(SimpleNamespace(copy=lambda: SimpleNamespace(model=OPTForCausalLM(config))))
    logits = values(torch.tensor([[3, 4, 5]])).logits
    assert logits.shape == (1, 3, 1)
    assert (logits == 0).all()
