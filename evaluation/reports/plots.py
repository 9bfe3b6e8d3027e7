"""Pictures of a run: learning curves, score against KL, win rates. PNG files, drawn without a display."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter
from numpy.typing import NDArray

from ...agents.validated import KL, OBJECTIVE, ROUGE, SCORE, best, validations
from . import canvas
from .canvas import INK, MUTED
from .formats import NONE, label, number, percent

History = Sequence[Mapping[str, float]]
"""One mapping of scalars per iteration, including ``"episodes"``: an agent's ``history``."""

TRAINED = ("#1f6fb2", "#d9772b", "#7a55a8", "#b8405e")
COLOURS = {
    "start": "#8a97a3",
    "start_best_of_4": "#d9a441",
    "start_best_temperature": "#b9c1c9",
    "references": "#2f8f5b",
    "oracle": "#8cc5a4",
    "lead": "#d5dbe0",
    "random_reference": "#d5dbe0",
}


class Curve(NamedTuple):
    """One panel of the learning curves: the scalar, its title, the unit of its axis."""

    key: str
    title: str
    unit: str


CURVES = (
    Curve("objective/scores", "Score", "score of a response"),
    Curve("objective/kl", "KL from the reference policy", "nats per response"),
    Curve("objective/rlhf_reward", "Reward: score − β · KL", "reward of a response"),
    Curve("rollout/response_length", "Response length", "tokens"),
    Curve("train/value_loss", "Value loss", "squared error"),
    Curve("rollout/eos_rate", "Responses that end with EOS", "share of responses"),
)


VALIDATION_CURVES = (
    Curve(SCORE, "Score", "score of a response"),
    Curve(KL, "KL from the reference policy", "nats per response"),
    Curve(OBJECTIVE, "Score − β · KL, with the first β", "objective of a response"),
    Curve(ROUGE, "Overlap with the references", "ROUGE-L, 0 to 1"),
)

PART = "objective/score_"
"""Prefix of the scalar of each part of the reward, before its weight."""
PENALTY = "objective/score_missing_eos_penalty"
"""One of them, but the environment's own."""


def score_parts(history: History) -> dict[str, str]:
    """Name -> scalar of the parts of the reward, if there are several; a single one is the score itself."""
    keys = dict.fromkeys(key for row in history for key in row if key.startswith(PART) and key != PENALTY)
    return {key.removeprefix(PART): key for key in keys} if len(keys) > 1 else {}


def curves_of(history: History) -> list[Curve]:
    """The panels of a history: next to the score each of its parts, if there are several."""
    parts = [Curve(key, f"Score: {name}", CURVES[0].unit) for name, key in score_parts(history).items()]
    return [CURVES[0], *parts, *CURVES[1:]]


def learning_curves(history: History, path: str | Path, subtitle: str = "") -> Path:
    """Draw each scalar over episodes: every iteration as a dot, their moving average as a line.

    A scalar missing from the history has no panel.
    """
    drawn = [curve for curve in curves_of(history) if any(curve.key in row for row in history)]
    columns = min(3, max(1, len(drawn)))
    lines = max(1, math.ceil(len(drawn) / columns))
    figure = canvas.figure(3.8 * columns, 2.6 * lines + 0.8, "Learning curves", subtitle)
    panels = figure.subplots(lines, columns, squeeze=False).ravel()
    for axis, curve in zip(panels, drawn, strict=False):
        rows = [row for row in history if curve.key in row]
        episodes, values = _column(rows, "episodes"), _column(rows, curve.key)
        axis.plot(episodes, values, ".", color=TRAINED[0], alpha=0.35, markersize=6, markeredgewidth=0)
        axis.plot(episodes, moving_average(values), color=TRAINED[0], linewidth=2)
        canvas.style(axis, curve.title, "episodes", curve.unit)
        _count_episodes(axis)
        if curve.unit.startswith("share"):
            axis.yaxis.set_major_formatter(FuncFormatter(lambda y, _: percent(y, 1)))
    for axis in panels[len(drawn) :]:
        axis.set_visible(False)
    return canvas.save(figure, path)


