"""The picture of a comparison: each agent's gain, in its training score and in gold, and its KL."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from . import canvas
from .formats import label

COLOURS = ("#1f6fb2", "#d9772b", "#2f8f5b", "#7a55a8", "#b8405e", "#1aa0a0", "#8a6d3b", "#d14fa0")
SHAPES = ("o", "s", "^", "v", "P", "X", "p", "h")
START = "#5f6c78"


def frontier(metrics: Mapping[str, Any], path: str | Path, score: str, subtitle: str = "") -> Path:
    """Draw mean scores over the root of KL: left the training score, right gold if known.

    Small marks are runs, large ones agent means; their bars are the 95 % intervals of the agent's gain over the start
    policy, and of its KL. The start policy is at KL 0, where every run began.

    Source of the axis: L. Gao et al., "Scaling Laws for Reward Model Overoptimization" (2023).

    Args:
        metrics: of an evaluation, with the ``"agents"`` of ``compare_agents``.
        path: of the PNG file.
        score: name of the training score.
        subtitle: a line of facts below.
    """
    start = metrics["policies"]["start"]
    keys = [key for key in dict.fromkeys((score, "gold_score")) if start.get(key) is not None]
    figure = canvas.figure(4.9 * len(keys) + 2, 4.6, "What was gained, and what it cost", subtitle)
    panels = figure.subplots(1, len(keys), squeeze=False, sharex=True)[0]
    for axis, key in zip(panels, keys, strict=True):
        _draw_start(axis, start, key)
        for number, (name, agent) in enumerate(metrics["agents"].items()):
            look: dict[str, Any] = {"color": COLOURS[number % len(COLOURS)], "marker": SHAPES[number % len(SHAPES)]}
            _draw_runs(axis, [metrics["policies"][run] for run in agent["runs"]], key, look)
            _draw_agent(axis, name, agent["sampled"], start[key], key, look)
        canvas.score_panel(axis, key)
    for axis in panels:
        canvas.root_scale(axis)  # after everything is drawn: both share the scale
    canvas.legend(figure, panels[0])
    return canvas.save(figure, path)


def _draw_start(axis: Axes, start: Mapping[str, Any], key: str) -> None:
    axis.axhline(start[key], color=START, linewidth=1, linestyle=(0, (3, 3)), zorder=1)
    axis.plot(0, start[key], "o", color=START, markersize=9, markeredgecolor="white", zorder=4, label=label("start"))


def _draw_runs(axis: Axes, rows: list[Mapping[str, Any]], key: str, look: Mapping[str, Any]) -> None:
    x = canvas.root(np.array([row["kl"] for row in rows]))
    axis.plot(
        x, [row[key] for row in rows], linestyle="", markersize=5, alpha=0.55, markeredgewidth=0, zorder=3, **look
    )


def _draw_agent(
    axis: Axes, name: str, figures: Mapping[str, Any], start: float, key: str, look: Mapping[str, Any]
) -> None:
    """The agent's mean and its intervals: of KL, and of the paired gain, as the start policy's own score is given."""
    gain = figures["minus_start"][key]
    low, mean, high = canvas.root(np.array([figures["kl"][bound] for bound in ("low", "mean", "high")]))
    axis.errorbar(
        mean,
        start + gain["mean"],
        xerr=[[mean - low], [high - mean]],
        yerr=[[gain["mean"] - gain["low"]], [gain["high"] - gain["mean"]]],
        linestyle="",
        markersize=10,
        markeredgecolor="white",
        elinewidth=1.2,
        capsize=3,
        zorder=5,
        label=name,
        **look,
    )
