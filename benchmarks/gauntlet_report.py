"""The results of the gauntlet: figures of each contestant with intervals, tables, picture and page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from prefgym.evaluation.reports import canvas
from prefgym.evaluation.reports.formats import NONE, difference, estimate, interval
from prefgym.evaluation.win_rate import Interval, crossed_interval, mean_interval

Runs = Mapping[str, Mapping[int, Mapping[str, Any]]]
"""Contestant -> seed -> the result of ``gauntlet_run.run``."""
COLOURS = ("#1f6fb2", "#d9772b", "#2f8f5b", "#7a55a8", "#b8405e", "#1aa0a0", "#8a6d3b", "#d14fa0")
SHAPES = ("o", "s", "^", "D", "v")
PAIRS = {"sb3 ppo": "ppo", "sb3 a2c": "a2c"}
"""Whose gain is reported as a share of whose."""


def summarise(runs: Runs) -> dict[str, Any]:
    """The figures of the start policy and of every contestant, and the shares of ``PAIRS``.

    Intervals are 95 %: over seeds and posts (``win_rate.crossed_interval``); for one seed's gain, over posts.
    """
    names = [name for name in runs if name != "start"]
    pairs = {name: other for name, other in PAIRS.items() if _is_comparable(runs, name, other)}
    return {
        "start": _figures(list(runs["start"].values())),
        "contestants": {name: _contestant(runs, name) for name in names},
        "shares": {f"{name} / {other}": share_of_gain(runs, name, other) for name, other in pairs.items()},
    }


def _contestant(runs: Runs, name: str) -> dict[str, Any]:
    own = runs[name]
    by_seed = dict(zip(own, gains(runs, name, list(own)), strict=True))
    told = {seed: mean_interval(gain) for seed, gain in by_seed.items()}
    return {
        "seeds": list(own),
        "learning_rate": next(iter(own.values()))["learning_rate"],
        "episodes": [run["episodes"] for run in own.values()],
        "seconds": float(np.median([run["seconds"] for run in own.values()])),
        **_figures(list(own.values())),
        "gain": crossed_interval(np.stack(list(by_seed.values()))),
        "gain_by_seed": {str(seed): values for seed, values in told.items()},
        "seeds_above_start": sum(values["low"] > 0 for values in told.values()),
    }


def _figures(own: list[Mapping[str, Any]]) -> dict[str, Interval]:
    return {key: crossed_interval([run["posts"][key] for run in own]) for key in own[0]["posts"]}


def gains(runs: Runs, name: str, seeds: list[int]) -> NDArray[np.float64]:
    """Gold minus the start policy's gold with the same seed on the same post: (S, n)."""
    mine, start = ([runs[who][seed]["posts"]["gold_score"] for seed in seeds] for who in (name, "start"))
    return np.subtract(mine, start)


def share_of_gain(runs: Runs, name: str, other: str) -> Interval:
    """The mean gain of one contestant as a share of another's, paired by seed and post.

    The ratio r = mean(a) / mean(b) has the error of (a - r b) / mean(b) to first order (delta method).
    """
    seeds = _shared_seeds(runs, name, other)
    a, b = gains(runs, name, seeds), gains(runs, other, seeds)
    ratio = a.mean() / b.mean()
    return crossed_interval(ratio + (a - ratio * b) / b.mean())


def _shared_seeds(runs: Runs, name: str, other: str) -> list[int]:
    return [seed for seed in runs.get(name, {}) if seed in runs.get(other, {})]


def _is_comparable(runs: Runs, name: str, other: str) -> bool:
    seeds = _shared_seeds(runs, name, other)
    return bool(seeds) and gains(runs, other, seeds).mean() != 0


def table(found: Mapping[str, Any]) -> str:
    """One line per contestant."""
    titles = ("gold", "gain over start", "seeds above 0", "proxy", "KL", "wins against references", "seconds")
    lines = _head("", "learning rate", *titles)
    for name, row in {"start policy": found["start"], **found["contestants"]}.items():
        trained = row.get("learning_rate") is not None
        cells = [
            name,
            f"{row['learning_rate']:g}" if trained else NONE,
            estimate(row["gold_score"]),
            difference(row["gain"]) if "gain" in row else NONE,
            f"{row['seeds_above_start']} of {len(row['seeds'])}" if "gain" in row else NONE,
            estimate(row["preference_score"]),
            estimate(row["kl"]),
            interval(row["win_rate_vs_references"]),
            f"{row['seconds']:.0f}" if trained else NONE,
        ]
        lines.append(_line(cells))
    return "\n".join(lines)


