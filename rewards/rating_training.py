"""Training a preference model on ratings of single responses: regression, where ``training.py`` uses comparisons.

The result scores texts like any other preference model, so both are measured on the same comparisons.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..errors import InputError
from ..models.supervised import SupervisedTrainer
from .preference_model import PreferenceModel
from .ratings import Rating
from .training import train_scorer
from .training_rows import TrainingRows


def train_on_ratings(
    pm: PreferenceModel,
    ratings: Sequence[Rating],
    *,
    eval_ratings: Sequence[Rating] | None = None,
    keep_best: bool = True,
    **options: Any,
) -> dict[str, Any]:
    """Train ``pm`` in place to predict ratings by squared error. ``pm.rows`` then has their prompts.

    Args:
        pm: as in :func:`prefgym.rewards.training.train_preference_model`.
        ratings: what to learn, on a scale of about 0 ± 1 (see :func:`prefgym.rewards.ratings.standardised`); prompts
            are already templated.
        eval_ratings: held-out ratings on the same scale, for ``eval_loss``.
        keep_best: with held-out ratings, end with the weights of the smallest evaluation loss.
        options: fields of :class:`prefgym.models.supervised.TrainingOptions`.

    Returns:
        The metrics of :func:`prefgym.rewards.training.train_scorer` (losses are mean squared errors), and ``ratings``.

    Raises:
        InputError: there is no rating.
    """
    if not ratings:
        raise InputError("A preference model needs at least one rating to train on.")
    collate = _RatingCollator(pm)
    metrics = train_scorer(pm, RatingTrainer, collate, encode_ratings, ratings, eval_ratings, keep_best, options)
    rated = [rating.prompt for rating in (*ratings, *(eval_ratings or ()))]
    pm.rows |= TrainingRows.of_prompts(rated, pm.around)
    return {**metrics, "ratings": len(ratings)}


def encode_ratings(pm: PreferenceModel, ratings: Sequence[Rating]) -> list[dict[str, Any]]:
    """Return the encoded text and the target of every rating, as :class:`RatingTrainer` reads them."""
    rows = pm.encode([rating.prompt for rating in ratings], [rating.response for rating in ratings])
    return [
        {"text": row, "target": rating.value, "group": rating.prompt} for row, rating in zip(rows, ratings, strict=True)
    ]


class RatingTrainer(SupervisedTrainer):
    """Mean squared error of scores (B,) to targets (B,)."""

    def length(self, example: dict[str, Any]) -> int:
        """Return the number of tokens."""
        return len(example["text"].input_ids)

    def compute_loss(  # type: ignore[override]
        self, model: torch.nn.Module, inputs: dict[str, Any], return_outputs: bool = False, **kwargs: Any
    ) -> Tensor:
        """Return the mean loss of a batch."""
        target = inputs.pop("target")
        return (model(**inputs) - target).square().mean()

    def eval_loss_sum(self, model: torch.nn.Module, inputs: dict[str, Any]) -> tuple[Tensor, int]:
        """Return the summed loss and the number of ratings."""
        count = len(inputs["target"])
        return self.compute_loss(model, inputs) * count, count


class _RatingCollator:
    def __init__(self, pm: PreferenceModel) -> None:
        self.pm = pm

    def __call__(self, examples: Sequence[dict[str, Any]]) -> dict[str, Tensor]:
        batch = self.pm.collate([example["text"] for example in examples], share_prompts=True)
        targets = [float(example["target"]) for example in examples]
        batch["target"] = torch.tensor(targets, device=batch["input_ids"].device)
        return batch
