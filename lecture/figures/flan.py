"""``flan``: the gain from instruction fine-tuning on unseen families, by model size; does the gain grow?"""

from __future__ import annotations

from pathlib import Path

from ...evaluation.reports import canvas
from ...evaluation.reports.formats import interval, points
from ..figure import Figure, Finding, Numbers
from ..instructed import answers, draw_line, gains, growth, shown, summary
from ..workshop import Workshop

MEASURES = {"normalised": "by the likeliest option", "written": "by what is written"}
"""Of the average: both are 0 for a guess and 1 where all is right."""
COLOURS = {"pretrained": "#8a97a3", "tuned": "#1f6fb2"}
NAMES = {"pretrained": "pretrained", "tuned": "instruction-tuned"}


def measure(shop: Workshop) -> Numbers:
    """The normalised average over the unseen families of every size, pretrained and tuned on the most pairs."""
    pairs = shop.budget.examples[-1]
    runs = {size: (answers(shop, size, 0), answers(shop, size, pairs)) for size in shop.sizes}
    return {
        "pairs": pairs,
        "posts": shop.budget.asked,
        "sizes": {
            size: {"pretrained": summary(before), "tuned": summary(after), "gain": gains(before, after)}
            for size, (before, after) in runs.items()
        },
        "growth": growth(runs[shop.sizes[0]], runs[shop.largest]),
    }


def draw(numbers: Numbers, path: Path) -> None:
    """Both models over size; left by likelihood, right by generation."""
    facts = f"{numbers['pairs']:,} synthetic pairs; unseen families; {numbers['posts']} posts each; 95 % intervals"
    figure = canvas.figure(10.6, 3.8, "What instruction tuning gains, by model size", facts)
    for axis, (way, told) in zip(figure.subplots(1, 2, sharey=True), MEASURES.items(), strict=True):
        for shift, (model, name) in zip((-0.04, 0.04), NAMES.items(), strict=True):
            found = [row[model][way] for row in numbers["sizes"].values()]
            draw_line(axis, list(numbers["sizes"]), found, shift, color=COLOURS[model], label=name)
        axis.axhline(0, color="#5f6c78", linestyle="--", linewidth=1, label="random guess")
        canvas.style(axis, f"Normalised average {told}", "parameters", "% of the way from a guess to all right")
    canvas.legend(figure, axis)
    canvas.save(figure, path)


def table(numbers: Numbers) -> tuple[list[str], list[list[str]]]:
    """One row for each size and measure."""
    rows = [
        [size, told, interval(row["pretrained"][way]), interval(row["tuned"][way]), points(row["gain"][way])]
        for way, told in MEASURES.items()
        for size, row in numbers["sizes"].items()
    ]
    return ["size", "measured", *NAMES.values(), "gain, points"], rows


def finding(numbers: Numbers) -> Finding:
    """Whether both models are apart at every size, by either measure, and the largest size gains more."""
    rows = list(numbers["sizes"].values())
    apart = {way: sum(row["pretrained"][way]["high"] < row["tuned"][way]["low"] for row in rows) for way in MEASURES}
    differences = [row["gain"][way] for row in rows for way in MEASURES]
    agrees = shown([*differences, *(numbers["growth"][way] for way in MEASURES)])
    if agrees and min(apart.values()) < len(rows):
        agrees = None
    values = {"sizes": str(len(rows))}
    for way in MEASURES:
        values[f"{way}_above"] = str(sum(row["gain"][way]["low"] > 0 for row in rows))
        values[f"{way}_gains"] = ", ".join(f"{100 * row['gain'][way]['mean']:+.1f}" for row in rows)
        values[f"{way}_apart"], values[f"{way}_growth"] = str(apart[way]), points(numbers["growth"][way])
    return Finding(agrees, values)


FIGURE = Figure("flan", measure, draw, table, finding)
