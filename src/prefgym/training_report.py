"""The report of a supervised run (fine-tuning, preference model): a table, the loss curve, Markdown and HTML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .evaluation.reports.document import Code, Heading, Paragraph, Part, Picture, Table, to_html, to_markdown
from .files import write_text

Rows = Sequence[tuple[str, str]]
CURVES = (("loss", "training", "-"), ("eval_loss", "held out", "o-"))


def write_training_report(
    folder: Path,
    title: str,
    notice: str,
    rows: Rows,
    history: Sequence[Mapping[str, Any]],
    config: str,
    further: Sequence[Part] = (),
) -> Path:
    """Write ``loss.png``, ``report.md``, ``report.html`` and the model card ``README.md`` into ``folder``.

    Args:
        folder: of the run.
        title: of the report.
        notice: the first line: which data and model, and what they cannot show.
        rows: (name, value) pairs of the table.
        history: logged points with ``step`` and ``loss`` or ``eval_loss``.
        config: the resolved configuration as text.
        further: parts placed between the loss curve and the configuration.

    Returns:
        The path of ``report.html``.
    """
    table = Table(("", "value"), rows)
    _draw_loss(folder / "loss.png", title, history)
    parts: list[Part] = [
        Paragraph(notice, "notice"),
        Heading(title, 1),
        table,
        Picture("loss.png", "Training and held-out loss over optimiser steps"),
        *further,
        Heading("Configuration"),
        Code(config),
    ]
    card = to_markdown([Heading(title, 1), Paragraph(notice), table])
    write_text(folder / "README.md", f"---\nlibrary_name: transformers\n---\n\n{card}")
    write_text(folder / "report.md", to_markdown(parts))
    return write_text(folder / "report.html", to_html(title, parts, folder))


def table_rows(metrics: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Metrics as (name, value) pairs: rates with their interval in percent; entries without a figure are left out."""
    return [(name.replace("_", " "), _shown(value)) for name, value in metrics.items() if _shown(value)]


def _shown(value: Any) -> str:
    if isinstance(value, dict) and {"mean", "low", "high", "n"} <= set(value):
        mean, low, high = (100 * value[name] for name in ("mean", "low", "high"))
        return f"{mean:.1f} % (95 % interval {low:.1f} to {high:.1f}, n = {value['n']})"
    if value is None or isinstance(value, dict | list):
        return ""
    return f"{value:.4g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)


def _draw_loss(path: Path, title: str, history: Sequence[Mapping[str, Any]]) -> None:
    from .evaluation.reports import canvas

    figure = canvas.figure(7, 4, title, "")
    axes = figure.subplots()
    canvas.style(axes, "", "optimiser step", "loss (nats)")
    for key, label, style in CURVES:
        points = [(point["step"], point[key]) for point in history if key in point]
        if points:
            axes.plot(*zip(*points, strict=True), style, label=label, markersize=4)
    if axes.lines:
        canvas.legend(figure, axes)
    canvas.save(figure, path)