def validation_curves(history: History, path: str | Path, subtitle: str = "") -> Path:
    """Draw each figure of the validations over episodes, as a line through every one; the best is marked."""
    rows, chosen = validations(history), best(history)
    drawn = [curve for curve in VALIDATION_CURVES if any(curve.key in row for row in rows)]
    columns, lines = 2, math.ceil(len(drawn) / 2)
    figure = canvas.figure(4.4 * columns + 1.6, 2.6 * lines + 0.8, "Validation during training", subtitle)
    panels = figure.subplots(lines, columns, squeeze=False).ravel()
    for axis, curve in zip(panels, drawn, strict=False):
        axis.plot(_column(rows, "episodes"), _column(rows, curve.key), ".-", color=TRAINED[0], linewidth=2)
        if chosen is not None:
            place = f"best: iteration {chosen['iteration']:,.0f}"
            axis.plot(chosen["episodes"], chosen[curve.key], "*", color=TRAINED[1], markersize=15, label=place)
        canvas.style(axis, curve.title, "episodes", curve.unit)
        _count_episodes(axis)
    for axis in panels[len(drawn) :]:
        axis.set_visible(False)
    canvas.legend(figure, panels[0])
    return canvas.save(figure, path)


def moving_average(values: NDArray[np.float64], share: float = 0.1) -> NDArray[np.float64]:
    """The mean over a centred window of about ``share`` of the values; it shrinks towards the ends."""
    half = max(1, round(len(values) * share / 2))
    return np.array([values[max(0, i - half) : i + half + 1].mean() for i in range(len(values))])


def score_against_kl(
    metrics: Mapping[str, Any],
    history: History,
    path: str | Path,
    score: str = "preference_score",
    subtitle: str = "",
) -> Path:
    """Draw gain against cost: mean scores over the root of KL, in which they start out nearly straight.

    Left the score that was optimised, with the path of training; right gold, if known. Markers are means over the
    held-out prompts; their bars are 95 % intervals of the paired difference to the start policy.

    Source of the axis: L. Gao et al., "Scaling Laws for Reward Model Overoptimization" (2023).
    """
    policies = {name: row for name, row in metrics["policies"].items() if row["kl"] is not None}
    keys = [key for key in dict.fromkeys((score, "gold_score")) if policies["start"].get(key) is not None]
    figure = canvas.figure(4.9 * max(1, len(keys)) + 2, 4.4, "What was gained, and what it cost", subtitle)
    axes = figure.subplots(1, max(1, len(keys)), squeeze=False, sharex=True)[0]
    colours = _colours(policies)
    for axis, key in zip(axes, keys, strict=False):
        if key == score:
            _trajectory(axis, history)
        for name, row in policies.items():
            _point(axis, name, row, key, colours[name])
        canvas.score_panel(axis, key)
    for axis in axes:
        canvas.root_scale(axis)  # after all is drawn: both share the scale
    canvas.legend(figure, axes[0])
    return canvas.save(figure, path)


def win_rates(metrics: Mapping[str, Any], path: str | Path, subtitle: str = "") -> Path:
    """Draw every candidate's win rates with their 95 % intervals: sampled as bars, greedy as open circles.

    Comparisons of a candidate with itself are left out.
    """
    policies, greedy = metrics["policies"], metrics.get("greedy", {})
    panels = {
        "win_rate_vs_references": "Against the references",
        "win_rate_length_controlled": "Against the references, at equal length",
        "win_rate_vs_start": "Against the start policy",
        "win_rate_vs_start_length_controlled": "Against the start policy, at equal length",
    }
    if policies["start"]["win_rate_vs_references"] is None:
        del panels["win_rate_vs_references"], panels["win_rate_length_controlled"]
    names, colours = list(policies)[::-1], _colours(policies)
    figure = canvas.figure(3.5 * len(panels) + 1.6, 0.4 * len(names) + 1.9, "Win rates", subtitle)
    axes = figure.subplots(1, len(panels), sharey=True)
    for axis, (key, title) in zip(axes, panels.items(), strict=True):
        for height, name in enumerate(names):
            _bar(axis, height, policies[name][key], colours[name])
            if name in greedy:
                _circle(axis, height, greedy[name][key])
        axis.axvline(0.5, color=INK, linewidth=1, linestyle=(0, (3, 3)), zorder=1)
        canvas.style(axis, title, "win rate", "")
        axis.set_xlim(0, 1.22)
        axis.set_xticks([0, 0.25, 0.5, 0.75, 1])
        axis.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axis.set_yticks(range(len(names)), [label(name) for name in names])
        axis.grid(axis="y", visible=False)
    _greedy_legend(figure, bool(greedy))
    return canvas.save(figure, path)


