"""Texts to score as tokens, and batches of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..models.shared_prompt import numbered


@dataclass
class Cuts:
    """How many texts did not fit: their prompts, and their responses."""

    prompts: int = 0
    responses: int = 0


@dataclass(frozen=True)
class Encoded:
    """A scored text as tokens.

    Attributes:
        input_ids: all tokens, special ones included.
        token_type_ids: if the encoder takes them, else None.
        prompt_length: how many tokens of a decoder's text belong to the prompt; 0 for encoders.
    """

    input_ids: list[int]
    token_type_ids: list[int] | None = None
    prompt_length: int = 0


def padded(rows: Sequence[Encoded], pad: int, share_prompts: bool) -> dict[str, Tensor]:
    """Return texts padded on the right, (B, L) each; with ``share_prompts`` also which begin with the same prompt."""
    shape = (len(rows), max(len(row.input_ids) for row in rows))
    tokens = torch.full(shape, pad, dtype=torch.long)
    mask, types = torch.zeros(shape, dtype=torch.long), torch.zeros(shape, dtype=torch.long)
    for i, row in enumerate(rows):
        length = len(row.input_ids)
        tokens[i, :length] = torch.tensor(row.input_ids)
        mask[i, :length] = 1
        types[i, :length] = torch.tensor(row.token_type_ids or 0)
    batch = {"input_ids": tokens, "attention_mask": mask}
    if rows[0].token_type_ids is not None:
        batch["token_type_ids"] = types
    if share_prompts and all(row.prompt_length for row in rows):
        prompts = [tuple(row.input_ids[: row.prompt_length]) for row in rows]
        if len(set(prompts)) == len(rows):  # nothing shared: all but the last token, where the score is read
            prompts = [tuple(row.input_ids[:-1]) for row in rows]
        batch["prompt_of"] = numbered(prompts)
        batch["prompt_lengths"] = torch.tensor([len(prompt) for prompt in prompts])
    return batch
