"""The figures of a benchmark: score, random baseline, normalised score and their intervals; pure functions of numbers.

    normalised = (score - random) / (1 - random)

is 0 for a random guess and 1 if every answer is right, so tasks with different numbers of options can be averaged.
Every interval is 95 % and for other questions of the same tasks; tasks are not drawn at random.

Source of the average: H. W. Chung et al., "Scaling Instruction-Finetuned Language Models" (2022), section 2.3.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...data.benchmarks.task import CLOZE
from ..win_rate import Interval, Z, win_rate_of

Row = dict[str, Any]
Rows = Mapping[str, Row]


@dataclass(frozen=True)
class Result:
    """One model's results on one task of n questions.

    scores: (n,) the score of each answer, 0-1.
    chances: (n,) the score of a random guess.
    others: further metrics by name, (n,) each.
    metric: what the score is.
    shots: demonstrations shown.
    cut: questions whose prompt was longer than the model's context and lost its beginning.
    left_out: examples of the file that the metric does not apply to.
    unmeasured: metrics of the file that are not measured.
    said: (n,) what the model wrote or chose.
    longest: the mean score of always choosing the longest option, where likelihoods are divided by lengths.
    """

    scores: NDArray[np.float64]
    chances: NDArray[np.float64]
    others: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    metric: str = "accuracy"
    shots: int = 0
    cut: int = 0
    left_out: int = 0
    unmeasured: Sequence[str] = ()
    said: Sequence[str] = ()
    longest: float | None = None


def task_row(result: Result) -> Row:
    """The figures of one task.

    ``low`` and ``high`` bound the score by Wilson's interval, which is conservative for scores between 0 and 1;
    ``normalised_low`` and ``normalised_high`` are the same bounds, normalised.

    >>> row = task_row(Result(np.array([1.0, 0, 1, 1]), np.full(4, 0.5)))
    >>> row["score"], row["random"], row["normalised"]
    (0.75, 0.5, 0.5)
    """
    score, random = win_rate_of(result.scores), float(result.chances.mean())
    return {
        "score": score["mean"],
        "random": random,
        "normalised": _normalised(score["mean"], random),
        "low": score["low"],
        "high": score["high"],
        "n": len(result.scores),
        "normalised_low": _normalised(score["low"], random),
        "normalised_high": _normalised(score["high"], random),
        "metric": result.metric,
        "metrics": {name: float(values.mean()) for name, values in result.others.items()},
        "shots": result.shots,
        "cut": result.cut,
        "left_out": result.left_out,
        "unmeasured": list(result.unmeasured),
        **({} if result.longest is None else {"longest_option": result.longest}),
    }


def _normalised(score: float, random: float) -> float:
    return (score - random) / (1 - random)


def average(rows: Sequence[Row]) -> Row:
    """The mean over T tasks, each with the same weight. Its bounds are √Σ(distance of a task's bound)² / T away.

    Source of the bounds: G. Y. Zou and A. Donner, "Construction of confidence limits about effect measures: a general
    approach" (2008). They stay between 0 and 1 if those of the tasks do.

    >>> task = {"score": 0.5, "random": 0.25, "normalised": 1 / 3, "low": 0.4, "high": 0.6, "n": 100}
    >>> row = average([task | {"normalised_low": 0.2, "normalised_high": 7 / 15}] * 4)
    >>> row["tasks"], row["n"], round(row["low"], 3), round(row["high"], 3)
    (4, 400, 0.45, 0.55)
    """
    return {
        **{key: _mean(rows, key) for key in ("score", "random", "normalised")},
        **_bounds(rows, "score", "low", "high"),
        "n": sum(row["n"] for row in rows),
        **_bounds(rows, "normalised", "normalised_low", "normalised_high"),
        "tasks": sum(row.get("tasks", 1) for row in rows),
    }


def _mean(rows: Sequence[Row], key: str) -> float:
    return sum(row[key] for row in rows) / len(rows)


def _bounds(rows: Sequence[Row], key: str, low: str, high: str) -> dict[str, float]:
    mean = _mean(rows, key)
    below = math.hypot(*(row[key] - row[low] for row in rows)) / len(rows)
    above = math.hypot(*(row[high] - row[key] for row in rows)) / len(rows)
    return {low: mean - below, high: mean + above}


def summarise(rows: Rows, summary: Any = average) -> Row:
    """The tasks' rows, their averages by suite, over all tasks, and, with several suites, over suites.

    The average over suites is that of the FLAN figure, where a suite of 57 tasks weighs as much as one of 23. A task
    that is asked both ways counts there as it is; the average of those asked again is ``average_cloze``.
    """
    again = {name for name in rows if CLOZE in name and name.replace(CLOZE, "", 1) in rows}
    suites: dict[str, list[Row]] = {}
    for name, row in rows.items():
        suites.setdefault(name.partition("/")[0], []).append(row)
    by_suite = {suite: summary(of_suite) for suite, of_suite in suites.items()}
    first = {name.partition("/")[0]: by_suite[name.partition("/")[0]] for name in rows if name not in again}
    found = {"tasks": dict(rows), "suites": by_suite}
    found |= {"average": summary([row for name, row in rows.items() if name not in again])}
    found |= {"average_of_suites": summary(list(first.values()))} if len(first) > 1 else {}
    return found | ({"average_cloze": summary([rows[name] for name in rows if name in again])} if again else {})


def benchmark_figures(results: Mapping[str, Result]) -> Row:
    """Every figure of one model: ``tasks``, ``suites``, ``average`` and, with several suites, ``average_of_suites``."""
    return summarise({name: task_row(result) for name, result in results.items()})


def gain_figures(before: Mapping[str, Result], after: Mapping[str, Result]) -> Row:
    """The second model's gain over the first on the same questions, in the shape of ``benchmark_figures``."""
    return summarise({name: gain_row(before[name], after[name]) for name in before}, average_gain)


def gain_row(before: Result, after: Result) -> Row:
    """The gain on one task, paired by question; ``normalised_gain`` is over 1 - random."""
    gain = paired_interval(after.scores - before.scores)
    room = 1 - float(before.chances.mean())
    return {
        "before": float(before.scores.mean()),
        "after": float(after.scores.mean()),
        "gain": gain["mean"],
        "low": gain["low"],
        "high": gain["high"],
        "normalised_gain": gain["mean"] / room,
        "normalised_low": gain["low"] / room,
        "normalised_high": gain["high"] / room,
        "n": len(before.scores),
    }


def average_gain(rows: Sequence[Row]) -> Row:
    """The mean gain over tasks, each with the same weight."""
    return {
        **{key: _mean(rows, key) for key in ("before", "after", "gain")},
        **_bounds(rows, "gain", "low", "high"),
        "normalised_gain": _mean(rows, "normalised_gain"),
        **_bounds(rows, "normalised_gain", "normalised_low", "normalised_high"),
        "n": sum(row["n"] for row in rows),
        "tasks": sum(row.get("tasks", 1) for row in rows),
    }


def paired_interval(differences: ArrayLike) -> Interval:
    """The mean of n paired differences between -1 and 1, with an interval of positive width even if all are equal.

    Two pseudo-pairs are added, together half a win, half a loss and one tie:

        m = Σd / (n + 2),    s² = (Σd² + 1 - (Σd)² / (n + 2)) / (n + 2)²,    m ± 1.96 s

    Source: A. Agresti and Y. Min, "Simple improved confidence intervals for comparing matched proportions" (2005), here
    also for differences between 0 and 1. Departure: the interval is widened to contain the reported mean.
    """
    d = np.asarray(differences, dtype=np.float64)
    n, total = len(d) + 2, float(d.sum())
    half = Z * math.sqrt(float((d**2).sum()) + 1 - total**2 / n) / n
    mean = float(d.mean())
    return {"mean": mean, "low": max(-1.0, min(mean, total / n - half)), "high": min(1.0, max(mean, total / n + half))}


def benchmark_metrics(results: Mapping[str, Mapping[str, Result]], facts: Mapping[str, Row]) -> Row:
    """The figures in ``metrics.json``.

    Args:
        results: by model and task, the same tasks for each; the others are compared with the first model.
        facts: of each model.

    Returns:
        For one model, its figures and ``model``. For several, ``models``: the same for each by name, and ``gains``: by
        name, each one's gain over the first.
    """
    found = {name: {"model": facts[name], **benchmark_figures(tasks)} for name, tasks in results.items()}
    if len(found) == 1:
        return next(iter(found.values()))
    first, *others = results
    return {"models": found, "gains": {name: gain_figures(results[first], results[name]) for name in others}}


def by_model(metrics: Row) -> dict[str, Row]:
    """The figures of every model by name, whether there is one or several."""
    return metrics["models"] if "models" in metrics else {metrics["model"]["name"]: metrics}


def summaries(figures: Row) -> Rows:
    """A model's averages, by what they are taken over."""
    named = {"average": "all tasks", "average_of_suites": "average of the suites"}
    named["average_cloze"] = f"all tasks asked again{CLOZE}"
    return {**figures["suites"], **{told: figures[key] for key, told in named.items() if key in figures}}