def tuning_table(tuned: Mapping[str, Mapping[str, Any]]) -> str:
    """Reward minus KL of each contestant with each learning rate; the chosen one in bold."""
    rates = list(dict.fromkeys(row["learning_rate"] for one in tuned.values() for row in one["tried"]))
    lines = _head("", *(f"{rate:g}" for rate in rates))
    for name, one in tuned.items():
        cells = {}
        for row in one["tried"]:
            text = "diverged" if "error" in row else f"{row['objective/rlhf_reward']:.3f}"
            cells[row["learning_rate"]] = f"**{text}**" if row["learning_rate"] == one["learning_rate"] else text
        lines.append(_line([name, *(cells.get(rate, NONE) for rate in rates)]))
    return "\n".join(lines)


def shares_told(found: Mapping[str, Any]) -> str:
    """The shares of ``PAIRS`` in words."""
    rows = {name: {key: 100 * value for key, value in row.items()} for name, row in found["shares"].items()}
    return "\n".join(
        f"- Gain of {name}: {row['mean']:.0f} % [{row['low']:.0f}, {row['high']:.0f}]." for name, row in rows.items()
    )


def draw(found: Mapping[str, Any], path: Path, subtitle: str) -> None:
    """Gains with their intervals; next to them both scores against KL."""
    figure = canvas.figure(16, 5.4, "All agents after equal episodes", subtitle)
    left, *panels = figure.subplots(1, 3, width_ratios=(1.25, 1, 1))
    looks = {
        name: {"color": COLOURS[i % len(COLOURS)], "marker": SHAPES[i // len(COLOURS) % len(SHAPES)]}
        for i, name in enumerate(found["contestants"])
    }
    _draw_gains(left, found["contestants"], looks)
    for axis, key in zip(panels, ("preference_score", "gold_score"), strict=True):
        _draw_frontier(axis, found, key, looks)
    canvas.legend(figure, panels[0])
    canvas.save(figure, path)


def _draw_gains(axis: Axes, contestants: Mapping[str, Any], looks: Mapping[str, Any]) -> None:
    for place, (name, row) in enumerate(contestants.items()):
        ours, gain = looks[name], row["gain"]
        axis.plot([v["mean"] for v in row["gain_by_seed"].values()], [place] * len(row["seeds"]), "|", color="#9aa5b1")
        axis.errorbar(gain["mean"], place, xerr=_bars(gain), markersize=8, capsize=3, elinewidth=1.2, **ours)
    axis.axvline(0, color=canvas.MUTED, linewidth=1)
    canvas.style(axis, "Gain in gold over the start policy, same seeds and posts", "gold score, 95 % interval", "")
    axis.set_yticks(range(len(contestants)), list(contestants))
    axis.invert_yaxis()


def _draw_frontier(axis: Axes, found: Mapping[str, Any], key: str, looks: Mapping[str, Any]) -> None:
    axis.plot(0, found["start"][key]["mean"], "o", color=canvas.MUTED, markersize=9, label="start policy")
    for name, row in found["contestants"].items():
        where = canvas.root(np.array([row["kl"]["mean"]]))
        axis.errorbar(
            where,
            row[key]["mean"],
            yerr=_bars(row[key]),
            linestyle="",
            markersize=8,
            capsize=2,
            elinewidth=0.8,
            markeredgecolor="white",
            label=name,
            **looks[name],
        )
    canvas.score_panel(axis, key)
    canvas.root_scale(axis)


def _bars(values: Interval) -> list[list[float]]:
    return [[values["mean"] - values["low"]], [values["high"] - values["mean"]]]


def _head(*titles: str) -> list[str]:
    return [_line(list(titles)), "|" + " --- |" * len(titles)]


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
