"""Scoring given responses with one forward pass.

Letters: B rows, P prompt columns (left padded), R response columns (right padded), L = P + R, d hidden size,
V usable vocabulary, V_model embedding rows. A mask is True (or 1) on real tokens. What is padding is decided by the
mask, never by a token's id, and what stands on padding changes no result.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, Literal, overload

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from .distribution import Decoding, log_distribution
from .encoder_decoder import is_encoder_decoder, read_pairs
from .padding import first_real_column, position_ids
from .shared_prompt import first_rows, read_shared, shares_prompts


@contextmanager
def head_input(model: PreTrainedModel) -> Iterator[list[Tensor]]:
    """Collect what enters the language-model head: the last hidden states after the final norm."""
    captured: list[Tensor] = []

    def capture(_module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        captured.append(arguments[0])

    handle = model.get_output_embeddings().register_forward_pre_hook(capture)
    try:
        yield captured
    finally:
        handle.remove()


@overload
def response_logits(
    model: PreTrainedModel,
    tokens: Tensor,
    attention_mask: Tensor,
    num_response: int,
    *,
    prompt_of: Tensor | None = None,
) -> Tensor: ...


@overload
def response_logits(
    model: PreTrainedModel,
    tokens: Tensor,
    attention_mask: Tensor,
    num_response: int,
    *,
    with_hidden: Literal[True],
    prompt_of: Tensor | None = None,
) -> tuple[Tensor, Tensor]: ...


def response_logits(
    model: PreTrainedModel,
    tokens: Tensor,
    attention_mask: Tensor,
    num_response: int,
    *,
    with_hidden: bool = False,
    prompt_of: Tensor | None = None,
) -> Tensor | tuple[Tensor, Tensor]:
    """Return the logits that predict each response column.

    The head runs only where a response token is predicted, and padding that all rows share on the left is not read.

    Args:
        model: a causal language model, or an encoder-decoder, whose encoder reads the prompt.
        tokens: (B, L) int64, prompt then response.
        attention_mask: (B, L), True on real tokens.
        num_response: R; column ``L - R + j`` is response column j. ``L > R``: the first response token is predicted
            from the prompt.
        with_hidden: return the hidden states too.
        prompt_of: (B,) int64 from 0 to G - 1, which rows have the same prompt. It is then read once, with the same
            result and the same gradients; None, or a model that cannot (see :func:`shares_prompts`), reads all rows.

    Returns:
        logits (B, R, V_model) or, with hidden states, (logits, hidden (B, R, d)), hidden being what the head read.
        Entry j predicts response column j. On padded columns they are finite and mean nothing.
    """
    split = tokens.shape[1] - num_response
    start = min(first_real_column(attention_mask), split - 1)
    mask = attention_mask[:, start:-1].long()
    if num_response == 1 or not shares_prompts(model):
        prompt_of = None
    nothing: list[Tensor] = []
    first = None if prompt_of is None else first_rows(prompt_of)
    with head_input(model) if with_hidden else nullcontext(nothing) as hidden:
        if is_encoder_decoder(model):
            rows = slice(None) if first is None else first
            logits = read_pairs(
                model, tokens[rows, start:split], mask[rows, : split - start], prompt_of, tokens[:, split:]
            )
        elif first is not None and prompt_of is not None and len(first) < len(tokens):
            before, after = read_shared(
                model,
                tokens[first, start:split],
                mask[first, : split - start],
                prompt_of,
                tokens[:, split:-1],
                mask[:, split - start :],
                prompt_options=_taken(model, logits_to_keep=1),
            )
            logits = torch.cat([before.logits[prompt_of, -1:], after.logits], dim=1)
            hidden[:] = [torch.cat([hidden[0][prompt_of, -1:], hidden[1]], dim=1)] if hidden else []
        else:
            logits = model(
                input_ids=tokens[:, start:-1],
                attention_mask=mask,
                use_cache=False,
                **_taken(model, position_ids=position_ids(mask), logits_to_keep=num_response),
            ).logits[:, -num_response:]
            hidden[:] = [h[:, -num_response:] for h in hidden]
    return (logits, hidden[0]) if with_hidden else logits


def _taken(model: nn.Module, **options: Any) -> dict[str, Any]:
    """Keep those options that the model's forward takes: some models count no positions, or return all logits."""
    inner = getattr(model, "module", model)  # what runs in several processes is wrapped
    accepted = inspect.signature(inner.forward).parameters
    return {name: value for name, value in options.items() if name in accepted}


def token_log_probs(
    model: PreTrainedModel,
    tokens: Tensor,
    attention_mask: Tensor,
    num_response: int,
    vocab_size: int,
    decoding: Decoding = Decoding(),  # noqa: B008
    prompt_of: Tensor | None = None,
) -> Tensor:
    """Return log pi(y_t | x, y_<t) for each response token: (B, R) in nats, exactly 0 on padding.

    Arguments as in :func:`response_logits` and :func:`prefgym.models.distribution.log_distribution`.
    """
    logits = response_logits(model, tokens, attention_mask, num_response, prompt_of=prompt_of)
    log_probs = log_distribution(logits, vocab_size, decoding)  # (B, R, V)
    return select_tokens(log_probs, tokens[:, -num_response:], attention_mask[:, -num_response:])


def select_tokens(log_probs: Tensor, tokens: Tensor, mask: Tensor) -> Tensor:
    """Pick each token's log-probability: (B, R, V) and (B, R) -> (B, R), exactly 0 where the mask is False."""
    real = mask.bool()
    chosen = log_probs.gather(-1, tokens.masked_fill(~real, 0).unsqueeze(-1)).squeeze(-1)
    return chosen.masked_fill(~real, 0.0)
