"""How names and figures are written for a reader: rates in percent, KL in nats, a dash for what does not apply."""

from __future__ import annotations

from collections.abc import Mapping

LABELS = {
    "start": "start policy",
    "trained": "trained policy",
    "references": "references",
    "oracle": "oracle",
    "lead": "lead sentence",
    "random_reference": "another post's reference",
    "start_best_temperature": "start, best temperature",
    "start_best_of_4": "start, best of 4",
}

FIGURE_LABELS = {
    "win_rate_vs_references": "win rate against references",
    "rouge1": "ROUGE-1",
    "rouge2": "ROUGE-2",
    "rougeL": "ROUGE-L",
    "invented_names": "invented names",
    "invented_numbers": "invented numbers",
}
"""Titles of figures, where their names do not say enough."""

NONE = "–"


def label(name: str) -> str:
    """A candidate's name in tables and pictures; a policy the user named keeps its name."""
    return LABELS.get(name, name)


def label_figure(name: str) -> str:
    """The title of a figure."""
    return FIGURE_LABELS.get(name, name.replace("_", " "))


def label_one(name: str) -> str:
    """The same for a single text."""
    return "reference" if name == "references" else label(name)


def digits_of(figure: str) -> int:
    """The digits after the point that a figure is told with: a hundredth of ROUGE is much."""
    return 3 if figure.startswith("rouge") else 1 if figure == "length" else 2


def percent(share: float | None, digits: int = 0) -> str:
    """A fraction as percent.

    >>> percent(0.654), percent(None)
    ('65 %', '–')
    """
    return NONE if share is None else f"{100 * share:.{digits}f} %"


def interval(rate: Mapping[str, float] | None) -> str:
    """A rate with its 95 % interval, in percent.

    >>> interval({"mean": 0.7, "low": 0.66, "high": 0.739})
    '70 % [66, 74]'
    """
    if rate is None:
        return NONE
    return f"{percent(rate['mean'])} [{100 * rate['low']:.0f}, {100 * rate['high']:.0f}]"


def number(value: float | None, digits: int = 2) -> str:
    """A plain number.

    >>> number(1.234), number(-0.0001), number(None)
    ('1.23', '0.00', '–')
    """
    if value is None:
        return NONE
    text = f"{value:.{digits}f}"
    return text.lstrip("-") if float(text) == 0 else text


def estimate(values: Mapping[str, float] | None, digits: int = 2) -> str:
    """A mean with its 95 % interval.

    >>> estimate({"mean": 1.5, "low": 1.25, "high": 1.75})
    '1.50 [1.25, 1.75]'
    """
    if values is None:
        return NONE
    mean, low, high = (number(values[name], digits) for name in ("mean", "low", "high"))
    return f"{mean} [{low}, {high}]"


def points(values: Mapping[str, float], digits: int = 0) -> str:
    """A difference of rates in percentage points, without the word, with its 95 % interval.

    >>> points({"mean": 0.2, "low": 0.15, "high": 0.25})
    '+20 [+15, +25]'
    """
    mean, low, high = (f"{100 * values[bound]:+.{digits}f}" for bound in ("mean", "low", "high"))
    return f"{mean} [{low}, {high}]"


def difference(values: Mapping[str, float], share: bool = False, digits: int = 2) -> str:
    """A signed difference with its 95 % interval; for two rates in percentage points.

    >>> difference({"mean": 0.2, "low": 0.15, "high": 0.25}, share=True)
    '+20.0 points [+15.0, +25.0]'
    >>> difference({"mean": -0.5, "low": -0.75, "high": -0.25})
    '-0.50 [-0.75, -0.25]'
    """
    if share:
        return f"{100 * values['mean']:+.1f} points [{100 * values['low']:+.1f}, {100 * values['high']:+.1f}]"
    mean, low, high = (f"{values[bound]:+.{digits}f}" for bound in ("mean", "low", "high"))
    return f"{mean} [{low}, {high}]"
