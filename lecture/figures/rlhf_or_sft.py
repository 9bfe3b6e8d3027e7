"""``rlhf_or_sft``: RLHF beats fine-tuning, which beats the pretrained model, at every size."""

from __future__ import annotations

from pathlib import Path

from ...evaluation.reports import canvas
from ...evaluation.reports.formats import interval
from ..figure import Figure, Finding, Numbers
from ..judged import NAMES, POLICIES, draw_by_size, judged
from ..workshop import Workshop

RATE = "win_rate_vs_references"


def measure(shop: Workshop) -> Numbers:
    """Gold win rates against the references by size and stage."""
    return {
        "sizes": {
            size: {policy: figures[RATE] for policy, figures in policies.items()}
            for size, policies in judged(shop).items()
        }
    }


def draw(numbers: Numbers, path: Path) -> None:
    """Win rates over size, with the line of the references."""
    figure = canvas.figure(6.4, 3.8, "RLHF or supervised fine-tuning", "synthetic posts, gold judges; 95 % intervals")
    axis = figure.subplots()
    draw_by_size(axis, numbers["sizes"], scale=100)
    axis.axhline(50, color="#2f8f5b", linestyle="--", linewidth=1, label="references")
    axis.set_ylim(0, 100)
    canvas.style(axis, "Wins against the references", "parameters", "% of posts")
    axis.legend(fontsize=8, frameon=False)
    canvas.save(figure, path)


def table(numbers: Numbers) -> tuple[list[str], list[list[str]]]:
    """One row for each size."""
    rows = [[size, *(interval(rates[policy]) for policy in POLICIES)] for size, rates in numbers["sizes"].items()]
    return ["size", *(NAMES[policy] for policy in POLICIES)], rows


def finding(numbers: Numbers) -> Finding:
    """Whether the three are in order at every size with intervals apart, and RLHF above the references."""
    rows = list(numbers["sizes"].values())
    apart = sum(r["pretrained"]["high"] < r["start"]["low"] and r["start"]["high"] < r["trained"]["low"] for r in rows)
    above = sum(r["trained"]["low"] > 0.5 for r in rows)
    values = {"apart": str(apart), "above": str(above), "sizes": str(len(rows))}
    return Finding(apart == above == len(rows), values)


FIGURE = Figure("rlhf_or_sft", measure, draw, table, finding)
