"""The picture of a preference model's calibration."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.ticker import PercentFormatter

from . import canvas
from .canvas import INK, MUTED
from .formats import percent
from .plots import TRAINED

BEFORE, AFTER = TRAINED[1], TRAINED[0]


def draw_reliability(calibration: Mapping[str, Any], path: str | Path, subtitle: str = "") -> Path:
    """Draw accuracy over confidence, before and after temperature scaling, with the line of perfect calibration.

    Args:
        calibration: as ``rewards.calibration.calibration`` returns it.
        path: the PNG file.
        subtitle: a line of facts.
    """
    figure = canvas.figure(5.6, 4.6, "Is its confidence justified?", subtitle)
    axis = figure.subplots()
    axis.plot([0.5, 1], [0.5, 1], color=MUTED, linewidth=1, linestyle=(0, (4, 3)), label="perfectly calibrated")
    for when, colour, shape in (("before", BEFORE, "s"), ("after", AFTER, "o")):
        rows = calibration[f"reliability_{when}"]
        if rows is None:
            continue
        confidence, accuracy, counts = ([row[key] for row in rows] for key in ("confidence", "accuracy", "n"))
        error = percent(calibration[f"ece_{when}"], 1)
        name = f"{when} temperature scaling (ECE {error})"
        axis.plot(confidence, accuracy, color=colour, linewidth=1.2, alpha=0.6)
        sizes = [20 + 130 * n / max(counts) for n in counts]
        axis.scatter(confidence, accuracy, s=sizes, color=colour, marker=shape, edgecolor="white", zorder=3, label=name)
    canvas.style(axis, "", "confidence: σ of the lead of the preferred response", "share of comparisons it gets right")
    for scale in (axis.xaxis, axis.yaxis):
        scale.set_major_formatter(PercentFormatter(1, decimals=0))
    axis.set_xlim(0.49, 1.01)
    axis.legend(frameon=False, fontsize=8.5, labelcolor=INK, loc="upper left")
    return canvas.save(figure, path)
