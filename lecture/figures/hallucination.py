"""``hallucination``: facts that a summary states and its post does not, for every kind of policy."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from ...evaluation.reports import canvas
from ...evaluation.reports.formats import estimate
from ...evaluation.win_rate import crossed_interval
from ..figure import Figure, Finding, Numbers
from ..judged import NAMES, POLICIES, by_post, draw_by_size, judged, references_invented
from ..workshop import Workshop

KEY = "invented_facts"


def measure(shop: Workshop) -> Numbers:
    """Invented facts per summary by size and stage, of the references, and of a policy trained without the KL term."""
    far = [shop.remember(f"hallucination-far-seed{seed}", partial(_far, shop, seed)) for seed in shop.seeds]
    return {
        "references": references_invented(shop),
        "over_optimised": crossed_interval([run[KEY] for run in far]),
        "sizes": {
            size: {policy: figures[KEY] for policy, figures in policies.items()}
            for size, policies in judged(shop).items()
        },
    }


def _far(shop: Workshop, seed: int) -> dict[str, list[float]]:
    return by_post(shop, shop.far(seed)[0], seed)


def draw(numbers: Numbers, path: Path) -> None:
    """Invented facts over size."""
    figure = canvas.figure(7.6, 3.8, "Invented facts", "synthetic posts; facts known by construction; 95 % intervals")
    axis = figure.subplots()
    draw_by_size(axis, numbers["sizes"])
    axis.axhline(numbers["references"]["mean"], color="#2f8f5b", linestyle="--", linewidth=1, label="references")
    axis.axhline(numbers["over_optimised"]["mean"], color="#b8405e", linestyle=":", linewidth=1.5, label="no KL term")
    # pretrained models invent tens of times as many as the others
    axis.set_yscale("symlog", linthresh=0.1)
    axis.yaxis.set_major_formatter("{x:g}")
    axis.set_ylim(0, 1.3 * max(row["high"] for values in numbers["sizes"].values() for row in values.values()))
    canvas.style(axis, "Facts stated that the post does not hold", "parameters", "per summary, log scale above 0.1")
    canvas.legend(figure, axis)
    canvas.save(figure, path)


def table(numbers: Numbers) -> tuple[list[str], list[list[str]]]:
    """One row for each size, then the references and the policy without a KL term."""
    rows = [[size, *(estimate(values[policy]) for policy in POLICIES)] for size, values in numbers["sizes"].items()]
    rows.append(["references", estimate(numbers["references"]), "", ""])
    rows.append(["RLHF without KL term", "", "", estimate(numbers["over_optimised"])])
    return ["size", *(NAMES[policy] for policy in POLICIES)], rows


def finding(numbers: Numbers) -> Finding:
    """Whether RLHF invents more facts than fine-tuning at any size, as the lecture warns, or fewer."""
    rows = list(numbers["sizes"].values())
    fewer = sum(row["trained"]["high"] < row["start"]["low"] for row in rows)
    more = sum(row["trained"]["low"] > row["start"]["high"] for row in rows)
    counts = {"more": str(more), "fewer": str(fewer), "sizes": str(len(rows))}
    agrees = True if more else (False if fewer else None)
    return Finding(agrees, {**counts, "far": estimate(numbers["over_optimised"])})


FIGURE = Figure("hallucination", measure, draw, table, finding)
