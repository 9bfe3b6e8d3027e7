"""The report of a supervised run (fine-tuning, preference model): a table, the loss curve, Markdown and HTML."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .config import write_text


def write_training_report(
    folder: Path, title: str, lead: str, rows: Sequence[tuple[str, str]], history: Sequence[Mapping[str, Any]]
) -> None:
    """Write ``plots/loss.png``, ``report.md`` and ``report.html`` into ``folder``.

    Args:
        lead: the first sentence: which data and model, and what they cannot show.
        rows: (name, value) pairs of the table.
        history: logged points with ``step`` and ``loss`` or ``eval_loss``.
    """
    picture = plot_loss(folder / "plots" / "loss.png", title, history)
    table = "\n".join(["| what | value |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in rows)])
    write_text(folder / "report.md", f"# {title}\n\n{lead}\n\n{table}\n\n![loss](plots/loss.png)\n")
    cells = "".join(f"<tr><td>{html.escape(name)}</td><td>{html.escape(value)}</td></tr>" for name, value in rows)
    encoded = base64.b64encode(picture.read_bytes()).decode()
    write_text(
        folder / "report.html",
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        f"<title>{html.escape(title)}</title><style>body{{font:16px/1.5 system-ui;max-width:50em;margin:2em auto}}"
        "td{padding:.2em 1em .2em 0}img{max-width:100%}</style></head><body>"
        f"<h1>{html.escape(title)}</h1><p>{html.escape(lead)}</p><table>{cells}</table>"
        f"<img alt='loss' src='data:image/png;base64,{encoded}'></body></html>\n",
    )


def plot_loss(path: Path, title: str, history: Sequence[Mapping[str, Any]]) -> Path:
    """Draw training and held-out loss over optimiser steps to ``path``."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot(xlabel="optimiser step", ylabel="loss (nats)", title=title)
    for key, label, style in (("loss", "training", "-"), ("eval_loss", "held out", "o-")):
        points = [(point["step"], point[key]) for point in history if key in point]
        if points:
            axes.plot(*zip(*points, strict=True), style, label=label, markersize=4)
    axes.grid(alpha=0.3)
    axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    return path
