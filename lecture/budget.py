"""How much a lecture measures, in its full and its quick form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..assets.sizes import FULL, QUICK, Size

SHIPPED = "1.3M"
"""The size whose models come with the package."""


@dataclass(frozen=True)
class Budget:
    """How much a lecture measures.

    sizes: name -> shape and amounts of training; ``None`` stands for the shipped models.
    seeds: default number of repetitions.
    posts: held-out posts that judge a policy.
    episodes: per reinforcement-learning run; ``long_episodes`` for a long one.
    best_of: the largest n of best-of-n.
    pairs: pairs of summaries of equal loss.
    proxies: numbers of comparisons for the preference models of the over-optimisation study, fewest first.
    preference_epochs: how often a preference model reads its comparisons, in every study.
    examples: numbers of instruction pairs for tuning, fewest first.
    asked: held-out posts per family of instructions.
    answered: instructions whose answers simulated people compare.
    labels: numbers of human comparisons whose value for RLHF and fine-tuning on own outputs is measured, fewest first.
    comparisons: numbers of comparisons in the study of preference models, fewest first; ratings of as many texts are
        tried too.
    compared_posts: held-out posts from which all pairs are taken to measure a preference model.
    least_steps: optimiser steps of the smallest of these models.
    """

    sizes: Mapping[str, Size | None]
    seeds: int
    posts: int
    episodes: int
    long_episodes: int
    best_of: int
    pairs: int
    proxies: tuple[int, ...]
    preference_epochs: float
    examples: tuple[int, ...]
    asked: int
    answered: int
    labels: tuple[int, ...]
    comparisons: tuple[int, ...]
    compared_posts: int
    least_steps: int


_LESS: dict[str, Any] = {"layers": 3, "bf16": False, "pretrain_posts": 20_000, "finetune_posts": 80_000}
# bfloat16 takes twice as long for models this small. The posts were chosen after a trial with 40,000, in which a size
# of 0.1M copied no facts and won nothing at any stage.
FULL_BUDGET = Budget(
    sizes={
        "0.3M": replace(FULL, hidden_size=64, intermediate_size=240, **_LESS),
        "0.6M": replace(FULL, hidden_size=96, intermediate_size=320, **_LESS),
        SHIPPED: None,
    },
    seeds=3,
    posts=500,
    episodes=3072,
    long_episodes=8192,
    best_of=128,
    pairs=300,
    proxies=(500, 2000, 8000),
    preference_epochs=2.0,
    examples=(2000, 8000, 20_000),
    asked=200,
    answered=4000,
    labels=(125, 500, 2000, 8000),
    comparisons=(500, 2000, 8000, 16_000),
    compared_posts=500,
    least_steps=150,
)
QUICK_BUDGET = Budget(
    sizes={
        "tiny": replace(QUICK, hidden_size=16),
        "small": QUICK,
        SHIPPED: None,
    },
    seeds=1,
    posts=32,
    episodes=128,
    long_episodes=256,
    best_of=16,
    pairs=20,
    proxies=(40, 80),
    preference_epochs=1.0,
    examples=(24, 48),
    asked=8,
    answered=16,
    labels=(40, 80),
    comparisons=(40, 80),
    compared_posts=10,
    least_steps=4,
)
