"""Scoring given responses with one forward pass.

Notation: B rows, P prompt columns (left padded), R response columns (right padded), L = P + R, d hidden size,
V usable vocabulary, V_model embedding rows. A mask is True (or 1) on real tokens. The mask decides what is padding,
never a token's id, and tokens at padding do not affect any result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple, overload

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from .distribution import Decoding, log_distribution
from .encoder_decoder import is_encoder_decoder, read_pairs
from .head import has_plain_head, head_input, head_of, head_rows, no_head
from .layout import Slots, every_slot
from .packing import read_packed
from .padding import first_real_column
from .paths import paths_of
from .plain import read_plainly
from .shared_prompt import first_rows, read_behind, shares_prompts

LOGITS_AT_ONCE = 2**25
"""How many logits :func:`from_logits` has in memory at once."""


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
        hidden: (T, d) what the head reads, one row per slot; those of padding are meaningless.
        slots: which response token each slot predicts.
        computed: (T, V_model) logits; None if there are so many that they are left to :func:`from_logits`.
        head: which then turns hidden states into logits.
    """

    hidden: Tensor
    slots: Slots
    computed: Tensor | None
    head: Any = None

    @property
    def logits(self) -> Tensor:
        """(T, V_model), one row per slot, however many; those of padding are meaningless."""
        return self.head(self.hidden) if self.computed is None else self.computed


def from_logits(
    function: Callable[..., tuple[Tensor, ...]], readings: Sequence[Reading], *given: Tensor
) -> tuple[Tensor, ...]:
    """Compute something of each slot's logits; if there are many, never those of all slots at once.

    The backward pass computes a piece's logits again, so the largest tensor is that of a piece: exact, as each slot's
    result depends on its own logits alone.

    Args:
        function: of logits (t, V_model), one for each reading, and of t rows of what is given; returns (t, ...) each.
        readings: of the same slots.
        given: further tensors (T, ...).

    Returns:
        What the function returns, joined along the first dimension: (T, ...) each.
    """
    rows = min(len(reading.hidden) if reading.head is None else _rows_at_once(reading) for reading in readings)

    def piece(*parts: Tensor) -> tuple[Tensor, ...]:
        pairs = zip(readings, parts[: len(readings)], strict=True)
        logits = [part if reading.head is None else reading.head(part) for reading, part in pairs]
        return function(*logits, *parts[len(readings) :])

    sources = [reading.hidden if reading.computed is None else reading.computed for reading in readings]
    if rows == len(sources[0]):
        return piece(*sources, *given)
    again = partial(checkpoint, piece, use_reentrant=False, preserve_rng_state=False)
    run = again if torch.is_grad_enabled() else piece
    results = [run(*parts) for parts in zip(*(tensor.split(rows) for tensor in (*sources, *given)), strict=True)]
    return tuple(torch.cat(parts) for parts in zip(*results, strict=True))


@contextmanager
def logits_at_once(count: int) -> Iterator[None]:
    """Here no more logits than so many are in memory at once, or those of one slot; for measurements."""
    global LOGITS_AT_ONCE
    before, LOGITS_AT_ONCE = LOGITS_AT_ONCE, count
    try:
        yield
    finally:
        LOGITS_AT_ONCE = before


def _rows_at_once(reading: Reading) -> int:
    """The number of slots whose logits are computed together."""
    return min(len(reading.hidden), max(1, LOGITS_AT_ONCE // len(reading.head.weight)))


class _Texts(NamedTuple):
    """What :func:`read_responses` reads, without padding that all rows share on the left."""

    tokens: Tensor  # (B, L) int64
    mask: Tensor  # (B, L) int64
    split: int  # P
    prompt_of: Tensor | None  # (B,); None: each row is read with its prompt

    @property
    def real(self) -> Tensor:
        """(B, R) bool, True on response tokens."""
        return self.mask[:, self.split :].bool()


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
    shared = prompt_of if shares_prompts(model, mask.shape[1]) else None
    texts = _Texts(tokens[:, start:], mask, split - start, shared)
    many = texts.real.numel() * head_rows(model) > LOGITS_AT_ONCE
    later = many and has_plain_head(model, partial(_read_one, model, texts))
    with head_input(model) as hidden, no_head(model) if later else nullcontext():
        parts, states, slots = _read(model, texts, packed, hidden)
    return Reading(_flat(states), slots, None if later else _flat(parts), head_of(model) if later else None)


def _read(
    model: PreTrainedModel, texts: _Texts, packed: bool, at_head: list[Tensor]
) -> tuple[list[Tensor], list[Tensor], Slots]:
    """What the model returns by chunk (g, W, ...), the entries of ``at_head`` that belong to it, and the slots."""
    columns, num_response = texts.mask.shape[1], texts.real.shape[1]
    if is_encoder_decoder(model) and shares_prompts(model, columns):
        returned, slots = [_encoder_decoder(model, *texts)], every_slot(texts.real)
    elif packed and not is_encoder_decoder(model):
        returned, slots = read_packed(model, *texts[:3])
    elif texts.prompt_of is None or texts.split == 1:
        paths = paths_of(model, columns)
        both = read_plainly(model, paths, *texts[:2], num_response, at_head)
        return [both[0]], [both[1]], every_slot(texts.real)
    else:
        returned, slots = _behind(model, *texts)
    return returned, at_head[-len(returned) :], slots  # the head may have run on prompts earlier


def _read_one(model: PreTrainedModel, texts: _Texts, at_head: list[Tensor]) -> tuple[Tensor, Tensor]:
    """The same for the first text alone, up to its first response token."""
    end = texts.split + 1
    parts, states, _ = _read(
        model, _Texts(texts.tokens[:1, :end], texts.mask[:1, :end], texts.split, None), False, at_head
    )
    return parts[0], states[0]


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

    def pick(logits: Tensor, chosen: Tensor) -> tuple[Tensor]:
        return (pick_tokens(log_distribution(logits, vocab_size, decoding), chosen),)

    (picked,) = from_logits(pick, [reading], chosen_tokens(tokens[:, -num_response:], reading.slots))
    return reading.slots.spread(picked)


def pick_tokens(log_dist: Tensor, chosen: Tensor) -> Tensor:
    """The log-probability of the token chosen in each slot: (t, V) and (t,) -> (t,)."""
    return log_dist.gather(-1, chosen[:, None])[:, 0]


def chosen_tokens(responses: Tensor, slots: Slots) -> Tensor:
    """Find the response token of each slot: (B, R) -> (T,), 0 at padding."""
    return slots.gather(responses).masked_fill(~slots.real, 0)
