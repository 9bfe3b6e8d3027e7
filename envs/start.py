"""The two models of an environment: the one RL starts from, and the frozen reference of the KL."""

from __future__ import annotations

from pathlib import Path

from ..errors import InputError
from ..models.language_model import LanguageModel

ModelSpec = str | Path | LanguageModel | None


def load_models(model: ModelSpec, reference: ModelSpec, device: str) -> tuple[LanguageModel, LanguageModel]:
    """Load the model (None = the embedded one) and the reference (None = the model as it is), and freeze the latter.

    Such a reference is a view of a model loaded here, so that weights are in memory once; a model passed in may be
    trained in place by its owner, so it is copied.

    Raises:
        InputError: a model that cannot be loaded, or two with different vocabularies.
    """
    start = _load("embedded" if model is None else model, device)
    if reference is None or reference is start:
        return start, start.copy().freeze() if start is model else start.view()
    other = _load(reference, device)
    if other.tokenizer.get_vocab() != start.tokenizer.get_vocab():
        raise InputError(
            f"The reference {other.name} has a different vocabulary from the model {start.name}; log-probabilities can "
            "be compared only where both have the same tokenizer."
        )
    return start, other.freeze()


def _load(model: str | Path | LanguageModel, device: str) -> LanguageModel:
    return model if isinstance(model, LanguageModel) else LanguageModel.load(model, device=device)
