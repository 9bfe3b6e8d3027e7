"""Pictures of a benchmark: the score of every task next to a random guess, and the normalised averages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from ..reports import canvas
from ..reports.canvas import INK
from ..reports.plots import TRAINED
from .scores import Row, Rows, by_model, summaries

THICKNESS = 0.8
"""Of all bars of a task together, with tasks 1 apart."""


def task_scores(metrics: Row, path: str | Path, subtitle: str = "") -> Path:
    """Draw the score of every task: a bar per model with its interval, and a line for a random guess."""
    models = {name: figures["tasks"] for name, figures in by_model(metrics).items()}
    axis, figure = _panel("Scores by task", "score", models, subtitle)
    _bars(axis, models, "score", "low", "high")
    tasks = next(iter(models.values()))
    for height, task in enumerate(list(tasks)[::-1]):
        ends = (height - THICKNESS / 2, height + THICKNESS / 2)
        told = "random guess" if height == 0 else None
        axis.plot([tasks[task]["random"]] * 2, ends, color=INK, linewidth=2.2, zorder=4, label=told)
    axis.set_xlim(0, 1)
    canvas.legend(figure, axis)
    return canvas.save(figure, path)


def normalised_averages(metrics: Row, path: str | Path, subtitle: str = "") -> Path:
    """Draw the normalised average of every suite and of all, a bar per model; a random guess is at 0."""
    models = {name: summaries(figures) for name, figures in by_model(metrics).items()}
    axis, figure = _panel("Normalised averages", "(score − random) / (1 − random)", models, subtitle)
    _bars(axis, models, "normalised", "normalised_low", "normalised_high")
    axis.axvline(0, color=INK, linewidth=2.2, zorder=4, label="random guess")
    canvas.legend(figure, axis)
    return canvas.save(figure, path)


def _panel(title: str, unit: str, models: dict[str, Rows], subtitle: str) -> tuple[Axes, Any]:
    names = list(next(iter(models.values())))[::-1]
    figure = canvas.figure(9.5, 1.9 + len(names) * (0.16 + 0.16 * len(models)), title, subtitle)
    axis = figure.subplots()
    canvas.style(axis, "", unit, "")
    axis.set_yticks(range(len(names)), names)
    axis.set_ylim(-0.6, len(names) - 0.4)
    axis.grid(axis="y", visible=False)
    axis.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    return axis, figure


def _bars(axis: Axes, models: dict[str, Rows], key: str, low: str, high: str) -> None:
    """A bar per model for every row, with the first model and the first row on top."""
    height = THICKNESS / len(models)
    for number, (name, rows) in enumerate(models.items()):
        values = list(rows.values())[::-1]
        places = [place + THICKNESS / 2 - (number + 0.5) * height for place in range(len(values))]
        scores = [row[key] for row in values]
        bounds = [[row[key] - row[low] for row in values], [row[high] - row[key] for row in values]]
        axis.barh(places, scores, height=height * 0.9, color=TRAINED[number % len(TRAINED)], zorder=2, label=name)
        axis.errorbar(scores, places, xerr=bounds, fmt="none", ecolor=INK, elinewidth=1.2, zorder=3)
