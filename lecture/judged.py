"""How the policies of each size compare with the references: measured once, used by several figures."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from ..evaluation.policies.decode import decode
from ..evaluation.win_rate import Interval, crossed_interval, mean_interval, outcomes
from ..models.language_model import LanguageModel
from ..rewards.gold import gold, invented_facts
from .workshop import Workshop

POLICIES = ("pretrained", "start", "trained")
NAMES = {"pretrained": "pretrained", "start": "fine-tuned (SFT)", "trained": "RLHF"}
COLOURS = {"pretrained": "#8a97a3", "start": "#d9a441", "trained": "#1f6fb2"}


def judged(shop: Workshop) -> dict[str, dict[str, Any]]:
    """Size -> policy -> gold win rate against references, invented facts and gold score, sampled at T = 1.

    Intervals of trained policies are over seeds and posts, the others over posts.
    """
    return {size: {policy: _figures(shop, size, policy) for policy in POLICIES} for size in shop.sizes}


def _figures(shop: Workshop, size: str, policy: str) -> dict[str, Interval]:
    seeds = shop.seeds if policy == "trained" else [0]
    key = f"judged-{size}-{policy}"
    runs = [shop.remember(f"{key}-seed{seed}", partial(_by_post, shop, size, policy, seed)) for seed in seeds]
    return {name: crossed_interval([run[name] for run in runs]) for name in runs[0]}


def _by_post(shop: Workshop, size: str, policy: str, seed: int) -> dict[str, list[float]]:
    return by_post(shop, _load(shop, size, policy, seed), seed)


def _load(shop: Workshop, size: str, policy: str, seed: int) -> LanguageModel:
    if policy == "trained":
        return shop.trained("rlhf", size, seed, episodes=shop.budget.long_episodes)[0]
    return shop.model(size, policy)


def by_post(shop: Workshop, lm: LanguageModel, seed: int) -> dict[str, list[float]]:
    """The scores of a policy's sample for each held-out post."""
    posts = shop.posts()
    texts = decode(lm, posts, seed=seed).texts
    scores, references = gold_of(posts, texts), gold_of(posts, [row["reference"] for row in posts])
    return {
        "win_rate_vs_references": outcomes(scores, references).tolist(),
        "gold_score": scores.tolist(),
        "invented_facts": invented(posts, texts),
    }


def gold_of(posts: Any, texts: list[str]) -> Any:
    """(n,) the gold score of each text."""
    columns = {name: [row[name] for row in posts] for name in ("facts", "distractors")}
    return np.array(gold([row["prompt"] for row in posts], texts, **columns))


def invented(posts: Any, texts: list[str]) -> list[float]:
    """How many facts each text states that its post does not."""
    pairs = zip(posts, texts, strict=True)
    return [float(invented_facts(row["facts"], row["distractors"], text)) for row, text in pairs]


def references_invented(shop: Workshop) -> Interval:
    """Invented facts of the people's summaries."""
    posts = shop.posts()
    return mean_interval(invented(posts, [row["reference"] for row in posts]))


def draw_by_size(axis: Axes, sizes: Mapping[str, Mapping[str, Interval]], scale: float = 1.0) -> None:
    """Draw a figure of every policy over size, times ``scale``, with its intervals."""
    for policy in POLICIES:
        rows = [figures[policy] for figures in sizes.values()]
        low, mean, high = (np.array([scale * row[bound] for row in rows]) for bound in ("low", "mean", "high"))
        look: dict[str, Any] = {"marker": "o", "capsize": 3, "color": COLOURS[policy], "label": NAMES[policy]}
        axis.errorbar(list(sizes), mean, yerr=[mean - low, high - mean], **look)
