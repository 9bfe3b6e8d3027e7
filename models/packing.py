"""Reading several texts in one row, each as if it were alone: packing for supervised training.

A slot attends to its own text up to itself, and positions count from the start of each text, so that logits and
gradients are those of reading the texts one by one. Rows avoid the padding that texts of different lengths would need.

Notation: N texts of L columns, P of them prompt and R response, g rows of W slots in a chunk, K of its columns predict.
"""

from __future__ import annotations

import inspect

import torch
from torch import Tensor, nn

from ..errors import InputError
from .encoder_decoder import is_encoder_decoder
from .layout import Chunk, Slots, lay_out, slots_of
from .shared_prompt import attends_to_all, packed_mask, pair_cost, taken


def check_packable(model: nn.Module) -> None:
    """Raise InputError for a model that cannot separate the texts of a row."""
    takes_positions = "position_ids" in inspect.signature(model.forward).parameters
    if is_encoder_decoder(model) or not takes_positions or not attends_to_all(model):
        raise InputError(
            f"Examples cannot be packed for a {type(model).__name__}, which takes no separate mask for every token; "
            "train without packing."
        )


def read_packed(model: nn.Module, tokens: Tensor, mask: Tensor, split: int) -> tuple[list[Tensor], Slots]:
    """Read N prompts with their responses, several per row where that is cheaper.

    Args:
        model: a decoder that passes :func:`check_packable`.
        tokens: (N, L) int64, prompts padded on the left, responses on the right.
        mask: (N, L), 1 on real tokens; at least one of each prompt and of each response.
        split: P, the column in which responses start.

    Returns:
        The logits (g, K, V_model) of each chunk, and the slots: which response token each of them predicts. The head
        runs on the columns where at least one row predicts a response token.
    """
    first = mask.long().argmax(dim=1)  # (N,) columns of padding on the left
    lengths = mask.sum(dim=1) - 1  # the last token predicts nothing
    chunks = lay_out(torch.zeros_like(first), lengths, pair_cost=pair_cost(model))
    outputs, predicting = [], []
    for chunk in chunks:
        text = chunk.text.clamp(min=0)
        column = first[text] + chunk.column  # (g, W) of the tokens
        predicts = (chunk.text >= 0) & (column + 1 >= split)
        kept = predicts.any(dim=0).nonzero()[:, 0]  # (K,)
        told = taken(model, logits_to_keep=kept)
        logits = model(
            input_ids=tokens[text, column],
            attention_mask=_mask(chunk, next(model.parameters()).dtype),
            position_ids=chunk.column,
            use_cache=False,
            **told,
        ).logits
        kept = kept if told else torch.arange(logits.shape[1], device=kept.device)
        outputs.append(logits)
        predicting.append(
            Chunk(
                chunk.prompts,
                chunk.text.masked_fill(~predicts, -1)[:, kept],
                (column + 1 - split).clamp(min=0)[:, kept],
            )
        )
    return outputs, slots_of(predicting, mask[:, split:].bool())


def _mask(chunk: Chunk, dtype: torch.dtype) -> Tensor:
    real = (chunk.text >= 0).long()
    return real if chunk.single else packed_mask(real[:, :0], chunk, dtype)