def _count_episodes(axis: Axes) -> None:
    """Whole numbers at the axis of episodes."""
    axis.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}"))


def _trajectory(axis: Axes, history: History) -> None:
    rows = [row for row in history if "objective/kl" in row and "objective/scores" in row]
    if not rows:
        return
    kl, score = _column(rows, "objective/kl"), _column(rows, "objective/scores")
    axis.plot(canvas.root(kl), score, ".", color=TRAINED[0], alpha=0.2, markersize=6, markeredgewidth=0, zorder=1)
    axis.plot(
        canvas.root(moving_average(kl)),
        moving_average(score),
        color=TRAINED[0],
        alpha=0.5,
        linewidth=2,
        zorder=2,
        label="training, by iteration",
    )


def _point(axis: Axes, name: str, row: Mapping[str, Any], key: str, colour: str) -> None:
    shapes = {"start": ("o", 9), "start_best_of_4": ("D", 8), "start_best_temperature": ("s", 14)}
    shape, size = shapes.get(name, ("*", 17))
    ring = name == "start_best_temperature"  # it may be the start policy itself, which then shows inside
    difference = (row["minus_start"] or {}).get(key)
    x = float(canvas.root(np.array([row["kl"]]))[0])
    axis.annotate(number(row[key]), (x, row[key]), (9, 5), textcoords="offset points", fontsize=9, color=INK, zorder=5)
    axis.errorbar(
        x,
        row[key],
        yerr=(difference["high"] - difference["low"]) / 2 if difference else None,
        fmt=shape,
        markersize=size,
        markerfacecolor="none" if ring else colour,
        markeredgecolor=colour if ring else "white",
        markeredgewidth=2 if ring else 1,
        ecolor=INK,
        elinewidth=1,
        capsize=3,
        zorder=4,
        label=label(name),
    )


def _bar(axis: Axes, height: float, rate: Mapping[str, float] | None, colour: str) -> None:
    if rate is None or rate["low"] == rate["high"]:
        axis.text(1.21, height, NONE, ha="right", va="center", fontsize=8.5, color=MUTED)
        return
    axis.barh(height, rate["mean"], height=0.62, color=colour, zorder=2)
    axis.plot([rate["low"], rate["high"]], [height, height], color=INK, linewidth=1.6, solid_capstyle="butt", zorder=3)
    axis.text(1.21, height, percent(rate["mean"]), ha="right", va="center", fontsize=8.5, color=INK)


def _circle(axis: Axes, height: float, rate: Mapping[str, float] | None) -> None:
    if rate is None or rate["low"] == rate["high"]:
        return
    axis.plot(rate["mean"], height, "o", markersize=7, markerfacecolor="white", markeredgecolor=INK, zorder=4)


def _greedy_legend(figure: Figure, has_greedy: bool) -> None:
    text = "bars: sampled, with 95 % interval" + ("; open circles: decoded greedily" if has_greedy else "")
    figure.text(0.995, 0.985, text, ha="right", va="top", fontsize=9, color=MUTED)


def _colours(names: Mapping[str, Any]) -> dict[str, str]:
    trained = [name for name in names if name not in COLOURS]
    return {**COLOURS, **{name: TRAINED[i % len(TRAINED)] for i, name in enumerate(trained)}}


def _column(rows: History, key: str) -> NDArray[np.float64]:
    return np.array([row[key] for row in rows], dtype=np.float64)
