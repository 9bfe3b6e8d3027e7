"""A prompt that several responses share is read once, with the result and the gradients of reading it every time."""

import pytest
import torch

from prefgym.errors import InputError
from prefgym.models.forward import response_logits, token_log_probs
from prefgym.models.shared_prompt import first_rows, recomputing

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


def rows_of(batch, prompt_of):
    """The rows of the batch that these prompts are of; their responses differ."""
    rows = torch.stack([(prompt == PROMPT_OF).nonzero()[0, 0] for prompt in prompt_of])
    tokens, mask = batch[0][rows].clone(), batch[1][rows]
    tokens[:, -4:] = torch.randint(1, VOCAB, (len(rows), 4), generator=torch.Generator().manual_seed(3))
    return tokens, mask


@pytest.mark.parametrize("prompt_of", [PROMPT_OF, torch.arange(5).repeat_interleave(2), torch.arange(5).repeat(2)])
def test_logits_hidden_states_and_gradients_equal_those_of_plain_reading(any_model, batch, prompt_of):
    tokens, mask = batch if prompt_of is PROMPT_OF else rows_of(batch, prompt_of)
    real = mask[:, -4:]
    results, gradients = [], []
    shared = prompt_of
    for prompt_of in (None, shared):
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


@pytest.mark.parametrize("prompt_of", [None, PROMPT_OF])
def test_recomputed_layers_keep_their_inputs_alone_and_give_the_same_gradient(any_model, batch, prompt_of):
    tokens, mask = batch

    def run(wanted):
        reads, kept = [], []
        attention = [
            part for name, part in any_model.named_modules() if name.endswith(("self_attn", "attn", "attention"))
        ]
        hooks = [part.register_forward_hook(lambda *given: reads.append(1)) for part in attention]
        any_model.zero_grad()
        with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x.numel()) or x, lambda x: x):
            with recomputing(any_model, wanted):
                log_probs = token_log_probs(any_model, tokens, mask, 4, VOCAB, prompt_of=prompt_of)
            forward = len(reads)
            log_probs.square().sum().backward()
        for hook in hooks:
            hook.remove()
        gradient = torch.cat([parameter.grad.flatten() for parameter in any_model.parameters()])
        return len(attention), forward, len(reads) - forward, sum(kept), gradient

    layers, forward, backward, kept, expected = run(wanted=False)
    assert (forward, backward) == (layers if prompt_of is None else 2 * layers, 0)
    _, forward_again, recomputed, kept_less, gradient = run(wanted=True)
    assert forward_again == recomputed == forward  # each layer once more, for prompts and for responses
    assert kept_less < kept
    assert (gradient - expected).norm() / expected.norm() < 1e-6
    assert not any("forward" in vars(part) for part in any_model.modules())


def test_what_cannot_be_recomputed_is_said():
    with pytest.raises(InputError, match="Linear has no layers"), recomputing(torch.nn.Linear(1, 1)):
        pass


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
