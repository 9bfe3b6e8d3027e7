"""The instruction-tuned models of each size and their answers to unseen families: made once, used by several figures.

A model is named by its size, the number of instruction pairs it was tuned on, the number of families they come from,
and the seed; with no pairs it is the pretrained model. So figures that need the same model share it.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike, NDArray

from ..assets.sizes import FULL
from ..data.pairs import instruction_pairs
from ..data.world.instructions import SEEN, UNSEEN
from ..evaluation.win_rate import Interval, crossed_interval, wilson_interval
from ..models.language_model import LanguageModel
from .workshop import Workshop

Array = NDArray[np.float64]
Answers = Mapping[str, Mapping[str, Any]]
"""Family -> ``exact`` and ``chosen``, 0 or 1 for every post, and ``chance``, the score of guessing among options."""

ASKED_FROM = 3000
"""Test posts that are skipped: those used to choose what is held out, those of any other stage, and those of the trial
that chose the largest number of pairs."""
POSTS_OF_A_SEED = 20_000
"""At least the largest number of pairs, each of which is about another post."""

WAYS = ("written", "likeliest", "normalised")
"""How an answer is scored: as written, exactly right, where a guess gets 0; by the likeliest option; and the latter as
(right - chance) / (1 - chance), where a guess gets 0 too."""


def drawn(count: int, seed: int) -> tuple[str, ...]:
    """That many of the seen families, drawn by the seed; they include those of a smaller count."""
    return tuple(random.Random(f"families of seed {seed}").sample(SEEN, len(SEEN))[:count])


def instructed(shop: Workshop, size: str, pairs: int, seed: int, families: int = len(SEEN)) -> LanguageModel:
    """A pretrained model tuned on ``pairs`` instruction pairs, equally many of each family.

    Args:
        shop: where it is kept.
        size: of the model.
        pairs: how many; 0 gives the pretrained model.
        seed: of the families, the posts and their order.
        families: how many of the seen ones.
    """
    if pairs == 0:
        return shop.model(size, "pretrained")
    folder = shop.folder / "instructed" / f"{size}-{pairs}-pairs-of-{families}-seed{seed}"
    if not (folder / "config.json").is_file():
        _tune(shop, size, pairs, seed, families).save(folder)
    return LanguageModel.load(folder)


def _tune(shop: Workshop, size: str, count: int, seed: int, families: int) -> LanguageModel:
    from ..models.finetune import finetune

    lm = shop.model(size, "pretrained")
    made = instruction_pairs(drawn(families, seed), count=count, start=POSTS_OF_A_SEED * seed)
    pairs = [(pair.prompt, pair.response) for pair in made]
    options: dict[str, Any] = {"bf16": (shop.budget.sizes[size] or FULL).bf16, "seed": seed, "progress": shop.progress}
    finetune(lm, pairs, learning_rate=1e-3, batch_size=16, epochs=1.0, **options)
    return lm


def answers(shop: Workshop, size: str, pairs: int, families: int = len(SEEN)) -> list[Answers]:
    """How instructions of the unseen families are answered by the model of every seed; arguments as ``instructed``."""
    return [_answers(shop, size, pairs, seed, families) for seed in shop.seeds]


def _answers(shop: Workshop, size: str, pairs: int, seed: int, families: int) -> Answers:
    name = f"{size}-{pairs}-pairs-of-{families}-seed{seed}" if pairs else f"{size}-pretrained"
    found: Answers = shop.remember(f"answers-{name}", partial(_ask, shop, size, pairs, seed, families))
    return found


def _ask(shop: Workshop, size: str, pairs: int, seed: int, families: int) -> Answers:
    from ..evaluation.policies.instructions import follow

    lm = instructed(shop, size, pairs, seed, families)
    found = {}
    for family, rows in follow(lm, UNSEEN, count=shop.budget.asked, start=ASKED_FROM).items():
        assert rows.chosen is not None, f"{family} has no options"
        found[family] = {"exact": rows.exact.tolist(), "chosen": rows.chosen.tolist(), "chance": rows.chance}
    return found


def by_post(found: Answers, way: str, families: Sequence[str] = UNSEEN) -> Array:
    """(n,) the scores of the answers about each post, with families weighted equally."""
    return np.mean([_worth(found[family], way) for family in families], axis=0)


def _worth(rows: Mapping[str, Any], way: str) -> Array:
    if way == "written":
        return np.array(rows["exact"], dtype=np.float64)
    chosen, chance = np.array(rows["chosen"], dtype=np.float64), rows["chance"]
    return chosen if way == "likeliest" else (chosen - chance) / (1 - chance)


def share(values: ArrayLike) -> Interval:
    """Mean of S runs on n posts, for shares in 0-1: ``crossed_interval``, but no narrower than Wilson's for n posts.

    So even a share of 0 or 1 has an interval of positive width.
    """
    values = np.asarray(values, dtype=np.float64)
    crossed, wilson = crossed_interval(values), wilson_interval(float(values.mean()), values.shape[1])
    low, high = min(crossed["low"], wilson["low"]), max(crossed["high"], wilson["high"])
    return {"mean": crossed["mean"], "low": max(0.0, low), "high": min(1.0, high)}


def summary(runs: Sequence[Answers]) -> dict[str, Any]:
    """Each scoring's share with its interval over seeds and posts, and its mean by seed; the same for each family."""
    return {**_summary(runs, UNSEEN), "families": {family: _summary(runs, (family,)) for family in UNSEEN}}


def _summary(runs: Sequence[Answers], families: Sequence[str]) -> dict[str, Any]:
    of_way = {way: np.array([by_post(run, way, families) for run in runs]) for way in WAYS}
    return {
        **{way: (crossed_interval if way == "normalised" else share)(values) for way, values in of_way.items()},
        "chance": float(np.mean([runs[0][family]["chance"] for family in families])),
        "seeds": {way: values.mean(1).tolist() for way, values in of_way.items()},
    }


def gains(before: Sequence[Answers], after: Sequence[Answers]) -> dict[str, Interval]:
    """The gain of the runs after over those before, by scoring, paired by seed and post."""
    return {way: crossed_interval(_differences(before, after, way)) for way in WAYS}


def growth(small: tuple[Any, Any], large: tuple[Any, Any]) -> dict[str, Interval]:
    """How much larger the gain of the second pair of runs, before and after, is than that of the first."""
    return {way: crossed_interval(_differences(*large, way) - _differences(*small, way)) for way in WAYS}


def _differences(before: Sequence[Answers], after: Sequence[Answers], way: str) -> Array:
    return np.array([by_post(b, way) - by_post(a, way) for a, b in zip(before, after, strict=True)])


def shown(differences: Sequence[Interval]) -> bool | None:
    """Whether all differences are above 0; ``False`` if one is below, ``None`` if undecided."""
    if all(found["low"] > 0 for found in differences):
        return True
    return False if any(found["high"] < 0 for found in differences) else None


def draw_line(axis: Axes, labels: Sequence[str], found: Sequence[Interval], shift: float = 0.0, **look: Any) -> None:
    """Draw shares over labelled positions, in percent, with intervals; shifted a little where lines would meet."""
    low, mean, high = (100 * np.array([one[bound] for one in found]) for bound in ("low", "mean", "high"))
    places = np.arange(len(found))
    axis.set_xticks(places, list(labels))
    axis.errorbar(places + shift, mean, yerr=[mean - low, high - mean], **{"marker": "o", "capsize": 3, **look})
