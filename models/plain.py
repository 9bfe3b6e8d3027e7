"""Plain forward passes over several texts: right for every model, whatever it attends to and however it counts.

How texts may stand in a batch depends on the model (``Paths.batch``): most decoders take padding on the left, models
that count positions by themselves or carry a state take it on the right or not at all.

Notation: B texts of L columns, P of them prompt (left padded) and R response (right padded).
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from .accepts import taken
from .encoder_decoder import is_encoder_decoder, start_tokens
from .padding import position_ids
from .paths import Paths


def read_plainly(
    model: nn.Module, paths: Paths, tokens: Tensor, mask: Tensor, num_response: int, hidden: list[Tensor]
) -> tuple[Tensor, Tensor]:
    """Read B texts, each from its first token, and return what predicts their response tokens.

    Args:
        model: a decoder.
        paths: only ``batch`` and ``positions`` count here.
        tokens: (B, L) int64.
        mask: (B, L), 1 on real tokens.
        num_response: R.
        hidden: the list to which the input of the model's head is added at each forward pass.

    Returns:
        logits (B, R, V_model) and hidden states (B, R, d), with gradient; meaningless on padding.
    """
    if is_encoder_decoder(model):
        return _read_pairs(model, paths, tokens, mask, num_response, hidden)
    if paths.batch == "left":
        del hidden[:]
        logits = forward_plainly(model, paths, tokens[:, :-1], mask[:, :-1], num_response)
        return logits[:, -num_response:], hidden[0][:, -num_response:]
    parts = []
    for rows in batches(paths, mask.sum(dim=1)):
        del hidden[:]
        parts.append((rows, *_read_left_aligned(model, paths, tokens[rows], mask[rows], num_response, hidden)))
    return _in_order(parts)


def _read_pairs(
    model: nn.Module, paths: Paths, tokens: Tensor, mask: Tensor, num_response: int, hidden: list[Tensor]
) -> tuple[Tensor, Tensor]:
    """The same for an encoder-decoder: each prompt is encoded again for each of its responses."""
    split = tokens.shape[1] - num_response
    lengths = mask[:, :split].sum(dim=1)
    prompts, prompt_mask = aligned(tokens[:, :split], mask[:, :split].long())
    parts = []
    for rows in batches(paths, lengths):
        width = int(lengths[rows].max())
        options = {"attention_mask": prompt_mask[rows, :width]} if paths.batch == "right" else {}
        given = torch.cat([start_tokens(model, len(rows), tokens.device), tokens[rows, split:-1]], dim=1)
        del hidden[:]
        logits = model(input_ids=prompts[rows, :width], decoder_input_ids=given, use_cache=False, **options).logits
        parts.append((rows, logits, hidden[-1]))
    return _in_order(parts)


def _in_order(parts: list[tuple[Tensor, Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Put rows that were read in several batches back into their order."""
    order = torch.cat([rows for rows, *_ in parts]).argsort()
    logits, states = (torch.cat(both)[order] for both in list(zip(*parts, strict=True))[1:])
    return logits, states


def _read_left_aligned(
    model: nn.Module, paths: Paths, tokens: Tensor, mask: Tensor, num_response: int, hidden: list[Tensor]
) -> tuple[Tensor, Tensor]:
    """The same for texts that are moved to begin in the first column."""
    split = tokens.shape[1] - num_response
    begins = mask.long().argmax(dim=1)  # (B,)
    tokens, mask = aligned(tokens, mask)
    first = split - begins - 1  # (B,) the column that predicts the first response token
    read = int(mask.sum(dim=1).max()) - 1
    start = int(first.min())
    logits = forward_plainly(model, paths, tokens[:, :read], mask[:, :read], read - start)
    columns = (first[:, None] + torch.arange(num_response, device=first.device)).clamp(max=read - 1)  # (B, R)
    states = hidden[0]
    return _pick(logits, columns - (read - logits.shape[1])), _pick(states, columns - (read - states.shape[1]))


def _pick(values: Tensor, columns: Tensor) -> Tensor:
    """(B, L, d) and (B, R) -> (B, R, d)."""
    return values.gather(1, columns.clamp(min=0)[..., None].expand(-1, -1, values.shape[-1]))


def forward_plainly(model: nn.Module, paths: Paths, tokens: Tensor, mask: Tensor, keep: int) -> Tensor:
    """One forward pass without a cache over texts laid out as ``paths`` says: (n, L) -> (n, at least keep, V_model).

    Texts that are never padded are read without a mask, as a text alone is.
    """
    options = taken(model, use_cache=False, logits_to_keep=keep)
    if paths.batch in ("left", "right"):
        options["attention_mask"] = mask
    if paths.positions is not None:
        options |= taken(model, position_ids=position_ids(mask) + paths.positions)
    return model(input_ids=tokens, **options).logits


def batches(paths: Paths, lengths: Tensor) -> Iterator[Tensor]:
    """Yield which of B texts of these lengths (B,) may be read together, (n,) int64 each."""
    rows = torch.arange(len(lengths), device=lengths.device)
    if paths.batch == "equal":
        for length in lengths.unique().tolist():
            yield rows[lengths == length]
    elif paths.batch == "alone":
        yield from rows.split(1)
    else:
        yield rows


def aligned(tokens: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Move each text so that it begins in the first column; padding comes after it, in the order it had."""
    columns = torch.arange(tokens.shape[1], device=tokens.device)
    order = (columns + mask.long().argmax(dim=1, keepdim=True)) % tokens.shape[1]
    return tokens.gather(1, order), mask.gather(1, order)
