"""``benchmarks``: tasks in MMLU's and BIG-bench's form, each score next to that of a random guess."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...evaluation.reports import canvas
from ...evaluation.reports.formats import interval, percent, points
from ...evaluation.win_rate import Interval, crossed_interval
from ..benchmark_files import write_suites
from ..figure import Figure, Finding, Numbers
from ..instructed import ASKED_FROM, instructed, share, shown
from ..workshop import Workshop

if TYPE_CHECKING:
    from ...data.benchmarks import Task

Array = NDArray[np.float64]
Results = Mapping[str, Sequence[Mapping[str, Any]]]
"""Model -> for every seed, ``scores`` and ``chances`` with a value per question, and facts about the task."""

MODELS = {"pretrained": "pretrained", "tuned": "instruction-tuned"}
COLOURS = {"pretrained": "#8a97a3", "tuned": "#1f6fb2"}
SUITES = {"mmlu": "MMLU", "bigbench": "BIG-bench"}
GIVEN = " (given)"
"""Suffix of task names from the user's own files."""


def measure(shop: Workshop) -> Numbers:
    """Both models of the largest size on embedded questions in both forms, and on the files that the user named."""
    from ...data.benchmarks import read_suites

    posts = range(ASKED_FROM, ASKED_FROM + shop.budget.asked)
    own = read_suites(write_suites(shop.folder / "benchmark_files", posts)).tasks
    tasks, unscored = {task.name: task for task in own}, {}
    if shop.suites:
        given = read_suites(shop.suites, shop.budget.asked)
        tasks |= {f"{task.name}{GIVEN}": task for task in given.tasks}
        unscored = dict(given.unscored)
    results = {name: _results(shop, task) for name, task in tasks.items()}
    ours = {suite: [results[task.name] for task in own if task.suite == suite] for suite in SUITES}
    return {
        "size": shop.largest,
        "pairs": shop.budget.examples[-1],
        "tasks": {name: task_numbers(found) for name, found in results.items()},
        "suites": {suite: average_numbers(of_suite) for suite, of_suite in ours.items()},
        "average": average_numbers([found for of_suite in ours.values() for found in of_suite]),
        "unscored": unscored,
    }


def _results(shop: Workshop, task: Task) -> Results:
    return {model: [_result(shop, task, model, seed) for seed in shop.seeds] for model in MODELS}


def _result(shop: Workshop, task: Task, model: str, seed: int) -> Mapping[str, Any]:
    """A model's results on a task, asked only once; the key includes the questions, as files of one name can differ."""
    asked = sha256(repr((task, task.examples[: shop.budget.asked])).encode()).hexdigest()[:12]
    name = "pretrained" if model == "pretrained" else f"tuned-seed{seed}"
    key = f"benchmarks-{name}-{task.name.replace('/', '-')}-{asked}"
    found: Mapping[str, Any] = shop.remember(key, partial(_ask, shop, task, model, seed))
    return found


def _ask(shop: Workshop, task: Task, model: str, seed: int) -> dict[str, Any]:
    """The first questions of a task, by the code that ``prefgym benchmark`` runs."""
    from ...evaluation.benchmarks.harness import run_tasks
    from ...evaluation.benchmarks.harness_model import HarnessModel

    lm = instructed(shop, shop.largest, shop.budget.examples[-1] if model == "tuned" else 0, seed)
    found = run_tasks(HarnessModel(lm), [task], limit=shop.budget.asked)[task.name]
    told = {"metric": found.metric, "cut": found.cut, "left_out": found.left_out, "unmeasured": list(found.unmeasured)}
    return {"scores": found.scores.tolist(), "chances": found.chances.tolist(), **told}


def task_numbers(found: Results) -> Numbers:
    """Score and normalised score of each model on a task, with intervals over seeds and questions, and the gain."""
    first = found["pretrained"][0]
    random = float(np.mean(first["chances"]))
    scores = {model: np.array([run["scores"] for run in runs]) for model, runs in found.items()}
    told = {key: first[key] for key in ("metric", "left_out", "unmeasured")}
    return {
        "random": random,
        "n": len(first["chances"]),
        **{model: _with_normalised(share(of_model), random) for model, of_model in scores.items()},
        "gain": crossed_interval(scores["tuned"] - scores["pretrained"]),
        "cut": {model: runs[0]["cut"] for model, runs in found.items()},
        **told,
    }


