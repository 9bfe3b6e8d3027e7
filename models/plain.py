"""Plain forward passes over several texts: right for every model, whatever it attends to and however it counts.

How texts may stand in a batch depends on the model (``Paths.batch``): most decoders take padding on the left, models
that count positions by themselves or carry a state take it on the right or not at all.

Notation: B texts of L columns, P of them prompt (left padded) and R response (right padded).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from .accepts import taken
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
    if paths.batch == "left":
        del hidden[:]
        logits = forward_plainly(model, paths, tokens[:, :-1], mask[:, :-1], num_response)
        return logits[:, -num_response:], hidden[0][:, -num_response:]
    parts = []
    for rows in batches(paths, mask):
        del hidden[:]
        parts.append((rows, *_read_left_aligned(model, paths, tokens[rows], mask[rows], num_response, hidden)))
    order = torch.cat([rows for rows, *_ in parts]).argsort()
    logits, states = (torch.cat(both)[order] for both in zip(*(part[1:] for part in parts), strict=True))
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
    return tuple(_pick(part, columns - (read - part.shape[1])) for part in (logits, hidden[0]))  # type: ignore


def _pick(values: Tensor, columns: Tensor) -> Tensor:
    """(B, L, d) and (B, R) -> (B, R, d)."""
    return values.gather(1, columns.clamp(min=0)[..., None].expand(-1, -1, values.shape[-1]))


def forward_plainly(
    model: nn.Module, paths: Paths, tokens: Tensor, mask: Tensor, keep: int, answer: Callable[[Any], Tensor] | None = None
) -> Tensor:
    """One forward pass without a cache over texts laid out as ``paths`` says: (n, L) -> (n, at least keep, V_model).

    A mask without padding is not given, as nobody would who reads a text alone.
    """
    options = taken(model, use_cache=False, logits_to_keep=keep)
    if paths.batch in ("left", "right"):
        options["attention_mask"] = mask
    if paths.positions is not None:
        options |= taken(model, position_ids=position_ids(mask) + paths.positions)
    outputs = model(input_ids=tokens, **options)
    return outputs.logits if answer is None else answer(outputs)


def batches(paths: Paths, mask: Tensor) -> Iterator[Tensor]:
    """Yield which rows of a batch may be read together, (n,) int64 each; mask (B, L)."""
    rows = torch.arange(len(mask), device=mask.device)
    if paths.batch == "equal":
        lengths = mask.sum(dim=1)
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
