"""Scoring given responses with one forward pass.

Letters: B rows, P prompt columns (left padded), R response columns (right padded), L = P + R, d hidden size,
V usable vocabulary, V_model embedding rows. A mask is True (or 1) on real tokens. What is padding is decided by the
mask, never by a token's id, and what stands on padding changes no result.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, Literal, overload

import torch
from torch import Tensor, nn
from transformers import DynamicCache, PreTrainedModel

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
        model: a causal language model.
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
    with head_input(model) as hidden:
        if prompt_of is not None and len(first := first_rows(prompt_of)) < len(tokens):
            before, after = read_shared(
                model,
                tokens[first, start:split],
                mask[first, : split - start],
                prompt_of,
                tokens[:, split:-1],
                mask[:, split - start :],
                prompt_options={"logits_to_keep": 1},
            )
            logits = torch.cat([before.logits[prompt_of], after.logits], dim=1)
            hidden[:] = [torch.cat([hidden[0][prompt_of], hidden[1]], dim=1)]
        else:
            logits = model(
                input_ids=tokens[:, start:-1],
                attention_mask=mask,
                position_ids=position_ids(mask),
                logits_to_keep=num_response,
                use_cache=False,
            ).logits
    return (logits, hidden[0]) if with_hidden else logits


def read_shared(
    model: nn.Module,
    prompts: Tensor,
    prompt_mask: Tensor,
    prompt_of: Tensor,
    responses: Tensor,
    response_mask: Tensor,
    prompt_options: Mapping[str, Any] = MappingProxyType({}),
) -> tuple[Any, Any]:
    """Read N responses behind their own of G prompts, each prompt once, with gradients.

    A decoder's keys and values of the prompt do not depend on what follows. They are computed once and then stand, as
    rows of a cache that keeps its graph, before every response; autograd adds up what the responses send back.

    Args:
        model: a decoder, with or without head. Dropout, if it is on, is drawn once for a prompt.
        prompts: (G, P) int64, padded on the left: a text then stands in neighbouring columns.
        prompt_mask: (G, P), 1 on real tokens.
        prompt_of: (N,) int64, which prompt stands before a response.
        responses: (N, R) int64, padded on the right.
        response_mask: (N, R), 1 on real tokens.
        prompt_options: further arguments of the model when it reads the prompts.

    Returns:
        The model's outputs on the prompts (G rows) and on the responses (N rows).
    """
    cache = DynamicCache()  # without the config: full layers also for models that attend to a window of columns
    before = model(
        input_ids=prompts,
        attention_mask=prompt_mask,
        position_ids=position_ids(prompt_mask),
        past_key_values=cache,
        use_cache=True,
        **prompt_options,
    )
    cache.batch_select_indices(prompt_of)
    mask = torch.cat([prompt_mask[prompt_of], response_mask], dim=1)  # (N, P + R)
    after = model(
        input_ids=responses,
        attention_mask=mask,
        position_ids=position_ids(mask)[:, prompts.shape[1] :],
        past_key_values=cache,
        use_cache=True,
    )
    return before, after


def shares_prompts(model: nn.Module) -> bool:
    """Whether :func:`read_shared` works: the model counts positions, takes a cache, and does not checkpoint."""
    accepted = inspect.signature(model.forward).parameters
    return {"position_ids", "past_key_values"} <= set(accepted) and not checkpoints(model)


def checkpoints(model: nn.Module) -> bool:
    """Whether gradient checkpointing is on; in train mode transformers then drops every cache silently."""
    return any(getattr(module, "gradient_checkpointing", False) for module in model.modules())


def first_rows(prompt_of: Tensor) -> Tensor:
    """Return the first row (G,) of each prompt: (B,) int64 with values 0 to G - 1.

    >>> first_rows(torch.tensor([1, 0, 0, 1, 2]))
    tensor([1, 0, 4])
    """
    rows = torch.arange(len(prompt_of), device=prompt_of.device)
    first = rows.new_full((int(prompt_of.max()) + 1,), len(prompt_of))
    return first.scatter_reduce(0, prompt_of, rows, "amin")


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
