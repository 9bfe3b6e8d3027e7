"""A prompt that several responses share is read once, with the result and the gradients of reading it every time."""

import pytest
import torch

from prefgym.errors import InputError
from prefgym.models.forward import response_logits, token_log_probs
from prefgym.models.shared_prompt import _even_repeats, first_rows, recomputing

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


def test_each_prompt_is_read_once_and_each_token_of_a_response_too(make_model, batch, monkeypatch):
    """Five prompts without their last token; then, in rows of like length, as many tokens as are predicted."""
    tokens, mask = batch
    monkeypatch.setattr("prefgym.models.layout.CALL_COST", {"cpu": 0})
    for kind, texts_in_rows in (("llama", 8), ("mistral", 9)):  # texts of 3 and 1 tokens share a row of 4
        model, shapes = make_model(kind), []
        model.register_forward_pre_hook(
            lambda *given, shapes=shapes: shapes.append(tuple(given[2]["input_ids"].shape)), with_kwargs=True
        )
        response_logits(model, tokens, mask, 4, prompt_of=PROMPT_OF)
        assert shapes[0] == (5, 6)
        assert sum(rows * width for rows, width in shapes[1:]) == LENGTHS.sum()
        assert sum(rows for rows, _ in shapes[1:]) == texts_in_rows


def test_nothing_is_computed_of_a_prompt_but_keys_and_values_of_the_last_layer(model, batch):
    tokens, mask = batch
    layers = next(m for m in model.modules() if isinstance(m, torch.nn.ModuleList))
    seen = []
    for layer in layers:
        layer.register_forward_hook(lambda module, given, out: seen.append(given[0].shape[1]))
    response_logits(model, tokens, mask, 4, prompt_of=PROMPT_OF)
    assert seen.count(6) == len(layers) - 1  # the last layer does not come to its end on the prompts


def test_one_response_to_each_prompt(any_model, batch):
    """Nothing is shared, and the result is the same; also where prompts have a single token."""
    tokens, mask = batch
    plain = token_log_probs(any_model, tokens[:5], mask[:5], 4, VOCAB)
    alone = token_log_probs(any_model, tokens[:5], mask[:5], 4, VOCAB, prompt_of=torch.arange(5))
    torch.testing.assert_close(alone, plain, atol=1e-5, rtol=1e-5)
    mask = mask.clone()
    mask[:, :7] = False
    plain = token_log_probs(any_model, tokens, mask, 4, VOCAB)
    alone = token_log_probs(any_model, tokens, mask, 4, VOCAB, prompt_of=torch.arange(9))
    torch.testing.assert_close(alone, plain, atol=1e-5, rtol=1e-5)
    mask[0, 4:7] = True  # one prompt of four tokens, the others of one
    plain = token_log_probs(any_model, tokens, mask, 4, VOCAB)
    alone = token_log_probs(any_model, tokens, mask, 4, VOCAB, prompt_of=torch.arange(9))
    torch.testing.assert_close(alone, plain, atol=1e-5, rtol=1e-5)


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
    assert (forward, backward) == (layers if prompt_of is None else 2 * layers - 1, 0)  # the last one stops early
    _, forward_again, recomputed, kept_less, gradient = run(wanted=True)
    assert forward_again == recomputed == layers * (1 if prompt_of is None else 2)  # each once more, to its end
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


def test_repetitions_are_even_if_each_prompt_has_as_many_in_order():
    cases = {(0, 0, 0, 1, 1, 1): 3, (0, 1): 1, (1, 0): None, (1, 0, 3, 2): None, (0, 0, 1): None, (0, 1, 0, 1): None}
    for prompt_of, repeats in cases.items():
        assert _even_repeats(torch.tensor(prompt_of), max(prompt_of) + 1) == repeats
