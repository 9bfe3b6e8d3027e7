"""A prompt that several responses share is read once, with the result and the gradients of reading it every time."""

import pytest
import torch
from transformers import GPT2Config, GPT2Model, GPTNeoXConfig, GPTNeoXModel, LlamaConfig, LlamaModel

from prefgym.models.shared_prompt import shared_prompt_hidden

SIZE = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 32}
PROMPTS = [[3, 4, 5, 6, 7], [8, 9], [4, 3, 11]]
PROMPT_OF = [1, 0, 0, 2, 0, 1]
RESPONSES = [[5, 1], [7, 8, 9, 1], [1], [3, 3, 1], [7, 1], [12, 13, 1]]


def trunk(kind):
    torch.manual_seed(0)
    return {
        "llama": lambda: LlamaModel(LlamaConfig(**SIZE, vocab_size=20, initializer_range=0.3)),
        "neox": lambda: GPTNeoXModel(GPTNeoXConfig(**SIZE, vocab_size=20, initializer_range=0.3)),
        "gpt2": lambda: GPT2Model(GPT2Config(vocab_size=20, n_embd=16, n_layer=3, n_head=2, initializer_range=0.3)),
    }[kind]().eval()


def padded(rows, side):
    width = max(map(len, rows))
    tokens, mask = torch.full((len(rows), width), 2), torch.zeros(len(rows), width, dtype=torch.long)
    for i, row in enumerate(rows):
        place = slice(width - len(row), width) if side == "left" else slice(0, len(row))
        tokens[i, place], mask[i, place] = torch.tensor(row), 1
    return tokens, mask


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("kind", ["llama", "neox", "gpt2"])
def test_hidden_states_and_gradients_equal_those_of_plain_reading(kind, side):
    model = trunk(kind)
    torch.manual_seed(1)
    weights = [torch.randn(len(response), 16) for response in RESPONSES]

    def gradient(hidden_rows):
        model.zero_grad()
        sum((hidden * weight).sum() for hidden, weight in zip(hidden_rows, weights, strict=True)).backward()
        return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])

    plain = [
        model(input_ids=torch.tensor([[*PROMPTS[group], *response]])).last_hidden_state[0, -len(response) :]
        for group, response in zip(PROMPT_OF, RESPONSES, strict=True)
    ]
    prompts, prompt_mask = padded(PROMPTS, side)
    responses, response_mask = padded(RESPONSES, "right")
    hidden = shared_prompt_hidden(model, prompts, prompt_mask, torch.tensor(PROMPT_OF), responses, response_mask)
    shared = [row[: len(response)] for row, response in zip(hidden, RESPONSES, strict=True)]
    for one, other in zip(shared, plain, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)
    expected = gradient(plain)
    assert (gradient(shared) - expected).norm() / expected.norm() < 1e-5


def test_each_prompt_is_read_once(monkeypatch):
    model = trunk("llama")
    read = []
    forward = model.forward
    monkeypatch.setattr(model, "forward", lambda **inputs: read.append(inputs["input_ids"].shape) or forward(**inputs))
    prompts, responses = padded(PROMPTS, "left"), padded(RESPONSES, "right")
    shared_prompt_hidden(model, *prompts, torch.tensor(PROMPT_OF), *responses)
    assert read == [(3, 5), (6, 4)]
