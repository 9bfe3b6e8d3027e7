import pytest
import torch

from prefgym.models.distribution import Decoding, log_distribution
from prefgym.models.forward import response_logits, token_log_probs
from prefgym.models.padding import first_real_column, position_ids

VOCAB = 40


@pytest.fixture
def batch(prompts):
    """Prompts with responses of 1 to 4 tokens: (tokens (5, 12), mask (5, 12)), R = 4."""
    tokens, mask = prompts
    response = torch.randint(1, VOCAB, (5, 4), generator=torch.Generator().manual_seed(2))
    response_mask = torch.arange(4) < torch.tensor([4, 1, 3, 2, 4]).unsqueeze(-1)
    return torch.cat([tokens, response.masked_fill(~response_mask, 0)], 1), torch.cat([mask, response_mask], 1)


def test_position_ids_come_from_the_mask():
    mask = torch.tensor([[0, 0, 1, 1, 1, 0], [1, 1, 1, 1, 0, 0]])
    assert position_ids(mask).tolist() == [[0, 0, 0, 1, 2, 2], [0, 1, 2, 3, 3, 3]]
    assert torch.equal(position_ids(mask.bool()), position_ids(mask))
    assert first_real_column(mask) == 0
    assert first_real_column(mask[:1]) == 2


def test_log_probs_are_those_of_the_row_alone_without_padding(any_model, batch):
    tokens, mask = batch
    result = token_log_probs(any_model, tokens, mask, 4, VOCAB)
    for row in range(5):
        alone, prompt_length = tokens[row][mask[row]], int(mask[row, :8].sum())
        logits = any_model(alone.unsqueeze(0)).logits[0, prompt_length - 1 : -1, :VOCAB]
        expected = logits.log_softmax(-1).gather(-1, alone[prompt_length:].unsqueeze(-1)).squeeze(-1)
        torch.testing.assert_close(result[row][mask[row, 8:]], expected, atol=1e-4, rtol=0)


def test_padding_contributes_exactly_zero(model, batch):
    tokens, mask = batch
    tokens = tokens.clone()
    result = token_log_probs(model, tokens, mask, 4, VOCAB)
    assert (result[~mask[:, 8:]] == 0).all()
    result.sum().backward()
    gradients = [parameter.grad.clone() for parameter in model.parameters()]
    model.zero_grad()
    tokens[~mask] = VOCAB - 1  # other padding, a token that exists
    again = token_log_probs(model, tokens, mask, 4, VOCAB)
    again.sum().backward()
    assert torch.equal(result, again)
    for before, parameter in zip(gradients, model.parameters(), strict=True):
        torch.testing.assert_close(parameter.grad, before, atol=1e-6, rtol=1e-5)


def test_padding_outside_the_vocabulary_is_harmless(model, batch):
    tokens, mask = batch
    tokens = torch.where(mask, tokens, 47)  # an embedding row beyond the tokenizer
    assert token_log_probs(model, tokens, mask, 4, VOCAB).isfinite().all()


def test_extra_padding_columns_change_nothing(model, batch):
    tokens, mask = batch
    left, right = torch.zeros(5, 6, dtype=torch.long), torch.zeros(5, 3, dtype=torch.long)
    wide_tokens, wide_mask = torch.cat([left, tokens, right], 1), torch.cat([left > 0, mask, right > 0], 1)
    wide = token_log_probs(model, wide_tokens, wide_mask, 7, VOCAB)
    torch.testing.assert_close(wide[:, :4], token_log_probs(model, tokens, mask, 4, VOCAB), atol=1e-5, rtol=0)
    assert (wide[:, 4:] == 0).all()


def test_eos_in_a_prompt_is_a_token_like_any_other(model, batch):
    """Token 0 is EOS and padding; inside the mask it is read, so the row's result is that of the row alone."""
    tokens, mask = batch
    tokens = tokens.clone()
    tokens[:, 6] = 0
    assert mask[:, 6].all()
    result = token_log_probs(model, tokens, mask, 4, VOCAB)
    alone, length = tokens[2][mask[2]], int(mask[2, :8].sum())
    logits = model(alone.unsqueeze(0)).logits[0, length - 1 : -1, :VOCAB].log_softmax(-1)
    expected = logits.gather(-1, alone[length:].unsqueeze(-1)).squeeze(-1)
    torch.testing.assert_close(result[2][mask[2, 8:]], expected, atol=1e-4, rtol=0)


def test_hidden_is_the_last_hidden_state_the_head_reads(model, batch):
    tokens, mask = batch
    logits, hidden = response_logits(model, tokens, mask, 4, with_hidden=True)
    reference = model(
        tokens, attention_mask=mask.long(), position_ids=position_ids(mask), output_hidden_states=True, use_cache=False
    )
    real = mask[:, 8:]
    torch.testing.assert_close(hidden[real], reference.hidden_states[-1][:, 7:-1][real], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(model.get_output_embeddings()(hidden), logits)
    assert torch.equal(response_logits(model, tokens, mask, 4), logits)
    assert not model.get_output_embeddings()._forward_pre_hooks


def test_train_and_eval_mode_compute_the_same(any_model, batch):
    tokens, mask = batch
    in_train = token_log_probs(any_model.train(), tokens, mask, 4, VOCAB)
    assert torch.equal(token_log_probs(any_model.eval(), tokens, mask, 4, VOCAB), in_train)


def test_decoding_shapes_the_log_probs(model, batch):
    tokens, mask = batch
    decoding = Decoding(temperature=0.7, top_k=5)
    expected = log_distribution(response_logits(model, tokens, mask, 4), VOCAB, decoding)
    expected = expected.gather(-1, tokens[:, 8:].unsqueeze(-1)).squeeze(-1)
    real = mask[:, 8:]
    assert torch.equal(token_log_probs(model, tokens, mask, 4, VOCAB, decoding)[real], expected[real])


def test_gradient_checkpointing_gives_the_same_gradient(model, batch):
    tokens, mask = batch
    token_log_probs(model, tokens, mask, 4, VOCAB).sum().backward()
    expected = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
    model.zero_grad()
    model.gradient_checkpointing_enable()
    token_log_probs(model, tokens, mask, 4, VOCAB).sum().backward()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name], atol=1e-6, rtol=1e-5, msg=name)
