"""Pictures of a study of preference models: accuracy by data and size, and from comparisons or ratings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator, PercentFormatter

from ..evaluation.reports import canvas
from ..evaluation.reports.canvas import MUTED
from ..evaluation.reports.formats import percent
from ..evaluation.reports.plots import TRAINED
from .reward_study import WAYS


def draw_reward_models(results: Mapping[str, Any], path: str | Path, subtitle: str = "") -> Path:
    """Draw accuracy over the number of comparisons, a line per size, with people and the noise ceiling.

    Args:
        results: as ``reward_study.reward_models`` returns them.
        path: the PNG file.
        subtitle: a line of facts.
    """
    figure = canvas.figure(8.2, 4.6, "Preference models by data and size", subtitle)
    axis = figure.subplots()
    sizes = sorted(results["models"].items(), key=lambda item: item[1]["parameters"])
    for (name, model), colour in zip(sizes, cycle(TRAINED), strict=False):
        points = model["points"]
        _line(axis, [row["n"] for row in points], points, colour, f"{name} ({model['parameters'] / 1e6:.2f} M)")
    _people(axis, results["people"])
    canvas.style(axis, "", "comparisons, log scale", "accuracy on held-out posts")
    _counts(axis, [row["n"] for row in sizes[0][1]["points"]])
    canvas.legend(figure, axis)
    return canvas.save(figure, path)


def draw_pairwise_or_ratings(results: Mapping[str, Any], path: str | Path, subtitle: str = "") -> Path:
    """Draw accuracy over label cost, in texts read and in judgements made, a line per way of asking.

    Args:
        results: as ``reward_study.pairwise_or_ratings`` returns them.
        path: the PNG file.
        subtitle: a line of facts.
    """
    figure = canvas.figure(12.5, 4.6, "Compare two texts, or rate one?", subtitle)
    axes = figure.subplots(1, 2, sharey=True)
    for axis, unit in zip(axes, ("texts", "judgements"), strict=True):
        for (way, points), colour in zip(results["ways"].items(), TRAINED, strict=True):
            _line(axis, [row[unit] for row in points], points, colour, WAYS[way])
        _people(axis, results["people"])
        title = {"texts": "At equal texts read", "judgements": "At equal judgements"}[unit]
        canvas.style(axis, title, f"{unit}, log scale", "accuracy on held-out posts" if unit == "texts" else "")
        _counts(axis, sorted({row[unit] for points in results["ways"].values() for row in points}))
    canvas.legend(figure, axes[0])
    return canvas.save(figure, path)


def _line(axis: Axes, x: Sequence[float], points: Sequence[Mapping[str, Any]], colour: str, name: str) -> None:
    """Means with the interval around them as a band."""
    mean, low, high = ([row["accuracy"][end] for row in points] for end in ("mean", "low", "high"))
    axis.plot(x, mean, "o-", color=colour, markersize=5, linewidth=1.8, label=name, zorder=3)
    axis.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)


def _people(axis: Axes, people: Mapping[str, float]) -> None:
    """The figures to compare a model's accuracy with, as lines labelled with their value."""
    for key, name, style in (
        ("ceiling", "best possible", "-"),
        ("agreement", "one person by another", "--"),
        ("longer", "the longer one", ":"),
    ):
        label = f"{name}: {percent(people[key], 1)}"
        axis.axhline(people[key], color=MUTED, linewidth=1.1, linestyle=style, label=label, zorder=1)


def _counts(axis: Axes, counts: Sequence[int]) -> None:
    """A log scale with a tick at every count, and percent upwards."""
    axis.set_xscale("log")
    axis.xaxis.set_major_locator(FixedLocator(list(counts)))
    axis.xaxis.set_major_formatter(FixedFormatter([f"{n:,}" for n in counts]))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
