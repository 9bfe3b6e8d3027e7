"""Writing responses: batched decoding with a key-value cache.

Knows nothing about text, rewards or learning. Notation: B prompts, S samples per prompt, N = B * S rows, P prompt
columns (left padded), R response columns (right padded), d hidden size, V usable vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel

from ..errors import InputError
from .cache import caching
from .distribution import Decoding, draw, log_distribution
from .padding import first_real_column
from .reader import make_reader
from .static_reader import StaticReader, can_be_static

LOOK_EVERY = 8


@dataclass
class Generation:
    """Responses, with what decoding computed.

    Attributes:
        tokens: (N, R) int64; the padding id after the end. R is the longest response.
        mask: (N, R) bool, True on real tokens, EOS included.
        log_probs: (N, R) fp32 nats under the distribution sampled from (:class:`Decoding` without ``greedy``),
            0 on padding.
        hidden: (N, R, d) the hidden state each token was predicted from, 0 on padding; None unless requested.
    """

    tokens: Tensor
    mask: Tensor
    log_probs: Tensor
    hidden: Tensor | None = None

    @property
    def lengths(self) -> Tensor:
        """(N,) number of tokens of each response, EOS included."""
        return self.mask.sum(dim=-1)


@torch.no_grad()
def generate(
    model: PreTrainedModel,
    prompt_tokens: Tensor,
    prompt_mask: Tensor,
    *,
    max_new_tokens: int,
    eos_token_id: int | Sequence[int],
    pad_token_id: int,
    vocab_size: int,
    decoding: Decoding = Decoding(),  # noqa: B008
    generator: torch.Generator | None = None,
    samples_per_prompt: int = 1,
    with_hidden: bool = False,
    look_every: int | None = None,
    static: bool = False,
    stopped: Callable[[Tensor], Tensor] | None = None,
) -> Generation:
    """Write ``samples_per_prompt`` responses to each prompt, each until EOS or ``max_new_tokens``.

    Each prompt is read once and its cache copied to its samples; rows that have ended leave the batch. Every step draws
    one uniform for each of the N rows, ended or not, so a row does not depend on when others end.

    Args:
        model: a causal language model or an encoder-decoder; train or eval mode makes no difference (dropout is off
            with p = 0).
        prompt_tokens: (B, P) int64.
        prompt_mask: (B, P), True on real tokens, padding on the left.
        max_new_tokens: the response budget, at least 1.
        eos_token_id: ends a response, or each of several does; inside a prompt they have no effect.
        pad_token_id: fills ``tokens`` after the end.
        vocab_size: V; only tokens below it are drawn.
        decoding: how tokens are drawn.
        generator: source of randomness; None is torch's global one.
        samples_per_prompt: S. Rows come prompt by prompt: p0s0, p0s1, ..., p1s0, ...
        with_hidden: also return the hidden states.
        look_every: steps between two checks for ended rows. It changes the time, not the result: a check lets rows
            leave, but makes a GPU synchronise. None: each step on a CPU, every ``LOOK_EVERY`` on a GPU.
        static: decode in steps of fixed shape, recorded as a CUDA graph on a GPU; the same result. A model with sliding
            windows or an encoder is decoded in the usual way.
        stopped: which of n responses of t tokens (n, t) end here though not by EOS, (n,) bool; asked after every token.

    Raises:
        InputError: the budget is below 1, or the longest prompt with it exceeds the model's context.
    """
    _check_budget(model, prompt_mask, max_new_tokens)
    start = first_real_column(prompt_mask)
    tokens, mask = prompt_tokens[:, start:], prompt_mask[:, start:].bool()
    device, num_rows = tokens.device, len(tokens) * samples_per_prompt
    rows = torch.arange(num_rows, device=device)  # which response each remaining row writes

    written = torch.full((num_rows, max_new_tokens), pad_token_id, device=device)
    real = torch.zeros(num_rows, max_new_tokens, dtype=torch.bool, device=device)
    log_probs = torch.zeros(num_rows, max_new_tokens, device=device)
    ended = torch.zeros(num_rows, dtype=torch.bool, device=device)  # (n,) of the remaining rows
    look_every = look_every or (1 if device.type == "cpu" else LOOK_EVERY)
    hidden = None

    with caching(model):
        make = StaticReader if static and can_be_static(model) else make_reader
        reader = make(model, tokens, mask, samples_per_prompt, max_new_tokens)
        logits, state = reader.read_prompts()
        if with_hidden:
            hidden = state.new_zeros(num_rows, max_new_tokens, state.shape[-1])
        for step in range(max_new_tokens):
            uniforms = torch.rand(num_rows, generator=generator, device=generator.device if generator else device)
            distribution = log_distribution(logits, vocab_size, decoding)  # (n, V)
            token = draw(distribution, uniforms.to(device)[rows], decoding)  # (n,)
            written[rows, step] = token.masked_fill(ended, pad_token_id)
            real[rows, step] = ~ended
            log_prob = distribution.gather(-1, token.unsqueeze(-1)).squeeze(-1)
            log_probs[rows, step] = log_prob.masked_fill(ended, 0.0)
            if hidden is not None:
                hidden[rows, step] = state.masked_fill(ended.unsqueeze(-1), 0.0)
            ended |= is_one_of(token, eos_token_id)
            if stopped is not None:
                ended |= stopped(written[rows, : step + 1])
            if step + 1 == max_new_tokens:
                break
            if (step + 1) % look_every == 0 and ended.any():
                if ended.all():
                    break
                order = reader.keep(~ended)
                rows, token, ended = rows[order], token[order], ended[order]
            logits, state = reader.read(token)

    used = int(real.any(dim=0).sum())
    return Generation(
        written[:, :used], real[:, :used], log_probs[:, :used], None if hidden is None else hidden[:, :used]
    )


def is_one_of(tokens: Tensor, ids: int | Sequence[int]) -> Tensor:
    """Whether each token is that one, or one of those; bool, of the same shape."""
    if isinstance(ids, int):
        return tokens == ids
    found = tokens == ids[0]
    for other in ids[1:]:
        found = found | (tokens == other)
    return found


def _check_budget(model: PreTrainedModel, prompt_mask: Tensor, max_new_tokens: int) -> None:
    if max_new_tokens < 1:
        raise InputError(f"max_new_tokens must be at least 1, not {max_new_tokens}.")
    longest = int(prompt_mask.sum(dim=-1).max())
    context = getattr(model.config, "max_position_embeddings", None)
    if context is not None and longest + max_new_tokens > context:
        raise InputError(
            f"A prompt of {longest} tokens and a budget of {max_new_tokens} new tokens exceed the model's context of "
            f"{context}; lower max_new_tokens or max_prompt_tokens."
        )
