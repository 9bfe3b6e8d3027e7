"""A prompt that several responses share is read once, with the result and the gradients of reading it every time."""

import pytest
import torch

from prefgym.models.forward import first_rows, response_logits, token_log_probs

VOCAB = 40
PROMPT_OF = torch.tensor([3, 0, 1, 0, 4, 2, 3, 3, 1])
LENGTHS = torch.tensor([4, 1, 3, 2, 4, 1, 3, 4, 2])


@pytest.fixture
def batch(prompts):
    """Nine responses of 1 to 4 tokens to five prompts of different lengths: (tokens (9, 12), mask (9, 12))."""
    tokens, mask = prompts
    response = torch.randint(1, VOCAB, (9, 4), generator=torch.Generator().manual_seed(2))
    real = torch.arange(4) < LENGTHS[:, None]
    return torch.cat([tokens[PROMPT_OF], response.masked_fill(~real, 0)], 1), torch.cat([mask[PROMPT_OF], real], 1)


def gradient(model, value):
    model.zero_grad()
    value.backward()
    return torch.cat([parameter.grad.flatten() for parameter in model.parameters()])


def test_logits_hidden_states_and_gradients_equal_those_of_plain_reading(any_model, batch):
    tokens, mask = batch
    real = mask[:, -4:]
    results, gradients = [], []
    for prompt_of in (None, PROMPT_OF):
        logits, hidden = response_logits(any_model, tokens, mask, 4, with_hidden=True, prompt_of=prompt_of)
        results.append((logits[real], hidden[real]))
        log_probs = token_log_probs(any_model, tokens, mask, 4, VOCAB, prompt_of=prompt_of)
        weights = torch.linspace(-1, 2, log_probs.numel()).view_as(log_probs)
        gradients.append(gradient(any_model, (weights * log_probs).sum() + (hidden[real] ** 2).sum()))
    for plain, shared in zip(*results, strict=True):
        torch.testing.assert_close(shared, plain, atol=2e-5, rtol=1e-5)
    assert (gradients[1] - gradients[0]).norm() / gradients[0].norm() < 1e-5


def test_each_prompt_is_read_once(model, batch, monkeypatch):
    tokens, mask = batch
    shapes = []
    model.register_forward_pre_hook(lambda *given: shapes.append(given[2]["input_ids"].shape), with_kwargs=True)
    response_logits(model, tokens, mask, 4, prompt_of=PROMPT_OF)
    assert [shape[0] for shape in shapes] == [5, 9]
    assert shapes[1][1] == 3  # the last response token predicts nothing
    shapes.clear()
    response_logits(model, tokens[:2], mask[:2], 4, prompt_of=torch.tensor([1, 0]))  # nothing to share
    assert [shape[0] for shape in shapes] == [2]


def test_a_model_that_checkpoints_reads_plainly_with_the_same_result(make_model, batch):
    tokens, mask = batch
    model = make_model("llama")
    expected = token_log_probs(model, tokens, mask, 4, VOCAB)
    for module in model.modules():
        if hasattr(module, "gradient_checkpointing"):
            module.gradient_checkpointing = True
    reads = []
    model.register_forward_pre_hook(lambda *given: reads.append(given[2]["use_cache"]), with_kwargs=True)
    model.eval()
    torch.testing.assert_close(token_log_probs(model, tokens, mask, 4, VOCAB, prompt_of=PROMPT_OF), expected)
    assert reads == [False]


def test_first_rows():
    assert first_rows(torch.tensor([1, 0, 0, 1, 2])).tolist() == [1, 0, 4]
