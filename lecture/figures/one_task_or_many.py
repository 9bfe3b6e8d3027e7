"""``one_task_or_many``: tuning on many kinds of tasks rather than one generalises to unseen tasks."""

from __future__ import annotations

from pathlib import Path

from ...data.world.instructions import SEEN
from ...evaluation.reports import canvas
from ...evaluation.reports.formats import interval, percent, points
from ..figure import Figure, Finding, Numbers
from ..instructed import answers, draw_line, drawn, gains, shown, summary
from ..workshop import Workshop

COUNTS = (1, 4, len(SEEN))
"""Numbers of families to tune on; for each seed, every set contains the smaller ones."""
MEASURES = {"written": "Right answers, written", "likeliest": "Right option the likeliest"}


def measure(shop: Workshop) -> Numbers:
    """The largest size tuned on equally many pairs of one, four and all seen families, asked the unseen ones."""
    pairs, size = shop.budget.examples[-1], shop.largest
    runs = {0: answers(shop, size, 0), **{count: answers(shop, size, pairs, count) for count in COUNTS}}
    one, every = runs[COUNTS[0]], runs[COUNTS[-1]]
    return {
        "pairs": pairs,
        "posts": shop.budget.asked,
        "size": size,
        "drawn": [list(drawn(COUNTS[1], seed)) for seed in shop.seeds],
        "families": {str(count): summary(found) for count, found in runs.items()},
        "all_over_one": gains(one, every),
    }


def draw(numbers: Numbers, path: Path) -> None:
    """Shares of right answers over the number of families, with a point per seed next to the mean."""
    facts = f"{numbers['size']} parameters; {numbers['pairs']:,} synthetic pairs each; unseen families; 95 % intervals"
    figure = canvas.figure(10.6, 3.8, "One task or many", facts)
    rows = numbers["families"]
    labels = ["none" if count == "0" else count for count in rows]
    for axis, (way, title) in zip(figure.subplots(1, 2), MEASURES.items(), strict=True):
        for place, row in enumerate(rows.values()):
            by_seed = [100 * value for value in row["seeds"][way]]
            axis.plot([place + 0.1] * len(by_seed), by_seed, ".", color="#8a97a3", label=None if place else "one seed")
        draw_line(axis, labels, [row[way] for row in rows.values()], color="#1f6fb2", label="mean")
        chance = rows["0"]["chance"] if way == "likeliest" else 0.0
        axis.axhline(100 * chance, color="#5f6c78", linestyle="--", linewidth=1, label="random guess")
        canvas.style(axis, title, "families of tasks tuned on", "% of instructions of unseen families")
    canvas.legend(figure, axis)
    canvas.save(figure, path)


def table(numbers: Numbers) -> tuple[list[str], list[list[str]]]:
    """One row for each number of families, then chance."""
    rows = [
        [count if count != "0" else "none (pretrained)", *(interval(row[way]) for way in MEASURES)]
        for count, row in numbers["families"].items()
    ]
    return ["families tuned on", *MEASURES.values()], [
        *rows,
        ["random guess", percent(0.0), percent(numbers["families"]["0"]["chance"])],
    ]


def finding(numbers: Numbers) -> Finding:
    """Whether tuning on all families beats tuning on one, by what is written and by the likeliest option."""
    more = numbers["all_over_one"]
    values = {f"{way}_more": points(more[way]) for way in MEASURES}
    for way in MEASURES:
        shares = (percent(row[way]["mean"]) for row in numbers["families"].values())
        values[f"{way}_shares"] = ", ".join(shares)
    counts = ", ".join(count for count in numbers["families"] if count != "0")
    return Finding(shown([more[way] for way in MEASURES]), {**values, "counts": counts})


FIGURE = Figure("one_task_or_many", measure, draw, table, finding)
