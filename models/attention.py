"""How attention is computed: never what it gives."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from transformers import PreTrainedModel


@contextmanager
def plain_attention(*models: PreTrainedModel, wanted: bool = True) -> Iterator[None]:
    """Compute attention by matrix products while this is open, if ``wanted``, where PyTorch's fused kernel is slower.

    In bf16 on a CPU it is slow going backward when few queries look at many keys, as responses behind a shared prompt
    do: it took half of a whole training step.
    """
    chosen = [m for m in models if wanted and m.device.type == "cpu" and m.config._attn_implementation == "sdpa"]
    for model in chosen:
        model.set_attn_implementation("eager")
    try:
        yield
    finally:
        for model in chosen:
            model.set_attn_implementation("sdpa")
