"""``data_and_scale``: how many examples a model is tuned on, and how large it is, are what matters."""

from __future__ import annotations

from pathlib import Path

from ...evaluation.reports import canvas
from ...evaluation.reports.formats import interval, points
from ..figure import Figure, Finding, Numbers
from ..instructed import answers, draw_line, gains, shown, summary
from ..workshop import Workshop

MEASURES = {"written": "Right answers, written", "likeliest": "Right option the likeliest"}
COLOURS = ("#d9a441", "#2f8f5b", "#1f6fb2", "#7a55a8")


def measure(shop: Workshop) -> Numbers:
    """Every size tuned on every number of pairs, asked the unseen families."""
    amounts = (0, *shop.budget.examples)
    runs = {size: {pairs: answers(shop, size, pairs) for pairs in amounts} for size in shop.sizes}
    small, large, fewest, most = shop.sizes[0], shop.largest, amounts[1], amounts[-1]
    return {
        "posts": shop.budget.asked,
        "sizes": {size: {str(pairs): summary(found) for pairs, found in rows.items()} for size, rows in runs.items()},
        "data": gains(runs[large][fewest], runs[large][most]),
        "scale": gains(runs[small][most], runs[large][most]),
    }


def draw(numbers: Numbers, path: Path) -> None:
    """A line per size over the number of pairs; left by generation, right by likelihood."""
    facts = f"synthetic data; unseen families, {numbers['posts']} posts each; 95 % intervals over seeds and posts"
    figure = canvas.figure(10.6, 3.8, "Examples and model size", facts)
    for axis, (way, title) in zip(figure.subplots(1, 2), MEASURES.items(), strict=True):
        for place, (size, rows) in enumerate(numbers["sizes"].items()):
            labels = [f"{int(pairs):,}" for pairs in rows]
            found, colour = [row[way] for row in rows.values()], COLOURS[place % len(COLOURS)]
            draw_line(axis, labels, found, 0.05 * (place - 1), color=colour, label=f"{size} parameters")
        chance = rows["0"]["chance"] if way == "likeliest" else 0.0
        axis.axhline(100 * chance, color="#5f6c78", linestyle="--", linewidth=1, label="random guess")
        canvas.style(axis, title, "instruction pairs tuned on", "% of instructions of unseen families")
    canvas.legend(figure, axis)
    canvas.save(figure, path)


def table(numbers: Numbers) -> tuple[list[str], list[list[str]]]:
    """One row for each size and measure, a column for each number of pairs."""
    sizes = numbers["sizes"]
    rows = [
        [size, title, *(interval(row[way]) for row in of_size.values())]
        for way, title in MEASURES.items()
        for size, of_size in sizes.items()
    ]
    amounts = next(iter(sizes.values()))
    return ["size", "measured", *(f"{int(pairs):,} pairs" for pairs in amounts)], rows


def finding(numbers: Numbers) -> Finding:
    """Whether more examples help the largest size, and size helps at the most examples, by either measure."""
    differences = {f"{what}_{way}": numbers[what][way] for what in ("data", "scale") for way in MEASURES}
    of_size = next(iter(numbers["sizes"].values()))
    fewest, most = (f"{int(list(of_size)[place]):,}" for place in (1, -1))
    sizes = list(numbers["sizes"])
    told = {"fewest": fewest, "most": most, "small": sizes[0], "large": sizes[-1]}
    said = {key: points(found) for key, found in differences.items()}
    return Finding(shown(list(differences.values())), {**told, **said})


FIGURE = Figure("data_and_scale", measure, draw, table, finding)
