"""The page of ``real_model.py``: what each stage took and found."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import matplotlib
from real_model_data import read_rows

from prefgym.evaluation.benchmarks.report import benchmark_summary

matplotlib.use("Agg")
import matplotlib.pyplot as plt

COMMAND = "python benchmarks/real_model.py --model SMOLLM2 --encoder MINILM --data DATA --output benchmarks/real_model"
ACCOUNT = "account.md"
"""What a person wrote about the figures; it stands at the beginning of the page, and is not written here."""
SIDES = ("consistency", "relevance", "fluency", "coherence")
"""What people rated."""
SCALARS = {"validation/score": "score", "validation/kl": "KL (nats)", "validation/rouge_l": "ROUGE-L"}


def write_page(output: Path, work: Path, stages: Sequence[Any], given: Mapping[str, Any]) -> None:
    """Write results.json, curves.png and README.md of the stages that are there."""
    found = {stage.name: _metrics(work / stage.name) for stage in stages}
    results = {name: metrics for name, metrics in found.items() if metrics is not None}
    times = read_rows(work / "times.jsonl")
    (output / "results.json").write_text(json.dumps({**given, "times": times, "stages": results}, indent=1) + "\n")
    runs = {name: metrics for name, metrics in results.items() if "policies" in metrics}
    draw(output / "curves.png", {name: read_rows(work / name / "history.jsonl") for name in runs})
    account = output / ACCOUNT
    parts = ["# The main job on real text", told(given), f"    {COMMAND}"]
    parts += [account.read_text(encoding="utf-8").strip()] if account.is_file() else []
    parts += ["## Judged by a model that no training saw", policies(runs), "![Validation while training](curves.png)"]
    parts += ["## Preference models", preferences(results), one_rater(read_rows(work / "data" / "ratings.jsonl"))]
    parts += ["## Stages", stage_table(stages, times), "## Benchmarks", *benchmarks(results)]
    parts += ["## Samples", samples(work, runs)]
    (output / "README.md").write_text("\n\n".join(part for part in parts if part) + "\n", encoding="utf-8")


def told(given: Mapping[str, Any]) -> str:
    """What the figures are of."""
    if given["quick"]:
        return "The quick form: the embedded models (synthetic posts, 1.3M parameters), only to show that it runs."
    return (
        "SmolLM2-135M-Instruct (134.5M parameters) on DialogSum dialogues; people's ratings of dialogue summaries "
        "(DialSummEval). The data are real, so there is no gold preference: the judge is another preference model "
        "(MiniLM, 22.7M parameters) trained on ratings of other dialogues. Intervals are 95 %. Figures on dev are not "
        "comparable with published ones, which are on another split with several references."
    )


def policies(runs: Mapping[str, Mapping[str, Any]]) -> str:
    """A table of the policies that were trained, beside the one that training began with."""
    rows = []
    for name, metrics in runs.items():
        for how in ("policies", "greedy"):
            decoded = "sampled" if how == "policies" else "greedy"
            named = {"start": "SFT", "trained": name} if name != "untuned" else {"start": name, "trained": "SFT"}
            for who in ("start", "trained") if name in (next(iter(runs)), "untuned") else ("trained",):
                rows.append([f"{named[who]}, {decoded}", named["start"], *_figures(metrics[how][who])])
    head = ["policy", "against", "wins", "at equal length", "ROUGE-L", "KL", "tokens", "invented names", "numbers"]
    return table(head, rows)


def _figures(row: Mapping[str, Any]) -> list[str]:
    rates = [percent(row[name]) for name in ("win_rate_vs_start", "win_rate_vs_start_length_controlled")]
    numbers = [row["kl"], row["length"], _mean(row["invented_names"]), _mean(row["invented_numbers"])]
    shown = [f"{number:.2f}" if number is not None else "" for number in numbers]
    return [*rates, f"{_mean(row['rougeL']):.3f}" if row["rougeL"] else "", *shown]


def preferences(results: Mapping[str, Mapping[str, Any]]) -> str:
    """A table of the preference models: how often they rank two summaries as people did."""
    rows = []
    for name, metrics in results.items():
        measured = metrics.get("cross_validation") or metrics.get("held_out")
        if not isinstance(measured, Mapping):
            continue
        above = measured.get("minus_longer")
        rows.append(
            [
                name,
                f"{measured['accuracy']['n']:,}",
                percent(measured["accuracy"]),
                percent(measured.get("longer")),
                f"{100 * above['mean']:+.1f} [{100 * above['low']:+.1f}, {100 * above['high']:+.1f}]" if above else "",
                percent(measured.get("system")),
                f"{measured['calibration']['ece_after'] or measured['calibration']['ece_before']:.3f}",
            ]
        )
    return table(["model", "comparisons", "right", "the longer one", "above it (points)", "the system", "ECE"], rows)


def one_rater(rows: Sequence[Mapping[str, Any]], gap: float = 0.5) -> str:
    """How often one rater ranks two responses as the mean of the others does, where theirs differ by ``gap``."""
    asked: dict[str, list[list[float]]] = {}  # by prompt: of each response the rating of each rater
    for row in rows:
        if all(side in row for side in SIDES):
            rated = [sum(given) / len(SIDES) for given in zip(*(row[side] for side in SIDES), strict=True)]
            asked.setdefault(row["id"], []).append(rated)
    right: list[float] = []
    for first, second in (pair for given in asked.values() for pair in combinations(given, 2)):
        leads = [a - b for a, b in zip(first, second, strict=True)]
        for lead in leads:
            others = (sum(leads) - lead) / (len(leads) - 1)
            if abs(others) >= gap:
                right.append(0.5 if lead == 0 else float(lead * others > 0))
    return f"One rater ranks two summaries as the others do in {100 * sum(right) / len(right):.1f} %." if right else ""


def benchmarks(results: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What the models scored on MMLU and BIG-Bench-Hard, as the command printed it."""
    asked = {name: metrics for name, metrics in results.items() if "shots" in metrics}
    return [
        f"{metrics['shots']} demonstrations:\n\n```\n{benchmark_summary(metrics)}\n```" for metrics in asked.values()
    ]


