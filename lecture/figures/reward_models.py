"""``reward_models``: how good a preference model gets by comparisons and size, compared with people and the ceiling."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ...evaluation.reports.formats import interval, percent, points
from ..asked import judgements, learners, points_folder, settings
from ..figure import Figure, Finding, Numbers
from ..reward_study import reward_models
from ..study_plots import draw_reward_models
from ..workshop import Workshop

CALIBRATED = 0.05
"""Expected calibration error below which a model counts as calibrated."""
PEOPLE = {"ceiling": "best possible", "agreement": "one person by another", "longer": "the longer one"}


def measure(shop: Workshop) -> Numbers:
    """Accuracy and calibration on held-out comparisons, of every size at every number of comparisons."""

    def make() -> Numbers:
        return reward_models(learners(shop), judgements(shop), settings(shop), points_folder(shop))

    return dict(shop.remember(f"reward_models-{len(shop.seeds)}-seeds", make))


def draw(numbers: Numbers, path: Path) -> None:
    """Accuracy over comparisons, a line per size, with people and the noise ceiling."""
    seeds, posts = (numbers["settings"][key] for key in ("seeds", "test_posts"))
    facts = f"{posts} synthetic posts, simulated people; seeds: {seeds}; bands: 95 %"
    draw_reward_models(numbers, path, facts)


def table(numbers: Numbers) -> tuple[list[str], list[list[str]]]:
    """One row for each point, then the people, then the last model of the largest size where labels differ."""
    rows = [
        [name, f"{row['n']:,}", interval(row["accuracy"]), percent(row["ece_before"], 1), percent(row["ece_after"], 1)]
        for name, model in numbers["models"].items()
        for row in model["points"]
    ]
    rows += [[name, "", percent(numbers["people"][key], 1), "", ""] for key, name in PEOPLE.items()]
    size, model = list(numbers["models"].items())[-1]
    last = model["points"][-1]
    shares = sorted(last["by_annotator"].values())
    parts = {
        **{_length(row): row["accuracy"] for row in last["by_length"]},
        **{f"{which} of {len(shares)} annotators": value for which, value in _spread(shares).items()},
    }
    rows += [[f"{size}, {what}", f"{last['n']:,}", percent(value), "", ""] for what, value in parts.items()]
    return ["size", "comparisons", "accuracy", "ECE before", "ECE after calibration"], rows


def _length(row: Numbers) -> str:
    """A range of length differences in words."""
    low, high = sorted((abs(row["from"]), abs(row["to"])))
    if high == 0:
        return "chosen text as long as the other"
    words = f"{high}" if low == high else f"{low} to {high}"
    return f"chosen text {words} words {'shorter' if row['from'] < 0 else 'longer'}"


def _spread(shares: list[float]) -> dict[str, float]:
    """The lowest, the middle and the highest."""
    return {"lowest": shares[0], "median": float(np.median(shares)), "highest": shares[-1]} if shares else {}


def finding(numbers: Numbers) -> Finding:
    """Whether accuracy rises with data at every size, and with size, and every point is calibrated after scaling."""
    models, larger = numbers["models"], numbers["larger"]
    gains = [model["gain"] for model in models.values()]
    rises = sum(gain["low"] > 0 for gain in gains)
    errors = [row["ece_after"] for model in models.values() for row in model["points"]]
    worst = max(errors)
    shows = rises == len(models) and larger["low"] > 0 and worst < CALIBRATED
    against = any(gain["high"] < 0 for gain in [*gains, larger]) or worst >= CALIBRATED
    last = list(models.values())[-1]
    values = {
        "rises": str(rises),
        "sizes": str(len(models)),
        "gain": points(gains[-1], 1),
        "larger": points(larger, 1),
        "accuracy": interval(last["points"][-1]["accuracy"]),
        "ceiling": percent(numbers["people"]["ceiling"], 1),
        "agreement": percent(numbers["people"]["agreement"], 1),
        "calibrated": str(sum(error < CALIBRATED for error in errors)),
        "points": str(len(errors)),
        "worst": percent(worst, 1),
    }
    return Finding(True if shows else False if against else None, values)


FIGURE = Figure("reward_models", measure, draw, table, finding)
