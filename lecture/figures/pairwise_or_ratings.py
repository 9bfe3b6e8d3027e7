"""``pairwise_or_ratings``: whether comparisons train a better preference model than ratings at equal label cost."""

from __future__ import annotations

from pathlib import Path

from ...evaluation.reports.formats import interval, points
from ..asked import judgements, learners, points_folder, settings
from ..figure import Figure, Finding, Numbers
from ..reward_study import WAYS, pairwise_or_ratings
from ..study_plots import draw_pairwise_or_ratings
from ..workshop import Workshop


def measure(shop: Workshop) -> Numbers:
    """Accuracy of the largest size from comparisons, and from ratings of as many texts."""

    def make() -> Numbers:
        learner = learners(shop)[shop.largest]
        return pairwise_or_ratings(shop.largest, learner, judgements(shop), settings(shop), points_folder(shop))

    return dict(shop.remember(f"pairwise_or_ratings-{len(shop.seeds)}-seeds", make))


def draw(numbers: Numbers, path: Path) -> None:
    """Accuracy over label cost, a line per way of asking."""
    seeds, posts = (numbers["settings"][key] for key in ("seeds", "test_posts"))
    facts = f"{numbers['model']} parameters; {posts} synthetic posts, simulated people; seeds: {seeds}; bands: 95 %"
    draw_pairwise_or_ratings(numbers, path, facts)


def table(numbers: Numbers) -> tuple[list[str], list[list[str]]]:
    """One row for each number of texts read, one column for each way to ask."""
    rows = [
        [f"{row[0]['texts']:,}", *(interval(point["accuracy"]) for point in row)]
        for row in zip(*numbers["ways"].values(), strict=True)
    ]
    return ["texts read", *(WAYS[way] for way in numbers["ways"])], rows


def finding(numbers: Numbers) -> Finding:
    """Whether comparisons are ahead of ratings at every number of texts read, intervals of the difference above 0."""
    leads = [point["lead"] for point in numbers["ways"]["ratings"]]
    ahead, behind = sum(lead["low"] > 0 for lead in leads), sum(lead["high"] < 0 for lead in leads)
    values = {
        "ahead": str(ahead),
        "behind": str(behind),
        "amounts": str(len(leads)),
        "texts": f"{numbers['ways']['ratings'][-1]['texts']:,}",
        "lead": points(leads[-1], 1),
        "by_person": points(numbers["ways"]["ratings_by_person"][-1]["lead"], 1),
        "one_scale": points(numbers["ways"]["ratings_one_scale"][-1]["lead"], 1),
    }
    return Finding(True if ahead == len(leads) else False if behind else None, values)


FIGURE = Figure("pairwise_or_ratings", measure, draw, table, finding)
