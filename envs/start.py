"""The two models of an environment: the one RL starts from, and the frozen reference of the KL."""

from __future__ import annotations

from pathlib import Path

import torch

from ..errors import InputError
from ..models.language_model import LanguageModel
from ..models.placing import store_as

ModelSpec = str | Path | LanguageModel | None


def load_models(
    model: ModelSpec, reference: ModelSpec, device: str, dtype: torch.dtype = torch.float32, check: bool = True
) -> tuple[LanguageModel, LanguageModel]:
    """Load the model (None = the embedded one) and the reference (None = the model as it is), and freeze the latter.

    Such a reference is a view of a model loaded here, so that weights are in memory once; a model passed in may be
    trained in place by its owner, so it is copied. The model is what training starts from, so its weights are fp32; a
    reference that is not passed in has ``dtype``. ``check`` is that of ``LanguageModel.load``.

    Raises:
        InputError: a model that cannot be loaded, or two with different vocabularies.
    """
    start = _load("embedded" if model is None else model, device, check=check)
    if (reference is None or reference is start) and dtype != torch.float32:
        other = start.copy()
        store_as(other.model, dtype)
        return start, other.freeze()
    if reference is None or reference is start:
        return start, start.copy().freeze() if start is model else start.view()
    other = _load(reference, device, dtype, check)
    if other.tokenizer.get_vocab() != start.tokenizer.get_vocab():
        raise InputError(
            f"The reference {other.name} has a different vocabulary from the model {start.name}; log-probabilities can "
            "be compared only where both have the same tokenizer."
        )
    return start, other.freeze()


def _load(
    model: str | Path | LanguageModel, device: str, dtype: torch.dtype = torch.float32, check: bool = True
) -> LanguageModel:
    if isinstance(model, LanguageModel):
        return model
    return LanguageModel.load(model, device=device, dtype=dtype, check=check)
