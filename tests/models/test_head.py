"""Logits computed a few at a time are those computed at once, and so are their gradients."""

from contextlib import contextmanager

import pytest
import torch
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    GraniteConfig,
    GraniteForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
)

from prefgym.agents.policy import LMPolicy
from prefgym.models import forward
from prefgym.models.finetune import token_loss_sum
from prefgym.models.forward import from_logits, read_responses, token_log_probs
from prefgym.models.head import head_of, is_known_plain, no_head
from prefgym.models.language_model import disable_dropout

VOCAB, ROWS = 40, 48
FEW = 3 * ROWS  # logits: those of three slots
SHAPE = {"vocab_size": ROWS, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
SHAPE |= {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "initializer_range": 0.3}


def gemma2():
    return Gemma2ForCausalLM(Gemma2Config(**SHAPE, final_logit_softcapping=5.0, query_pre_attn_scalar=8))


def granite():
    return GraniteForCausalLM(GraniteConfig(**SHAPE, logits_scaling=3.0))


def t5():
    return T5ForConditionalGeneration(
        T5Config(vocab_size=ROWS, d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4, decoder_start_token_id=0)
    )


@pytest.fixture
def batch(prompts):
    """Six responses of 1 to 4 tokens to five prompts: tokens (6, 12), mask (6, 12), R = 4, and whose prompt it is."""
    tokens, mask = prompts
    prompt_of = torch.tensor([0, 0, 1, 2, 3, 4])
    response = torch.randint(1, VOCAB, (6, 4), generator=torch.Generator().manual_seed(2))
    real = torch.arange(4) < torch.tensor([4, 2, 1, 3, 2, 4]).unsqueeze(-1)
    whole = torch.cat([tokens[prompt_of], response.masked_fill(~real, 0)], 1)
    return whole, torch.cat([mask[prompt_of], real], 1), 4, prompt_of


@contextmanager
def at_once(monkeypatch, logits):
    with monkeypatch.context() as patch:
        patch.setattr(forward, "LOGITS_AT_ONCE", logits)
        yield


@contextmanager
def sizes_of_logits(model):
    """How many logits the head returned, each time."""
    sizes = []

    def note(_module, _given, returned):
        sizes.append(returned.numel() if returned.shape[-1] == ROWS else 0)

    handle = head_of(model).register_forward_hook(note)
    try:
        yield sizes
    finally:
        handle.remove()


def with_gradients(model, value):
    value.sum().backward()
    gradients = [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]
    model.zero_grad()
    return [value.detach(), *gradients]


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("kind", ["llama", "gpt2", "mistral", t5, gemma2, granite])
def test_a_few_logits_at_a_time_give_the_same_log_probs_and_gradients(kind, shared, make_model, batch, monkeypatch):
    torch.manual_seed(0)
    model = make_model(kind) if isinstance(kind, str) else kind().train()
    disable_dropout(model)
    tokens, mask, width, prompt_of = batch
    given = (model, tokens, mask, width, VOCAB)
    options = {"prompt_of": prompt_of} if shared else {}
    expected = with_gradients(model, token_log_probs(*given, **options))
    assert not is_known_plain(model)  # nothing is tried while logits are few
    with at_once(monkeypatch, FEW):
        found = with_gradients(model, token_log_probs(*given, **options))
    assert is_known_plain(model) == (kind not in (gemma2, granite))  # these cap or scale what the head returns
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


def test_no_more_logits_than_allowed_are_computed_at_once(make_model, batch, monkeypatch):
    model = make_model("llama")
    tokens, mask, width, prompt_of = batch
    with at_once(monkeypatch, FEW):
        token_log_probs(model, tokens, mask, width, VOCAB)  # it is tried here
        with sizes_of_logits(model) as sizes:
            token_log_probs(model, tokens, mask, width, VOCAB, prompt_of=prompt_of).sum().backward()
    assert max(sizes) == FEW
    assert sum(sizes) >= 2 * int(mask[:, -width:].sum()) * ROWS  # forward, and again for the backward pass


def test_a_policy_gives_the_same_of_pieces(language_model, batch, monkeypatch):
    tokens, mask, width, prompt_of = batch
    allowed = torch.rand(6, width, language_model.vocab_size, generator=torch.Generator().manual_seed(3)) < 0.5
    allowed.scatter_(-1, tokens[:, -width:, None], True)
    policy = LMPolicy(language_model, value_head=True)
    torch.nn.init.normal_(policy.value_head.linear.weight)

    def evaluate():
        found = policy.evaluate_actions(tokens, mask, width, True, prompt_of, True, allowed)
        parts = [part * mask[:, -width:] for part in (found.log_probs, found.values, found.entropy)]
        chosen = found.log_dist.gather(-1, tokens[:, -width:, None]).squeeze(-1) * mask[:, -width:]
        return with_gradients(policy, sum(parts) + chosen)

    expected = evaluate()
    with at_once(monkeypatch, 3 * language_model.model.config.vocab_size):
        found = evaluate()
    assert is_known_plain(language_model.model)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


def test_the_loss_of_fine_tuning_is_a_sum_of_pieces(make_model, batch, monkeypatch):
    model = make_model("llama")
    tokens, mask, width, _ = batch

    def loss(packed):
        reading = read_responses(model, tokens, mask, width, packed=packed)
        labels = reading.slots.gather(tokens[:, -width:]).masked_fill(~reading.slots.real, -100)
        return with_gradients(model, from_logits(lambda *pair: (token_loss_sum(*pair)[None],), [reading], labels)[0])

    for packed in (False, True):
        whole = loss(packed)
        with at_once(monkeypatch, FEW):
            pieces = loss(packed)
        assert len(pieces[0]) > len(whole[0]) == 1
        torch.testing.assert_close(pieces[0].sum(), whole[0].sum())
        for ours, theirs in zip(pieces[1:], whole[1:], strict=True):
            torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


def test_a_head_that_is_left_out_returns_with_all_that_was_put_on_it(make_model):
    model = make_model("llama")
    head = model.get_output_embeddings()
    with no_head(model):
        assert torch.equal(head(torch.ones(2, 32)), torch.ones(2, 32))
    assert "forward" not in vars(head)
    head.forward = put = lambda states: states * 2
    with no_head(model):
        assert torch.equal(head(torch.ones(2, 32)), torch.ones(2, 32))
    assert head.forward is put


def test_models_inside_a_wrapper_keep_their_own_forward_pass(make_model, batch, monkeypatch):
    class Wrapper(torch.nn.Module):
        def __init__(self, module):
            super().__init__()
            self.module, self.config = module, module.config

        def forward(self, **given):
            return self.module(**given)

    model = make_model("llama")
    tokens, mask, width, _ = batch
    with at_once(monkeypatch, FEW):
        found = token_log_probs(Wrapper(model), tokens, mask, width, VOCAB)
        assert not is_known_plain(model)
        torch.testing.assert_close(found, token_log_probs(model, tokens, mask, width, VOCAB))
