"""What the report of ``prefgym reward`` adds: calibration, and accuracy by annotator and by length."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .evaluation.reports.calibration_plot import draw_reliability
from .evaluation.reports.document import Heading, Paragraph, Part, Picture, Table
from .evaluation.reports.formats import interval, number, percent

RELIABILITY = "reliability.png"
ANNOTATORS_SHOWN = 20


def measured_parts(metrics: Mapping[str, Any], folder: Path) -> list[Part]:
    """The parts of the report, with their picture saved in ``folder``; none where nothing was held out.

    Cross-validated figures are shown where available: nothing was selected on those comparisons.
    """
    crossed = metrics.get("cross_validation")
    measures = crossed or metrics.get("held_out")
    if measures is None:
        return []
    where = "cross-validated by prompt" if crossed else "on the held-out prompts, which chose the step"
    draw_reliability(measures["calibration"], folder / RELIABILITY, f"{measures['accuracy']['n']} comparisons, {where}")
    parts: list[Part] = [
        Heading("People beside the model"),
        Paragraph(_people(metrics, measures)),
        Heading("Calibration"),
        Paragraph(_calibration(measures["calibration"], where)),
        Picture(RELIABILITY, "Accuracy over confidence, before and after temperature scaling"),
        Heading("By length"),
        Paragraph("Ties are left out. A model that goes by length is right at the top and wrong at the bottom."),
        Table(("the chosen response is", "accuracy", "comparisons"), [_length_row(r) for r in _lengths(measures)]),
    ]
    if measures["by_annotator"]:
        rows = [[name, interval(r), f"{r['n']:,}"] for name, r in measures["by_annotator"].items()][:ANNOTATORS_SHOWN]
        left = len(measures["by_annotator"]) - len(rows)
        parts += [Heading("By annotator"), Table(("annotator", "accuracy", "comparisons"), rows)]
        parts += [Paragraph(f"And {left} annotators with fewer comparisons; metrics.json has all.")] if left else []
    return parts


def summary(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Rows of the first table, by name: agreement, ceiling and calibration error, where known."""
    told: dict[str, Any] = {"annotators agree": metrics["agreement"]}
    if metrics["noise_ceiling"]:
        low, high = (percent(metrics["noise_ceiling"][end], 1) for end in ("low", "high"))
        told["best possible accuracy"] = f"between {low} and {high}"
    measures = metrics.get("cross_validation") or metrics.get("held_out")
    if measures:
        for when, name in (("before", "calibration error (ECE)"), ("after", "and after temperature scaling")):
            error = measures["calibration"][f"ece_{when}"]
            told[name] = None if error is None else percent(error, 1)
    return told


def _people(metrics: Mapping[str, Any], measures: Mapping[str, Any]) -> str:
    model = f"The model ranks as the annotator did in {interval(measures['accuracy'])} of the comparisons."
    if metrics["agreement"] is None:
        return f"{model} No pair was judged twice, so how far annotators agree with each other is not known."
    low, high = (percent(metrics["noise_ceiling"][end], 1) for end in ("low", "high"))
    return (
        f"{model} Two judgements of the same pair agree in {interval(metrics['agreement'])} "
        f"({metrics['agreement']['n']} pairs). That interval implies that the best possible predictor of such "
        f"labels is right in {low} to {high}."
    )


def _calibration(found: Mapping[str, Any], where: str) -> str:
    told = f"Measured {where}: the expected calibration error is {percent(found['ece_before'], 1)}"
    if found["ece_after"] is None:
        return f"{told}; a single prompt leaves nothing to fit a temperature on."
    return (
        f"{told}, and {percent(found['ece_after'], 1)} after dividing the scores by a temperature "
        f"({number(found['temperature'])} on average), fitted on other prompts than those it is measured on. "
        "Scores are divided only by a temperature that lowers both the error and the loss on the held-out prompts."
    )


def _lengths(measures: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return list(reversed(measures["by_length_difference"]))


def _length_row(row: Mapping[str, Any]) -> list[str]:
    low, high = sorted(map(abs, (row["from"], row["to"])))
    count = f"{high}" if low == high else f"{low} to {high}"
    side = "longer" if row["to"] > 0 else "shorter"
    words = "word" if count == "1" else "words"
    name = "equally long" if row["to"] == row["from"] == 0 else f"{count} {words} {side}"
    return [name, interval(row["accuracy"]), f"{row['accuracy']['n']:,}"]
