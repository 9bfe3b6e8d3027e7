"""``less_human_data``: human labels needed for the same gold by RLHF, AI feedback and fine-tuning on own outputs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ...evaluation.reports import canvas
from ...evaluation.reports.formats import NONE, estimate, number
from ...evaluation.win_rate import Interval, crossed_interval
from ...models.folder import locate
from ...typed_json import read_object
from ..figure import Figure, Finding, Numbers
from ..judged import by_post
from ..proxies import AI, PEOPLE, proxy
from ..workshop import Workshop

WAYS = {"rlhf": "RLHF", "own": "fine-tuning on own outputs"}
"""Methods that use new human comparisons; AI feedback uses none."""
AGENTS = {"rlhf": "reinforce", "own": "expert_iteration"}
COLOURS = {"rlhf": "#1f6fb2", "own": "#d9772b", "ai": "#2f8f5b"}
SHARE = 0.9
"""The share of RLHF's gain with the most labels that every method must reach."""


def measure(shop: Workshop) -> Numbers:
    """Each method's gain in gold over the start policy on held-out posts, by number of new human comparisons."""
    ways = {
        way: [_over_seeds(shop, f"{way}-{n}", partial(_by_people, way, n)) | {"n": n} for n in shop.budget.labels]
        for way in WAYS
    }
    wanted = SHARE * ways["rlhf"][-1]["gain"]["mean"]
    return {
        "ways": ways,
        "ai": _over_seeds(shop, "ai", _by_ai),
        "annotator": _labels_behind(shop),
        "wanted": wanted,
        "needed": {way: _needed_by_seed(rows, wanted) for way, rows in ways.items()},
    }


def _needed_by_seed(rows: Sequence[dict[str, Any]], wanted: float) -> list[float | None]:
    labels, runs = [row["n"] for row in rows], range(len(rows[0]["seeds"]))
    return [needed(labels, [row["seeds"][run] for row in rows], wanted) for run in runs]


def _over_seeds(shop: Workshop, name: str, train: Any) -> dict[str, Any]:
    """Gain in gold over the start policy's samples of the same seed, with its interval for other seeds and posts."""
    gains = []
    for seed in shop.seeds:
        start = shop.remember(f"less_human_data-start-seed{seed}", partial(_start, shop, seed))
        gold = shop.remember(f"less_human_data-{name}-seed{seed}", partial(_judged, shop, train, seed))
        gains.append(np.subtract(gold, start))
    return {"gain": crossed_interval(gains), "seeds": [float(gain.mean()) for gain in gains]}


def _start(shop: Workshop, seed: int) -> list[float]:
    return by_post(shop, shop.model(shop.largest, "start"), seed)["gold_score"]


def _judged(shop: Workshop, train: Any, seed: int) -> list[float]:
    return by_post(shop, train(shop, seed), seed)["gold_score"]


def _by_people(way: str, n: int, shop: Workshop, seed: int) -> Any:
    """A policy trained against a preference model that learned from n people's comparisons."""
    pm = proxy(shop, n, seed, by=PEOPLE)
    return shop.trained(f"labels-{way}-{n}", shop.largest, seed, reward=pm, agent=AGENTS[way])[0]


def _by_ai(shop: Workshop, seed: int) -> Any:
    """A policy trained against a smaller preference model that learned from the largest one's preferences."""
    pm = proxy(shop, shop.budget.labels[-1], seed, by=AI, size=shop.sizes[-2])
    return shop.trained("labels-ai", shop.largest, seed, reward=pm)[0]


def _labels_behind(shop: Workshop) -> int:
    """How many comparisons the AI annotator itself was trained on."""
    build = locate(str(shop.path(shop.largest, "preference"))) / "build.json"
    step = "make the preference model again with prefgym build-assets"
    return int(read_object(build, {"comparisons": int}, step=step)["comparisons"])


def needed(labels: Sequence[int], gains: Sequence[float], wanted: float) -> float | None:
    """The number of labels at which a gain is first reached, interpolated in the logarithm between two numbers.

    Args:
        labels: numbers of labels, fewest first.
        gains: the gain with each of them.
        wanted: the gain.

    Returns:
        The fewest labels if they are already enough, None if the most are not.
    """
    for place, gain in enumerate(gains):
        if gain >= wanted:
            if place == 0:
                return float(labels[0])
            before, low, high = gains[place - 1], math.log(labels[place - 1]), math.log(labels[place])
            return math.exp(low + (high - low) * (wanted - before) / (gain - before))
    return None