def stage_table(stages: Sequence[Any], times: Sequence[Mapping[str, Any]]) -> str:
    """The commands, with the minutes and the memory that each took."""
    took = {row["stage"]: row for row in times if not row["code"]}
    rows = [
        [
            stage.name,
            f"{took[stage.name]['seconds'] / 60:.1f}" if stage.name in took else "not run",
            f"{took[stage.name]['gib']:.1f}" if stage.name in took else "",
            f"`prefgym {' '.join(stage.words)}`",
        ]
        for stage in stages
    ]
    return table(["stage", "minutes", "GiB, this or an earlier one", "command"], rows)


def samples(work: Path, runs: Mapping[str, Any]) -> str:
    """What the policies wrote for the first held-out dialogues, greedily; the dialogues stay where they are."""
    found = []
    for name in runs:
        file = work / name / "samples.jsonl"
        lines = file.read_text(encoding="utf-8").splitlines()[:3] if file.is_file() else []
        for place, row in enumerate(map(json.loads, lines)):
            texts = {"SFT": row["greedy"]["start"], name: row["greedy"]["trained"]}
            found += [f"{who}, dev row {place}: {text}" for who, text in texts.items()]
    return "\n".join(f"- {line}" for line in dict.fromkeys(found))


def draw(path: Path, histories: Mapping[str, Sequence[Mapping[str, float]]]) -> None:
    """Validation over episodes, a panel for each scalar."""
    figure, panels = plt.subplots(1, len(SCALARS), figsize=(12, 3.6), layout="constrained")
    for panel, (scalar, title) in zip(panels, SCALARS.items(), strict=True):
        for name, history in histories.items():
            points = [(row["episodes"], row[scalar]) for row in history if scalar in row]
            if points:
                panel.plot(*zip(*points, strict=True), "o-", markersize=3, label=name)
        panel.set_title(title)
        panel.set_xlabel("episodes")
    if panels[0].lines:
        panels[0].legend(fontsize=8)
    with path.open("wb") as file:
        figure.savefig(file, dpi=110)
    plt.close(figure)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; nothing if there are no rows."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) if rows else ""


def percent(rate: Mapping[str, float] | None) -> str:
    """A rate with its interval."""
    return f"{100 * rate['mean']:.1f} [{100 * rate['low']:.1f}, {100 * rate['high']:.1f}]" if rate else ""


def _mean(value: Any) -> float | None:
    return value["mean"] if isinstance(value, Mapping) else value


def _metrics(folder: Path) -> dict[str, Any] | None:
    file = folder / "metrics.json"
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None
