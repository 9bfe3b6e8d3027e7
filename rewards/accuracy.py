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
    tie = np.array([comparison.tie for comparison in comparisons])
    right = share_right(lead, tie)  # (N,)
    _, group = np.unique([comparison.split_group for comparison in comparisons], return_inverse=True)
    mean = float(right.mean())
    residuals = np.bincount(group, weights=right - mean)  # (G,) summed over each prompt
    groups, n = len(residuals), len(right)
    variance = float((residuals**2).sum()) / n**2 * groups / max(groups - 1, 1)
    effective = min(n, mean * (1 - mean) / variance) if variance > 0 else groups
    low, high = wilson_interval(mean, effective)
    return {"mean": mean, "low": low, "high": high, "n": n}


def wilson_interval(rate: float, n: float, z: float = Z) -> tuple[float, float]:
    """Return the interval of a rate observed in ``n`` independent trials; ``z`` = 1.96 for 95 %.

    It stays within 0-1 and has positive width even at 0 % and 100 %.

    Source: E. B. Wilson, "Probable Inference, the Law of Succession, and Statistical Inference" (1927).
    """
    centre = (rate + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * math.sqrt(rate * (1 - rate) / n + z**2 / (4 * n**2))
    return max(0.0, centre - half), min(1.0, centre + half)
