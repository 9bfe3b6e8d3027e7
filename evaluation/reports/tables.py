"""The figures of ``metrics.json`` as tables: for the terminal, and for the report."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...agents.validated import FIGURES as VALIDATED
from ...agents.validated import ROUGE as VALIDATED_ROUGE
from ...agents.validated import best, iterations, validations
from ..policies.evaluate import Evaluation
from ..policies.measures import FIGURES
from ..policies.text_metrics import ROUGE
from .formats import (
    NONE,
    difference,
    digits_of,
    estimate,
    interval,
    label,
    label_figure,
    label_one,
    number,
    percent,
)
from .judge_words import judged_by
from .plots import History, score_parts

Metrics = Mapping[str, Any]

WIN_RATES = {
    "win_rate_vs_references": "vs references",
    "win_rate_length_controlled": "vs references, equal length",
    "win_rate_vs_start": "vs start",
    "win_rate_vs_start_length_controlled": "vs start, equal length",
}
"""Columns of win rates."""


def figure_table(policies: Mapping[str, Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Header and rows: one candidate per row, one figure per column; columns that apply to nobody are left out."""
    extra = dict.fromkeys(key for row in policies.values() for key in row if key not in FIGURES)
    columns = [
        *((title, lambda row, key=key: interval(_unless_itself(row[key]))) for key, title in WIN_RATES.items()),
        ("gold", lambda row: number(row["gold_score"])),
        ("preference", lambda row: number(row["preference_score"])),
        *((name.removesuffix("_score"), lambda row, name=name: number(row[name])) for name in extra),
        ("KL", lambda row: number(row["kl"], 1)),
        ("tokens", lambda row: number(row["length"], 1)),
        ("EOS", lambda row: percent(row["eos_rate"])),
        ("repeated", lambda row: percent(row["repetition"], 1)),
        ("invented", lambda row: number(row["invented_facts"])),
        ("names", lambda row: number(row["invented_names"])),
        ("numbers", lambda row: number(row["invented_numbers"])),
        *((label_figure(kind), lambda row, kind=kind: number((row[kind] or {}).get("mean"), 3)) for kind in ROUGE[:2]),
        ("ROUGE-L", lambda row: estimate(row["rougeL"], 3)),
    ]
    if all(row["win_rate_vs_references"] is None for row in policies.values()):
        del columns[1]  # which is then that of the win rate against the start policy
    cells = {title: [show(row) for row in policies.values()] for title, show in columns}
    kept = {title: column for title, column in cells.items() if any(cell != NONE for cell in column)}
    rows = zip(*kept.values(), strict=True)
    return ["", *kept], [[label(name), *row] for name, row in zip(policies, rows, strict=True)]


def difference_table(policies: Mapping[str, Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the paired differences to the start policy, for every trained policy."""
    rows = []
    for name, row in policies.items():
        if row["kl"] is None or not row["minus_start"]:
            continue
        for key, values in row["minus_start"].items():
            share = key.startswith("win_rate")
            rows.append([f"{label(name)}: {label_figure(key)}", difference(values, share, digits_of(key))])
    return ["", "minus the start policy"], rows


def training_table(history: History, lines: int = 8) -> tuple[list[str], list[list[str]]]:
    """Header and rows: every part of the reward, and the KL, over training, as means over equal stretches.

    If the reward has a single part there are no rows.
    """
    parts = {**score_parts(history), "KL": "objective/kl"}
    if len(parts) == 1:
        return [], []
    rows, history = [], iterations(history)
    for stretch in np.array_split(np.arange(len(history)), min(lines, len(history))):
        means = [float(np.mean([history[i][key] for i in stretch])) for key in parts.values()]
        rows.append([f"{history[stretch[-1]]['episodes']:,.0f}", *map(number, means)])
    return ["episodes", *parts], rows


def validation_table(history: History) -> tuple[list[str], list[list[str]]]:
    """Header and rows: the first, the best and the last validation of training, each once; no rows without any."""
    rows, chosen = validations(history), best(history)
    if chosen is None:
        return [], []
    found = {id(row): row for row in (rows[0], chosen, rows[-1])}
    keys = [key for key in VALIDATED if key in chosen]
    cells = [
        [f"{row['iteration']:,.0f}{' (best)' * (row is chosen)}", f"{row['episodes']:,.0f}"]
        + [number(row[key], 3 if key == VALIDATED_ROUGE else 2) for key in keys]
        for row in found.values()
    ]
    return ["after iteration", "episodes", *(VALIDATED[key] for key in keys)], cells


def summary_table(metrics: Metrics) -> str:
    """All figures as aligned text: sampled first, then greedy."""
    temperature = number(metrics["temperature"], 1)
    parts = [
        f"{metrics['prompts']} prompts; [95 % interval]; KL in nats\n{judged_by(metrics)}",
        f"sampled at temperature {temperature}",
        align(*figure_table(metrics["policies"])),
    ]
    if metrics.get("greedy"):
        parts += ["greedy", align(*figure_table(metrics["greedy"]))]
    return "\n\n".join(parts)


def align(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Aligned columns: the first to the left, the others to the right.

    >>> print(align(["", "gold"], [["start", "3.4"], ["best", "10.1"]]))
           gold
    start   3.4
    best   10.1
    """
    table = [list(header), *map(list, rows)]
    widths = [max(len(row[i]) for row in table) for i in range(len(header))]
    lines = []
    for row in table:
        cells = [row[0].ljust(widths[0])] + [cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True)]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def sample_block(evaluation: Evaluation, index: int = 0, names: Sequence[str] = (), width: int = 96) -> str:
    """One post, and each candidate's text for it, wrapped for the terminal.

    Args:
        evaluation: as ``evaluate_policies`` returns it.
        index: which of its prompts.
        names: candidates to show; by default the references, the start policy and the policies.
        width: of a line.
    """
    parts = [("post", evaluation.prompts[index].row["prompt"])]
    for name in names or shown(evaluation):
        candidate = evaluation.sampled[name]
        scores = ", ".join(f"{key.removesuffix('_score')} {number(v[index])}" for key, v in candidate.scores.items())
        parts.append((f"{label_one(name)} ({scores})" if scores else label_one(name), candidate.texts[index]))
    wrap = textwrap.TextWrapper(width=width, initial_indent="  ", subsequent_indent="  ")
    return "\n\n".join(f"{title}\n{wrap.fill(text.strip()) or '  (nothing)'}" for title, text in parts)


def shown(evaluation: Evaluation) -> list[str]:
    """The candidates to show with a post: the references, the start policy, the policies."""
    order = ["references", "start", *(name for name in evaluation.greedy if name != "start")]
    return [name for name in order if name in evaluation.sampled]


def _unless_itself(rate: Mapping[str, float] | None) -> Mapping[str, float] | None:
    """A candidate against itself is one half by definition, which is not a finding."""
    return None if rate is None or rate["low"] == rate["high"] else rate
