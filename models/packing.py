"""Reading several texts in one row, each as if it were alone: packing for supervised training.

A slot attends to its own text up to itself, and positions count from the start of each text, so that logits and
gradients are those of reading the texts one by one. Rows avoid the padding that texts of different lengths would need.

Notation: N texts of L columns, P of them prompt and R response, g rows of W slots in a chunk, K of its columns predict.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..errors import InputError
from .accepts import taken
from .encoder_decoder import is_encoder_decoder
from .layout import Chunk, Slots, slots_of
from .paths import first_position, paths_of
from .shared_prompt import lay_out_for, packed_mask


def check_packable(model: nn.Module, columns: int = 1) -> None:
    """Raise InputError for a model that cannot separate the texts of a row of so many columns."""
    if is_encoder_decoder(model) or not paths_of(model, columns).packed:
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
    lengths = mask.sum(dim=1) - 1  # the last token predicts nothing
    chunks = lay_out_for(model, "packed", torch.zeros_like(lengths), lengths)
    outputs, predicting = zip(*(read_row(model, tokens, mask, split, chunk) for chunk in chunks), strict=True)
    return list(outputs), slots_of(list(predicting), mask[:, split:].bool())


def read_row(model: nn.Module, tokens: Tensor, mask: Tensor, split: int, chunk: Chunk) -> tuple[Tensor, Chunk]:
    """Read one chunk of :func:`read_packed`: logits (g, K, V_model), and which response token each predicts."""
    begins = mask.long().argmax(dim=1)  # (N,) columns of padding on the left
    text = chunk.text.clamp(min=0)
    column = begins[text] + chunk.column  # (g, W) of the tokens
    predicts = (chunk.text >= 0) & (column + 1 >= split)
    kept = predicts.any(dim=0).nonzero()[:, 0]  # (K,)
    told = taken(model, logits_to_keep=kept)
    logits = model(
        input_ids=tokens[text, column],
        attention_mask=_mask(chunk, next(model.parameters()).dtype),
        position_ids=chunk.column + first_position(model, chunk.text.shape[1]),
        use_cache=False,
        **told,
    ).logits
    kept = kept if told else torch.arange(logits.shape[1], device=kept.device)
    predicted = (column + 1 - split).clamp(min=0)
    return logits, Chunk(chunk.prompts, chunk.text.masked_fill(~predicts, -1)[:, kept], predicted[:, kept])


def _mask(chunk: Chunk, dtype: torch.dtype) -> Tensor:
    real = (chunk.text >= 0).long()
    return real if chunk.single else packed_mask(real[:, :0], chunk, dtype)
