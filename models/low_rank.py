"""Supervised training of an adapter: few weights are trained, and the result is a whole model again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn
from transformers import PreTrainedModel

from .lora import LoRA, peft_package


@contextmanager
def low_rank(
    model: PreTrainedModel, lora: LoRA | None, *, seed: int, name: str, whole: Sequence[nn.Module] = ()
) -> Iterator[None]:
    """Inside, only an adapter in ``model`` is trained; at the end it is merged into the weights, in place.

    Where something goes wrong, the weights are afterwards as they were, but for those of ``whole``.

    Args:
        model: whatever it trains now is trained where ``lora`` is None, and again afterwards.
        lora: shape of the adapter.
        seed: of its initial weights.
        name: of the model, for messages.
        whole: parts that are trained too, without an adapter: a new head.

    Raises:
        InputError: ``peft`` is not installed, or the model has no layer of a name in ``lora.targets``.
    """
    if lora is None:
        yield
        return
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    peft = peft_package()
    config = peft.LoraConfig(
        **lora.settings(model, name),
        exclude_modules=[key for key, part in model.named_modules() if any(part is each for each in whole)] or None,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # A is random
        adapter = peft.LoraModel(model, config, "default")
    for part in whole:
        part.requires_grad_(True)
    try:
        yield
    except BaseException:
        adapter.unload()
        raise
    else:
        adapter.merge_and_unload()
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)
