"""The answers of simulated people asked for comparisons and ratings, and the models that learn from them.

For the figures about preference models themselves.
"""

from __future__ import annotations

from functools import lru_cache, partial
from pathlib import Path

from ..rewards.preference_model import PreferenceModel
from .reward_study import MakeModel, StudySettings
from .simulated_people import Judgements, collect
from .workshop import Workshop


@lru_cache(maxsize=1)
def judgements(shop: Workshop) -> Judgements:
    """Comparisons and ratings of the same texts, as many as the largest share needs; regenerated in each process."""
    start, pretrained = (shop.model(shop.largest, stage) for stage in ("start", "pretrained"))
    most, held_out = max(shop.budget.comparisons), shop.budget.compared_posts
    return collect(most, start, pretrained, ratings=True, test_posts=held_out)


def settings(shop: Workshop) -> StudySettings:
    """The amounts of the study."""
    budget = shop.budget
    return StudySettings(
        counts=budget.comparisons,
        seeds=len(shop.seeds),
        test_posts=budget.compared_posts,
        epochs=budget.preference_epochs,
        min_steps=budget.least_steps,
    )


def learners(shop: Workshop) -> dict[str, MakeModel]:
    """Untrained preference models on the start policies' trunks, by size, the smallest first."""
    return {size: partial(_on_trunk, shop, size) for size in shop.sizes}


def _on_trunk(shop: Workshop, size: str, seed: int) -> PreferenceModel:
    return PreferenceModel.from_language_model(shop.model(size, "start"), seed=seed)


def points_folder(shop: Workshop) -> Path:
    """The folder of measurements; each figure reuses the other's points."""
    return shop.folder / "points"
