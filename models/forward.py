"""Scoring given responses with one forward pass.

Letters: B rows, P prompt columns (left padded), R response columns (right padded), L = P + R, d hidden size,
V usable vocabulary, V_model embedding rows. A mask is True (or 1) on real tokens. What is padding is decided by the
mask, never by a token's id, and what stands on padding changes no result.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, overload

from torch import Tensor, nn
from transformers import PreTrainedModel

from .distribution import Decoding, log_distribution


def position_ids(attention_mask: Tensor) -> Tensor:
    """Number the real tokens of each row from 0: (B, L) mask -> (B, L) int64, 0 on left padding.

    >>> import torch
    >>> position_ids(torch.tensor([[0, 0, 1, 1, 1]]))
    tensor([[0, 0, 0, 1, 2]])
    """
    return (attention_mask.long().cumsum(dim=-1) - 1).clamp(min=0)


def first_real_column(attention_mask: Tensor) -> int:
    """Return the first column that holds a real token in any row: what stands before is padding for all."""
    return int(attention_mask.bool().any(dim=0).int().argmax())


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
def response_logits(model: PreTrainedModel, tokens: Tensor, attention_mask: Tensor, num_response: int) -> Tensor: ...


@overload
def response_logits(
    model: PreTrainedModel, tokens: Tensor, attention_mask: Tensor, num_response: int, *, with_hidden: Literal[True]
) -> tuple[Tensor, Tensor]: ...


def response_logits(
    model: PreTrainedModel, tokens: Tensor, attention_mask: Tensor, num_response: int, *, with_hidden: bool = False
) -> Tensor | tuple[Tensor, Tensor]:
    """Return the logits that predict each response column.

    The head runs only where a response token is predicted, and padding that all rows share on the left is not read.

    Args:
        model: a causal language model.
        tokens: (B, L) int64, prompt then response.
        attention_mask: (B, L), True on real tokens.
        num_response: R; column ``L - R + j`` is response column j. ``L > R``: the first response token is predicted
            from the prompt.
        with_hidden: return the hidden states too.

    Returns:
        logits (B, R, V_model) or, with hidden states, (logits, hidden (B, R, d)), hidden being what the head read.
        Entry j predicts response column j. On padded columns they are finite and mean nothing.
    """
    start = min(first_real_column(attention_mask), tokens.shape[1] - num_response - 1)
    mask = attention_mask[:, start:-1].long()
    with head_input(model) as hidden:
        logits = model(
            input_ids=tokens[:, start:-1],
            attention_mask=mask,
            position_ids=position_ids(mask),
            logits_to_keep=num_response,
            use_cache=False,
        ).logits
    return (logits, hidden[0]) if with_hidden else logits


def token_log_probs(
    model: PreTrainedModel,
    tokens: Tensor,
    attention_mask: Tensor,
    num_response: int,
    vocab_size: int,
    decoding: Decoding = Decoding(),  # noqa: B008
) -> Tensor:
    """Return log pi(y_t | x, y_<t) for each response token: (B, R) in nats, exactly 0 on padding.

    Arguments as in :func:`response_logits` and :func:`prefgym.models.distribution.log_distribution`.
    """
    logits = response_logits(model, tokens, attention_mask, num_response)
    log_probs = log_distribution(logits, vocab_size, decoding)  # (B, R, V)
    return select_tokens(log_probs, tokens[:, -num_response:], attention_mask[:, -num_response:])


def select_tokens(log_probs: Tensor, tokens: Tensor, mask: Tensor) -> Tensor:
    """Pick each token's log-probability: (B, R, V) and (B, R) -> (B, R), exactly 0 where the mask is False."""
    real = mask.bool()
    chosen = log_probs.gather(-1, tokens.masked_fill(~real, 0).unsqueeze(-1)).squeeze(-1)
    return chosen.masked_fill(~real, 0.0)