def over_seeds(found: Sequence[float | None]) -> Interval | None:
    """Geometric mean of the labels that the seeds needed, with a 95 % interval; None unless all succeeded."""
    if any(value is None for value in found):
        return None
    logs = crossed_interval([[math.log(value)] for value in found if value is not None])
    return {end: math.exp(value) for end, value in logs.items()}


def draw(numbers: Numbers, path: Path) -> None:
    """Gain in gold over human comparisons; AI feedback, which needs none, as a band."""
    figure = canvas.figure(7.6, 4.2, "Gold by human labels", "synthetic posts; 95 % intervals over seeds and posts")
    axis = figure.subplots()
    for way, name in WAYS.items():
        rows = numbers["ways"][way]
        low, mean, high = (np.array([row["gain"][end] for row in rows]) for end in ("low", "mean", "high"))
        look: dict[str, Any] = {"marker": "o", "capsize": 3, "color": COLOURS[way], "label": name}
        axis.errorbar([row["n"] for row in rows], mean, yerr=[mean - low, high - mean], **look)
    ai = numbers["ai"]["gain"]
    axis.axhspan(ai["low"], ai["high"], color=COLOURS["ai"], alpha=0.15, linewidth=0)
    axis.axhline(ai["mean"], color=COLOURS["ai"], label="AI feedback: no new human label")
    axis.axhline(numbers["wanted"], color="#5f6c78", linestyle="--", linewidth=1, label="gold asked for")
    axis.set_xscale("log")
    counts = [row["n"] for row in numbers["ways"]["rlhf"]]
    axis.set_xticks(counts, [f"{n:,}" for n in counts])
    axis.minorticks_off()
    canvas.style(axis, "", "new human comparisons, log scale", "gain in gold over the start policy")
    canvas.legend(figure, axis)
    canvas.save(figure, path)


def table(numbers: Numbers) -> tuple[list[str], list[list[str]]]:
    """One row for each way and number of labels, and what each needs."""
    rows = [
        [name, f"{row['n']:,}", estimate(row["gain"]), ""] for way, name in WAYS.items() for row in numbers["ways"][way]
    ]
    rows.append([f"AI feedback ({numbers['annotator']:,} of its own)", "0", estimate(numbers["ai"]["gain"]), ""])
    for way, name in WAYS.items():
        rows.append([f"{name}: labels needed", "", f"{number(numbers['wanted'])} asked", _said(numbers["needed"][way])])
    return ["way", "new human comparisons", "gain in gold", "needed"], rows


def _said(found: Sequence[float | None]) -> str:
    """Labels needed in words: an interval, or how many seeds never succeeded."""
    whole = over_seeds(found)
    if whole is not None:
        return estimate(whole, 0)
    never = sum(value is None for value in found)
    return "never" if never == len(found) else f"never in {never} of {len(found)} seeds"


def finding(numbers: Numbers) -> Finding:
    """Whether AI feedback, with no new human labels, reaches the gold for which RLHF needs many."""
    ai, wanted = numbers["ai"]["gain"], numbers["wanted"]
    reached = {way: [n for n in found if n is not None] for way, found in numbers["needed"].items()}
    values = {
        "share": f"{100 * SHARE:.0f} %",
        "wanted": number(wanted),
        "most": f"{numbers['ways']['rlhf'][-1]['n']:,}",
        "ai": estimate(ai),
        "annotator": f"{numbers['annotator']:,}",
        "seeds": str(len(numbers["needed"]["rlhf"])),
    }
    for way, found in reached.items():
        whole = over_seeds(numbers["needed"][way])
        values |= {way: NONE if whole is None else estimate(whole, 0), f"{way}_seeds": str(len(found))}
    agrees = None if wanted <= 0 else True if ai["low"] >= wanted else False if ai["high"] < wanted else None
    return Finding(agrees, values)


FIGURE = Figure("less_human_data", measure, draw, table, finding)
