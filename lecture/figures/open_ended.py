"""``open_ended``: there is no single right answer, so similarity to one reference does not measure quality."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np

from ...data.world import oracle, post
from ...data.world.drafts import stable_hash
from ...data.world.summaries import complete
from ...evaluation.reports import canvas
from ...evaluation.reports.formats import estimate, number
from ...evaluation.win_rate import mean_interval
from ...rewards.functions import rouge_l
from ...rewards.gold import gold_score
from ..figure import Figure, Finding, Numbers
from ..workshop import Workshop

TELLINGS = 12
"""Summaries of each post."""
EQUAL = 0.05
"""Gold scores closer than this count as equally good."""


def measure(shop: Workshop) -> Numbers:
    """ROUGE-L to one summary of the same post, for summaries that gold ranks equally."""

    def make() -> Numbers:
        rows = [row for index in range(shop.budget.posts) if (row := _one_post(index)) is not None]
        spreads = [row["highest"] - row["lowest"] for row in rows]
        return {"posts": len(rows), "spread": mean_interval(spreads), "rows": rows}

    return shop.remember("open_ended", make)


def _one_post(index: int) -> dict[str, Any] | None:
    """The equally good summaries of a held-out post, the farthest and the nearest in ROUGE-L."""
    item = post("test", index)
    draw = random.Random(stable_hash("open-ended", index)).random
    texts = list(dict.fromkeys([oracle(item), *(complete(item.draft, draw) for _ in range(TELLINGS))]))
    facts = item.facts.as_dict()
    golds = [gold_score(facts, item.distractors, text).total for text in texts]
    level = [text for text, value in zip(texts[1:], golds[1:], strict=True) if abs(value - golds[0]) < EQUAL]
    if len(level) < 2:
        return None
    likeness = rouge_l([item.text] * len(level), level, reference=[texts[0]] * len(level))
    order = np.argsort(likeness)
    return {
        "reference": texts[0],
        "nearest": level[order[-1]],
        "farthest": level[order[0]],
        "highest": float(max(likeness)),
        "lowest": float(min(likeness)),
        "gold": golds[0],
    }


def draw(numbers: Numbers, path: Path) -> None:
    """For every post, the least and the most similar of its equally good summaries."""
    rows = sorted(numbers["rows"], key=lambda row: row["lowest"])
    figure = canvas.figure(6.4, 3.8, "Equally good, and how alike", f"{len(rows)} held-out synthetic posts")
    axis = figure.subplots()
    places = np.arange(len(rows))
    low, high = (np.array([row[key] for row in rows]) for key in ("lowest", "highest"))
    axis.vlines(places, low, high, color="#b9c1c9", linewidth=1)
    axis.plot(places, high, ".", color="#2f8f5b", label="most like the reference")
    axis.plot(places, low, ".", color="#b8405e", label="least like the reference")
    axis.set_ylim(0, 1)
    canvas.style(axis, "Summaries of equal gold score", "posts, sorted", "ROUGE-L to one reference")
    axis.legend(fontsize=8, frameon=False)
    canvas.save(figure, path)


def table(numbers: Numbers) -> tuple[list[str], list[list[str]]]:
    """The post whose equally good summaries are least alike."""
    row = max(numbers["rows"], key=lambda row: row["highest"] - row["lowest"])
    return ["text", "ROUGE-L", "gold"], [
        [row["reference"], "1.00", number(row["gold"])],
        [row["nearest"], number(row["highest"]), number(row["gold"])],
        [row["farthest"], number(row["lowest"]), number(row["gold"])],
    ]


def finding(numbers: Numbers) -> Finding:
    """Whether equally good texts differ by a tenth or more in similarity to one reference."""
    spread = numbers["spread"]
    return Finding(spread["low"] > 0.1, {"spread": estimate(spread), "posts": str(numbers["posts"])})


FIGURE = Figure("open_ended", measure, draw, table, finding)
