"""How attention is computed, and what it may attend to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from transformers import PreTrainedModel


@contextmanager
def plain_attention(*models: PreTrainedModel, wanted: bool = True) -> Iterator[None]:
    """Inside this, if ``wanted``, compute attention by matrix products where PyTorch's fused kernel is slower.

    In bf16 on a CPU its backward pass is slow when few queries attend to many keys, as with responses after a shared
    prompt: it took half of a training step.
    """
    chosen = [m for m in models if wanted and m.device.type == "cpu" and m.config._attn_implementation == "sdpa"]
    for model in chosen:
        model.set_attn_implementation("eager")
    try:
        yield
    finally:
        for model in chosen:
            model.set_attn_implementation("sdpa")


def additive_mask(seen: Tensor, dtype: torch.dtype) -> Tensor:
    """(n, q, K) bool, True where a query may attend -> (n, 1, q, K), to be added to the attention scores.

    Models use a mask of this form as it is, without inspecting it.
    """
    return torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill(~seen, torch.finfo(dtype).min)[:, None]
