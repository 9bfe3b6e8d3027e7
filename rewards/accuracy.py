"""How often a preference model ranks two responses as people did, with an interval."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..data.comparisons import Comparison
from ..errors import InputError
from .calibration import share_right
from .chat_texts import asked_and_said
from .preference_model import PreferenceModel

Z = 1.959963984540054
"""The 97.5 % point of the standard normal distribution."""


def leads(pm: PreferenceModel, comparisons: Sequence[Comparison], batch_size: int = 64) -> NDArray[np.float64]:
    """Return score(chosen) - score(rejected) of every comparison, (N,)."""
    texts = [(c.prompt, c.chosen) for c in comparisons] + [(c.prompt, c.rejected) for c in comparisons]
    given = asked_and_said(comparisons, pm.chat)  # a text in several comparisons is read once
    place = {text: i for i, text in enumerate(given)}
    scores = pm.score([prompt for prompt, _ in given.values()], [text for _, text in given.values()], batch_size)
    chosen, rejected = scores[[place[text] for text in texts]].reshape(2, len(comparisons))
    return chosen - rejected


def accuracy(pm: PreferenceModel, comparisons: Sequence[Comparison]) -> dict[str, float]:
    """Return the share of comparisons where the chosen response scores higher; see :func:`accuracy_of_leads`."""
    return accuracy_of_leads(leads(pm, comparisons), comparisons)


def accuracy_of_leads(lead: NDArray[np.float64], comparisons: Sequence[Comparison]) -> dict[str, float]:
    """Return ``{"mean", "low", "high", "n"}``: how often the lead (N,) of the chosen response is above 0.

    A lead of 0 counts half, and so does a tie, whatever its lead. ``low`` to ``high`` is a 95 % Wilson interval whose
    sample size is the effective one: comparisons of the same prompt are dependent (cluster-robust variance).
    """
    if not len(comparisons):
        raise InputError("There is no comparison to measure accuracy on.")
    right = _right(lead, comparisons)
    mean, variance, groups = _clustered(right, comparisons)
    effective = min(len(right), mean * (1 - mean) / variance) if variance > 0 else groups
    low, high = wilson_interval(mean, effective)
    return {"mean": mean, "low": low, "high": high, "n": len(right)}


def advantage_of_leads(
    lead: NDArray[np.float64], other: NDArray[np.float64], comparisons: Sequence[Comparison]
) -> dict[str, float]:
    """Return ``{"mean", "low", "high", "n"}``: by how much more often one lead (N,) is right than another.

    Paired by comparison, so that what is hard for both cancels. A normal 95 % interval whose variance is cluster-robust
    (comparisons of a prompt are dependent), with G / (G - 1) for G prompts.
    """
    if not len(comparisons):
        raise InputError("There is no comparison to measure accuracy on.")
    mean, variance, _ = _clustered(_right(lead, comparisons) - _right(other, comparisons), comparisons)
    half = Z * math.sqrt(variance)
    return {"mean": mean, "low": mean - half, "high": mean + half, "n": len(comparisons)}


def _right(lead: NDArray[np.float64], comparisons: Sequence[Comparison]) -> NDArray[np.float64]:
    return share_right(lead, np.array([comparison.tie for comparison in comparisons]))  # (N,)


def _clustered(values: NDArray[np.float64], comparisons: Sequence[Comparison]) -> tuple[float, float, int]:
    """The mean of N values, its variance when those of a prompt are dependent, and the number of prompts."""
    _, group = np.unique([comparison.split_group for comparison in comparisons], return_inverse=True)
    mean, n = float(values.mean()), len(values)
    residuals = np.bincount(group, weights=values - mean)  # (G,) summed over each prompt
    groups = len(residuals)
    return mean, float((residuals**2).sum()) / n**2 * groups / max(groups - 1, 1), groups


def wilson_interval(rate: float, n: float, z: float = Z) -> tuple[float, float]:
    """Return the interval of a rate observed in ``n`` independent trials; ``z`` = 1.96 for 95 %.

    It stays within 0-1 and has positive width even at 0 % and 100 %.

    Source: E. B. Wilson, "Probable Inference, the Law of Succession, and Statistical Inference" (1927).
    """
    centre = (rate + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * math.sqrt(rate * (1 - rate) / n + z**2 / (4 * n**2))
    return max(0.0, centre - half), min(1.0, centre + half)
