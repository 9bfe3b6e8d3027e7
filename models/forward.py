"""Scoring given responses with one forward pass.

Notation: B rows, P prompt columns (left padded), R response columns (right padded), L = P + R, d hidden size,
V usable vocabulary, V_model embedding rows. A mask is True (or 1) on real tokens. The mask decides what is padding,
never a token's id, and tokens at padding do not affect any result.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, overload

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from ..errors import InputError
from .distribution import Decoding, log_distribution
from .encoder_decoder import is_encoder_decoder, read_pairs
from .layout import Slots, every_slot
from .packing import read_packed
from .padding import first_real_column
from .paths import paths_of
from .plain import read_plainly
from .shared_prompt import first_rows, read_behind, shares_prompts


def head_of(model: nn.Module) -> Any:
    """The layer that turns hidden states into logits.

    Raises:
        InputError: there is none that can be found.
    """
    inner: Any = getattr(model, "module", model)
    head = inner.get_output_embeddings()
    if head is None:
        rows = inner.get_input_embeddings().weight.shape[0]
        linear = [module for module in inner.modules() if isinstance(module, nn.Linear) and module.out_features == rows]
        head = linear[-1] if linear else None
    if head is None:
        raise InputError(f"The layer of a {type(inner).__name__} that computes logits cannot be found.")
    return head


def head_width(model: nn.Module) -> int:
    """d, the size of the hidden states that the head reads; not every configuration states it."""
    head: Any = head_of(model)
    if hasattr(head, "weight"):
        return int(head.weight.shape[-1])
    inner: Any = getattr(model, "module", model)
    return int(inner.config.get_text_config().hidden_size)


@contextmanager
def head_input(model: PreTrainedModel) -> Iterator[list[Tensor]]:
    """Collect the input of the language-model head: the last hidden states after the final norm."""
    captured: list[Tensor] = []

    def capture(_module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        captured.append(arguments[0])

    handle = head_of(model).register_forward_pre_hook(capture)
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
        with_hidden: also return the hidden states.
        prompt_of: (B,) int64 from 0 to G - 1, which rows have the same prompt. It is then read once, with the same
            result and the same gradients; None, or a model that cannot (see :func:`shares_prompts`), reads all rows.

    Returns:
        logits (B, R, V_model) or, with hidden states, (logits, hidden (B, R, d)), where hidden is the head's input.
        Entry j predicts response column j. On padded columns they are finite but meaningless.
    """
    reading = read_responses(model, tokens, attention_mask, num_response, prompt_of)
    logits = reading.slots.spread(reading.logits)
    return (logits, reading.slots.spread(reading.hidden)) if with_hidden else logits


@dataclass(frozen=True)
class Reading:
    """A model's outputs where response tokens are predicted, before they are arranged in columns.

    Attributes:
        logits: (T, V_model), one row per slot; those of padding are meaningless.
        hidden: (T, d) what the head read.
        slots: which response token each slot predicts.
    """

    logits: Tensor
    hidden: Tensor
    slots: Slots


def read_responses(
    model: PreTrainedModel,
    tokens: Tensor,
    attention_mask: Tensor,
    num_response: int,
    prompt_of: Tensor | None = None,
    packed: bool = False,
) -> Reading:
    """Read B texts and return the predictions of each response token; arguments as in :func:`response_logits`.

    ``packed`` reads several per row, each with its own prompt: ``packing.read_packed``.
    """
    split = tokens.shape[1] - num_response
    start = min(first_real_column(attention_mask), split - 1)
    mask = attention_mask[:, start:].long()
    columns = mask.shape[1]
    given = (tokens[:, start:], mask, split - start, prompt_of if shares_prompts(model, columns) else None)
    real = mask[:, split - start :].bool()
    with head_input(model) as hidden:
        if is_encoder_decoder(model) and shares_prompts(model, columns):
            logits, slots = [_encoder_decoder(model, *given)], every_slot(real)
        elif packed and not is_encoder_decoder(model):
            logits, slots = read_packed(model, *given[:3])
        elif given[-1] is None or split - start == 1:
            paths = paths_of(model, columns)
            both = read_plainly(model, paths, *given[:2], num_response, hidden)
            logits, slots, hidden[:] = [both[0]], every_slot(real), [both[1]]
        else:
            logits, slots = _behind(model, *given)
    read = hidden[-len(logits) :]  # the head may have run on prompts earlier
    return Reading(_flat(logits), _flat(read), slots)


def _flat(parts: list[Tensor]) -> Tensor:
    """(g, W, ...) each -> (T, ...); a single one is not copied."""
    flat = [part.flatten(0, 1) for part in parts]
    return flat[0] if len(flat) == 1 else torch.cat(flat)


def _encoder_decoder(
    model: PreTrainedModel, tokens: Tensor, mask: Tensor, split: int, prompt_of: Tensor | None
) -> Tensor:
    """Logits (B, R, V_model), each prompt encoded once."""
    rows = slice(None) if prompt_of is None else first_rows(prompt_of)
    return read_pairs(model, tokens[rows, :split], mask[rows, :split], prompt_of, tokens[:, split:])


def _behind(
    model: PreTrainedModel, tokens: Tensor, mask: Tensor, split: int, prompt_of: Tensor | None
) -> tuple[list[Tensor], Slots]:
    """Logits (g, W, V_model) by chunk; a prompt's last token is read with each response, whose first it predicts."""
    assert prompt_of is not None
    first = first_rows(prompt_of)
    outputs, slots = read_behind(
        model,
        tokens[first, : split - 1],
        mask[first, : split - 1],
        prompt_of,
        tokens[:, split - 1 : -1],
        mask[:, split:],  # as many as there are tokens to predict
    )
    return [output.logits for output in outputs], slots


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
    reading = read_responses(model, tokens, attention_mask, num_response, prompt_of)
    log_dist = log_distribution(reading.logits, vocab_size, decoding)  # (T, V)
    return chosen_log_probs(log_dist, tokens[:, -num_response:], reading.slots)


def chosen_log_probs(log_dist: Tensor, responses: Tensor, slots: Slots) -> Tensor:
    """Pick the log-probability of each response token: (T, V) and (B, R) -> (B, R), exactly 0 on padding."""
    return slots.spread(log_dist.gather(-1, chosen_tokens(responses, slots)[:, None])[:, 0])


def chosen_tokens(responses: Tensor, slots: Slots) -> Tensor:
    """Find the response token of each slot: (B, R) -> (T,), 0 at padding."""
    return slots.gather(responses).masked_fill(~slots.real, 0)
