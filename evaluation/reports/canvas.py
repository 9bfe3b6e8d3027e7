"""Shared by all pictures: the look of a figure, a root-scaled KL axis, and PNG files drawn without a display."""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import FixedFormatter, FuncFormatter
from numpy.typing import NDArray

from ...data.plain_text import shortened, visible
from ...files import write_bytes

INK, MUTED, GRID = "#22303c", "#5f6c78", "#e6eaee"
TALLEST = 500.0
"""Inches; no picture may have more than 65,535 dots per side."""

NAME_WIDTH, LINE_WIDTH = 48, 240
"""Maximum characters of a name at an axis or in a legend, and of any other line."""

POWER = "$\\mathdefault{"
"""Prefix of the numbers on a logarithmic axis."""

SCORE_TITLES = {
    "preference_score": "Preference score: what training sees",
    "gold_score": "Gold score: what is true",
}


def root(kl: NDArray[np.float64]) -> NDArray[np.float64]:
    """The position of a KL on the root axis; an estimate below 0 is placed at 0."""
    return np.sqrt(np.maximum(kl, 0))


def root_scale(axis: Axes) -> None:
    """Positions are roots; tick labels are in nats."""
    right = max(axis.get_xlim()[1], 0.5)
    axis.set_xlim(-0.06 * right, right)
    step = 10.0 ** math.floor(math.log10(right**2))
    ticks = [t for t in (0, *(step * f for f in (0.02, 0.1, 0.25, 0.5, 1, 2, 3, 4, 5, 6, 8, 10))) if t <= right**2]
    far_apart = [t for i, t in enumerate(ticks) if i == 0 or math.sqrt(t) - math.sqrt(ticks[i - 1]) > 0.07 * right]
    axis.set_xticks([math.sqrt(t) for t in far_apart], [f"{t:g}" for t in far_apart])


def figure(width: float, height: float, title: str, subtitle: str) -> Figure:
    """An empty figure of that size in inches, with a title above and a line of facts below."""
    made = Figure(figsize=(width, min(height, TALLEST)), dpi=120, layout="constrained", facecolor="white")
    FigureCanvasAgg(made)
    made.suptitle(title, x=0.012, ha="left", fontsize=13, fontweight="bold", color=INK)
    if subtitle:
        made.supxlabel(subtitle, x=0.012, ha="left", fontsize=8.5, color=MUTED)
    return made


def style(axis: Axes, title: str, x: str, y: str) -> None:
    """Give a panel its title, its axes and the common look."""
    axis.set_title(title, loc="left", fontsize=10.5, color=INK)
    axis.set_xlabel(x, fontsize=9, color=MUTED)
    axis.set_ylabel(y, fontsize=9, color=MUTED)
    axis.tick_params(labelsize=9, colors=INK, length=0)
    axis.grid(color=GRID, linewidth=0.9)
    axis.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axis.spines[side].set_visible(False)
    axis.spines["bottom"].set_color(GRID)


def score_panel(axis: Axes, score: str) -> None:
    """Set up a panel of a score over KL."""
    style(axis, SCORE_TITLES.get(score, score), "KL from the reference policy (nats, root scale)", "mean score")


def legend(figure: Figure, axis: Axes) -> None:
    """Put a panel's legend beside all panels."""
    figure.legend(
        *axis.get_legend_handles_labels(),
        loc="outside right upper",
        frameon=False,
        fontsize=9,
        labelcolor=INK,
        labelspacing=0.8,
    )


def save(figure: Figure, path: str | Path) -> Path:
    """Write a PNG file atomically. Names are drawn literally, whatever they contain."""
    _draw_as_written(figure)
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # a letter that the font lacks is drawn as a box
        warnings.filterwarnings("ignore", "constrained_layout not applied")
        figure.savefig(buffer, format="png")
    return write_bytes(path, buffer.getvalue())


def drawable(text: str, width: int = LINE_WIDTH) -> str:
    r"""A text for a picture: no formulas, no control characters, at most three lines of limited width.

    >>> drawable("$\\frac{$")
    '\\$\\frac{\\$'
    """
    lines = [shortened(line.replace("\t", " "), width) for line in visible(text).split("\n")]
    return re.sub(r"(?<!\\)\$", r"\\$", "\n".join(lines[:3]))


def _draw_as_written(figure: Figure) -> None:
    """Keep texts from being read as formulas and from breaking the layout; numbers written by matplotlib stay."""
    legends = [*figure.legends, *(axes.get_legend() for axes in figure.axes)]
    names = {text for legend in legends if legend is not None for text in legend.get_texts()}
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        if not text.get_text().startswith(POWER):
            text.set_text(drawable(text.get_text(), NAME_WIDTH if text in names else LINE_WIDTH))
    for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)):
        formatter = axis.get_major_formatter()
        if isinstance(formatter, FixedFormatter):
            formatter.seq = [drawable(name, NAME_WIDTH) for name in formatter.seq]
        elif isinstance(formatter, FuncFormatter):
            formatter.func = partial(_drawn, formatter.func)


def _drawn(name_of: Callable[..., str], value: float, place: int | None = None) -> str:
    return drawable(name_of(value, place), NAME_WIDTH)
