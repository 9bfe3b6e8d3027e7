"""How good a preference model gets: by number of comparisons and size, and from comparisons or from ratings.

Each point is a model trained on what simulated people said about some posts, drawn by a seed; larger shares contain the
smaller ones of the same seed. Accuracy is the expected accuracy over the labels of held-out posts. Each point has its
own file, and a stopped study continues from those.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from ..data.splits import split_prompts
from ..evaluation.win_rate import Interval, crossed_interval
from ..files import write_json
from ..rewards.accuracy import leads
from ..rewards.annotators import Simulated
from ..rewards.breakdown import by_annotator, by_length_difference
from ..rewards.calibration import expected_calibration_error
from ..rewards.preference_model import PreferenceModel
from ..rewards.rating_training import train_on_ratings
from ..rewards.ratings import standardised
from ..rewards.training import calibrate_temperature, train_preference_model
from ..typed_json import read_object
from .simulated_people import TEXTS_OF_A_COMPARISON, Judged, Judgements, expected_right, share

Array = NDArray[np.float64]
MakeModel = Callable[[int], PreferenceModel]
"""A new, untrained model; the seed initialises its head."""

_MEASURED = {"made_by": dict, "accuracy": float, "by_prompt": list[float], "parameters": int}
_AGAIN = "remove it to measure it again"

HELD_OUT = 0.1
"""Share of the judgements that choose the step and set the temperature; they count as cost like the others."""
HELD_OUT_AT_LEAST = 400
"""Judgements to hold out if there are enough: 50 determine a temperature too poorly."""
HELD_OUT_AT_MOST = 0.4
"""Share to hold out if there are not."""

WAYS = {
    "comparisons": "comparisons",
    "ratings": "ratings, 1 to 7",
    "ratings_by_person": "ratings, each person's scale taken out",
    "ratings_one_scale": "ratings by people who share one scale",
}
"""Ways of asking for preferences, with their labels."""


@dataclass(frozen=True)
class StudySettings:
    """Amounts and training of a study.

    Attributes:
        counts: numbers of comparisons.
        seeds: number of repetitions.
        test_posts: held-out posts, from which all pairs are taken.
        epochs: passes over the comparisons, but at least ``min_steps`` optimiser steps.
        min_steps: see ``epochs``.
        batch_size: comparisons per step, and half the ratings per step: equally many texts.
        learning_rate: the peak.
    """

    counts: tuple[int, ...] = (500, 1000, 2000, 4000, 8000, 16000)
    seeds: int = 3
    test_posts: int = 500
    epochs: float = 3.0
    min_steps: int = 150
    batch_size: int = 32
    learning_rate: float = 5e-4

    def training(self, texts: int, batch_size: int) -> dict[str, Any]:
        """Options for training on judgements of this many texts; each step reads twice ``batch_size``."""
        steps = round(self.epochs * texts / (TEXTS_OF_A_COMPARISON * self.batch_size))
        return {
            "max_steps": max(self.min_steps, steps),
            "batch_size": batch_size,
            "learning_rate": self.learning_rate,
        }


def reward_models(
    models: Mapping[str, MakeModel], judgements: Judgements, settings: StudySettings, folder: Path
) -> dict[str, Any]:
    """Accuracy and calibration by number of comparisons, for models of several sizes.

    Args:
        models: by name; the smallest first.
        judgements: from :func:`collect`.
        settings: as there.
        folder: of the points.

    Returns:
        ``people`` (``agreement``, ``ceiling``, ``longer`` on the test comparisons), ``settings``, ``larger`` (by how
        much the last model's accuracy is above the first one's at the most comparisons), and ``models``: by name
        ``parameters``, ``points`` and ``gain``. A point has ``n`` and, over the seeds, ``accuracy`` (mean with a 95 %
        interval for other seeds and other posts), ``ece_before`` and ``ece_after`` temperature scaling,
        ``by_annotator`` and ``by_length`` (accuracy on the labels, see ``rewards.breakdown``). The gain is the increase
        in accuracy from the fewest to the most comparisons. Differences are paired by prompt.
    """
    grid = [(name, n) for name in models for n in settings.counts]
    runs: dict[str, list[list[dict[str, Any]]]] = {name: [] for name in models}
    for name, n in tqdm(grid, desc="preference models", unit="point"):
        runs[name].append(_points(name, "comparisons", n, models[name], judgements, settings, folder))
    return {
        "people": judgements.people,
        "settings": asdict(settings),
        "larger": _lead(runs[list(models)[-1]][-1], runs[next(iter(models))][-1]),
        "models": {
            name: {
                "parameters": runs[name][-1][0]["parameters"],
                "points": [_over_seeds(n, point) for n, point in zip(settings.counts, runs[name], strict=True)],
                "gain": _lead(runs[name][-1], runs[name][0]),
            }
            for name in models
        },
    }


def pairwise_or_ratings(
    name: str, make_model: MakeModel, judgements: Judgements, settings: StudySettings, folder: Path
) -> dict[str, Any]:
    """Accuracy of one model from comparisons and from ratings, at equal label cost.

    Cost can be counted in two ways: two ratings read as many texts as one comparison, but are twice as many judgements.
    Every point reports both.

    Args:
        name: of the model; as in :func:`reward_models`, whose points are reused if present.
        make_model: makes it.
        judgements: from :func:`collect`.
        settings: as there.
        folder: of the points.

    Returns:
        ``people``, ``settings``, ``model``, ``parameters`` and ``ways``: by key of ``WAYS`` the points, each with
        ``texts`` read, ``judgements`` made, ``accuracy``, and ``lead``: the lead over it of comparisons of as many
        texts, paired by prompt.
    """
    grid = [(way, n) for way in WAYS for n in settings.counts]
    ways: dict[str, list[dict[str, Any]]] = {way: [] for way in WAYS}
    compared: dict[int, list[dict[str, Any]]] = {}
    for way, n in tqdm(grid, desc="comparisons or ratings", unit="point"):
        runs = _points(name, way, n, make_model, judgements, settings, folder)
        found, texts = _over_seeds(n, runs), TEXTS_OF_A_COMPARISON * n
        cost = {"texts": texts, "judgements": n if way == "comparisons" else texts}
        lead = _lead(compared.setdefault(n, runs), runs)
        ways[way].append({**cost, "accuracy": found["accuracy"], "seeds": found["seeds"], "lead": lead})
    return {
        "people": judgements.people,
        "settings": asdict(settings),
        "model": name,
        "parameters": runs[0]["parameters"],
        "ways": ways,
    }


def _points(
    name: str,
    way: str,
    n: int,
    make_model: MakeModel,
    judgements: Judgements,
    settings: StudySettings,
    folder: Path,
) -> list[dict[str, Any]]:
    """One point for every seed: read, or measured and written."""
    runs = []
    for seed in range(settings.seeds):
        file = folder / f"{name}-{way}-{n}-seed{seed}.json".replace(" ", "-")
        made_by = {**asdict(settings), "counts": n, "seeds": seed, "held_out": held_out_share(n)}
        found = read_object(file, _MEASURED, step=_AGAIN) if file.is_file() else {}
        if found.get("made_by") != made_by:
            began = time.perf_counter()
            measure = _from_comparisons if way == "comparisons" else _from_ratings
            pm = make_model(seed)
            found = measure(way, n, pm, judgements, settings, seed)
            size = sum(parameter.numel() for parameter in pm.model.parameters())
            found |= {"parameters": size, "made_by": made_by, "seconds": time.perf_counter() - began}
            write_json(file, found)
        runs.append(found)
    return runs


def _from_comparisons(
    way: str, n: int, pm: PreferenceModel, judgements: Judgements, settings: StudySettings, seed: int
) -> dict[str, Any]:
    """Train on n comparisons and measure on the test ones."""
    train, held_out = _divide(share(judgements.comparisons, n, seed), held_out_share(n), seed)
    options = settings.training(TEXTS_OF_A_COMPARISON * n, settings.batch_size)
    train_preference_model(pm, train, eval_comparisons=held_out, seed=seed, **options)
    test = judgements.test.comparisons
    lead, tie = leads(pm, test), np.zeros(len(test), dtype=bool)
    temperature = calibrate_temperature(pm, held_out)
    return _accuracy(lead, judgements.test) | {
        "by_annotator": {who: row["mean"] for who, row in (by_annotator(lead, test) or {}).items()},
        "by_length": [{**row, "accuracy": row["accuracy"]["mean"]} for row in by_length_difference(lead, test)],
        "temperature": temperature,
        "ece_before": expected_calibration_error(lead, tie),
        "ece_after": expected_calibration_error(lead / temperature, tie),
    }


def _from_ratings(
    way: str, n: int, pm: PreferenceModel, judgements: Judgements, settings: StudySettings, seed: int
) -> dict[str, Any]:
    """Train on ratings of as many texts as n comparisons read, and measure on the test comparisons."""
    rated = share(judgements.ratings[way], TEXTS_OF_A_COMPARISON * n, seed)
    scaled = standardised(rated, by_annotator=way == "ratings_by_person")
    train, held_out = _divide(scaled, held_out_share(n), seed)
    options = settings.training(len(rated), TEXTS_OF_A_COMPARISON * settings.batch_size)
    train_on_ratings(pm, train, eval_ratings=held_out, seed=seed, **options)
    return _accuracy(leads(pm, judgements.test.comparisons), judgements.test)


def held_out_share(n: int) -> float:
    """The share held out of n comparisons, and of ratings of as many texts.

    >>> [held_out_share(n) for n in (500, 2000, 16000)]
    [0.4, 0.2, 0.1]
    """
    return min(HELD_OUT_AT_MOST, max(HELD_OUT, HELD_OUT_AT_LEAST / n))


def _divide(judged: Sequence[Judged], out: float, seed: int) -> tuple[list[Judged], list[Judged]]:
    """The training part, and the share ``out`` that chooses the step; no prompt is in both."""
    sides = split_prompts([item.prompt for item in judged], {"train": 1 - out, "held_out": out}, seed)
    kept: dict[str, list[Judged]] = {"train": [], "held_out": []}
    for item, side in zip(judged, sides, strict=True):
        kept[side].append(item)
    return kept["train"], kept["held_out"]


def _accuracy(lead: Array, test: Simulated) -> dict[str, Any]:
    """Expected accuracy, overall and for every prompt."""
    right = expected_right(lead, test.probabilities)
    by_prompt = list(_means([comparison.prompt for comparison in test.comparisons], right))
    return {"accuracy": float(right.mean()), "by_prompt": [round(value, 5) for value in by_prompt]}


def _means(groups: Sequence[str], values: Array) -> Iterator[float]:
    """The mean of the values of each group, in order of appearance."""
    _, first, number = np.unique(groups, return_index=True, return_inverse=True)
    sums, counts = np.bincount(number, weights=values), np.bincount(number)
    yield from (sums / counts)[np.argsort(first)].tolist()


def _over_seeds(n: int, runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Means over the seeds; the accuracy with its interval, with every prompt weighted equally."""
    found: dict[str, Any] = {"n": n}
    found["accuracy"] = crossed_interval([run["by_prompt"] for run in runs])
    for key in ("ece_before", "ece_after"):
        if key in runs[0]:
            found[key] = float(np.mean([run[key] for run in runs]))
    if "by_length" in runs[0]:
        people, ranges = runs[0]["by_annotator"], runs[0]["by_length"]
        found["by_annotator"] = {who: float(np.mean([run["by_annotator"][who] for run in runs])) for who in people}
        found["by_length"] = [
            {**row, "accuracy": float(np.mean([run["by_length"][place]["accuracy"] for run in runs]))}
            for place, row in enumerate(ranges)
        ]
    found["seeds"] = [run["accuracy"] for run in runs]
    return found


def _lead(a: Sequence[Mapping[str, Any]], b: Sequence[Mapping[str, Any]]) -> Interval:
    """Accuracy of the runs a minus that of the runs b, seed by seed and prompt by prompt."""
    return crossed_interval([np.subtract(x["by_prompt"], y["by_prompt"]) for x, y in zip(a, b, strict=True)])