def _with_normalised(score: Interval, random: float) -> dict[str, Interval]:
    """A score, and the same as (score - random) / (1 - random)."""
    return {"score": score, "normalised": {key: (value - random) / (1 - random) for key, value in score.items()}}


def average_numbers(tasks: Sequence[Results]) -> Numbers:
    """The normalised average of each model over tasks that ask about the same posts, and the gain."""
    normalised = {model: np.mean([_normalised(found[model]) for found in tasks], axis=0) for model in MODELS}
    return {
        "tasks": len(tasks),
        **{model: crossed_interval(of_model) for model, of_model in normalised.items()},
        "gain": crossed_interval(normalised["tuned"] - normalised["pretrained"]),
    }


def _normalised(runs: Sequence[Mapping[str, Any]]) -> Array:
    """(S, n) every answer's score, normalised by its task's random baseline."""
    random = np.mean(runs[0]["chances"])
    return (np.array([run["scores"] for run in runs]) - random) / (1 - random)


def draw(numbers: Numbers, path: Path) -> None:
    """A line per task: a random guess, and both models with their intervals."""
    tasks = numbers["tasks"]
    facts = f"{numbers['size']} parameters; synthetic questions, except of tasks that are given; 95 % intervals"
    figure = canvas.figure(8.0, 1.6 + 0.3 * len(tasks), "Benchmarks beside a random guess", facts)
    axis = figure.subplots()
    places = np.arange(len(tasks))[::-1]
    guess = [100 * row["random"] for row in tasks.values()]
    axis.plot(guess, places, "|", color="#b8405e", markersize=16, markeredgewidth=2, label="random guess")
    for shift, (model, name) in zip((0.14, -0.14), MODELS.items(), strict=True):
        rows = [row[model]["score"] for row in tasks.values()]
        low, mean, high = (100 * np.array([row[bound] for row in rows]) for bound in ("low", "mean", "high"))
        look: dict[str, Any] = {"fmt": "o", "capsize": 2, "color": COLOURS[model], "label": name}
        axis.errorbar(mean, places + shift, xerr=[mean - low, high - mean], **look)
    axis.set_yticks(places, list(tasks))
    axis.set_xlim(-2, 102)
    canvas.style(axis, "Score by task", "% of questions", "")
    canvas.legend(figure, axis)
    canvas.save(figure, path)


def table(numbers: Numbers) -> tuple[list[str], list[list[str]]]:
    """One row for each task, then the normalised averages, then what could not be scored."""
    rows = [
        [name, percent(row["random"]), *(interval(row[m][kind]) for kind in ("score", "normalised") for m in MODELS)]
        for name, row in numbers["tasks"].items()
    ]
    averages = {f"average, synthetic, {SUITES[suite]}": row for suite, row in numbers["suites"].items()}
    averages["average, synthetic"] = numbers["average"]
    rows += [[name, "", "", "", *(interval(row[model]) for model in MODELS)] for name, row in averages.items()]
    for reason in dict.fromkeys(numbers["unscored"].values()):
        alike = [name for name, why in numbers["unscored"].items() if why == reason]
        rows.append([f"not scored, {reason}: {', '.join(alike)}", "", "", "", "", ""])
    columns = [f"{name}{told}" for told in ("", ", normalised") for name in MODELS.values()]
    return ["task", "random guess", *columns], rows


def finding(numbers: Numbers) -> Finding:
    """Whether the tuned model is above a guess, and above the pretrained one, on the average of each form."""
    suites = numbers["suites"]
    differences = [row[key] for row in suites.values() for key in ("tuned", "gain")]
    values = {f"{suite}_{model}": points(row[model]) for suite, row in suites.items() for model in MODELS}
    for model in MODELS:
        above = sum(row[model]["score"]["low"] > row["random"] for row in numbers["tasks"].values())
        values[f"{model}_above"] = str(above)
    return Finding(shown(differences), {**values, "tasks": str(len(numbers["tasks"]))})


FIGURE = Figure("benchmarks", measure, draw, table, finding)
