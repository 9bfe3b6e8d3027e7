"""The learning rate that a supervised run gets where none is given, by the model's size and by what is trained."""

from __future__ import annotations

SMALL = 10_000_000
"""Parameters from which on a model is taken for a pretrained one, whose weights are to move little."""
SMALL_RATE = 5e-4
"""Of smaller ones, weights or adapter; it suits the embedded models."""
WEIGHTS_RATE = 5e-5
"""Of a larger model's weights: Devlin et al. 2019 (BERT, appendix A.3) found 2e-5 to 5e-5 to work well across tasks; it
is also the default of transformers' ``TrainingArguments``."""
ADAPTER_RATE = 2e-4
"""Of an adapter of a larger model: as in Hu et al. 2021 (LoRA, appendix D, for GPT-2) and Dettmers et al. 2023 (QLoRA,
appendix B, up to 13B parameters)."""


def usual_learning_rate(parameters: int, adapter: bool, small: float = SMALL_RATE) -> float:
    """The peak learning rate for a model.

    Args:
        parameters: of the whole model, without an adapter.
        adapter: whether an adapter is trained (LoRA) instead of the weights.
        small: the rate of a model with fewer than ``SMALL`` parameters.

    >>> [usual_learning_rate(size, adapter) for size in (9_999_999, 10_000_000) for adapter in (False, True)]
    [0.0005, 0.0005, 5e-05, 0.0002]
    """
    if parameters < SMALL:
        return small
    return ADAPTER_RATE if adapter else WEIGHTS_RATE
