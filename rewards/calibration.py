"""Whether a preference model is as confident as it is accurate: calibration error, reliability, temperature.

A preference model that scores one response higher by ``lead`` prefers it with confidence σ(|lead|). Where its
confidence is 80 % it should be right in 80 % of comparisons. A tie is half right, whatever the confidence.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data.comparisons import Comparison
from ..data.splits import group_folds
from ..errors import InputError

Array = NDArray[np.float64]

TEMPERATURES = (0.05, 20.0)
BINS = 10
"""Bins of equal width between 50 % and 100 %."""


def share_right(lead: Array, tie: NDArray[np.bool_]) -> Array:
    """1 where the chosen response scores higher, 0 where lower, one half for a tie or equal scores; (N,)."""
    return np.where(tie | (lead == 0), 0.5, lead > 0)


def reliability(lead: Array, tie: NDArray[np.bool_], bins: int = BINS) -> list[dict[str, float]]:
    """Return, for each nonempty bin, the mean ``confidence``, the ``accuracy`` and the number ``n``.

    Args:
        lead: (N,) score of the chosen response minus that of the other.
        tie: (N,) whether neither was preferred.
        bins: number of bins of equal width from 0.5 to 1; an upper edge belongs to the next bin.
    """
    confidence = 1 / (1 + np.exp(-np.minimum(np.abs(lead), 500)))
    right = share_right(lead, tie)
    place = np.minimum((2 * bins * (confidence - 0.5)).astype(int), bins - 1)
    return [
        {"confidence": float(confidence[rows].mean()), "accuracy": float(right[rows].mean()), "n": int(rows.sum())}
        for rows in (place == number for number in range(bins))
        if rows.any()
    ]


def expected_calibration_error(lead: Array, tie: NDArray[np.bool_], bins: int = BINS) -> float:
    """Return Σ_bins n / N · |accuracy - confidence|; arguments as in :func:`reliability`.

    Source: C. Guo et al., "On Calibration of Modern Neural Networks" (2017), equation 3. Even a perfect model has an
        error above 0 on few comparisons, as each bin's accuracy is then noisy.
    """
    rows = reliability(lead, tie, bins)
    return sum(row["n"] * abs(row["accuracy"] - row["confidence"]) for row in rows) / sum(row["n"] for row in rows)


def fit_temperature(lead: Array, tie: NDArray[np.bool_]) -> float:
    """Return the temperature within ``TEMPERATURES`` that minimises the Bradley-Terry loss of lead / temperature.

    The loss is convex in 1 / temperature, so a ternary search finds it. The bounds are for a model that ranks no better
    than chance, whose scores would otherwise be scaled to nothing (temperature scaling, Guo et al. 2017).

    Args:
        lead: (N,) at temperature 1.
        tie: (N,) whether neither was preferred: half a vote for each side.
    """
    against = np.where(tie, 0.5, 0.0)

    def loss(log_temperature: float) -> float:
        scaled = lead / math.exp(log_temperature)
        return float(((1 - against) * np.logaddexp(0, -scaled) + against * np.logaddexp(0, scaled)).mean())

    low, high = (math.log(bound) for bound in TEMPERATURES)
    for _ in range(60):
        left, right = low + (high - low) / 3, high - (high - low) / 3
        if loss(left) < loss(right):
            high = right
        else:
            low = left
    return math.exp((low + high) / 2)


def calibration(lead: Array, comparisons: Sequence[Comparison], *, folds: int = 5, seed: int = 0) -> dict[str, Any]:
    """Measure calibration before and after temperature scaling; no comparison is scaled by a fit to itself.

    The comparisons are split by prompt; each part is scaled by the temperature fitted to the other parts.

    Args:
        lead: (N,) at temperature 1, of comparisons that the model was not trained on.
        comparisons: the N comparisons.
        folds: number of parts, or of distinct prompts if there are fewer.
        seed: of the split.

    Returns:
        ``ece_before`` and ``ece_after`` (see :func:`expected_calibration_error`), ``reliability_before`` and
        ``reliability_after``, ``temperature`` (the mean of the fits) and ``n``. Values that need more than one prompt
        are None for a single one.

    Raises:
        InputError: there is no comparison.
    """
    if not len(comparisons):
        raise InputError("There is no comparison to measure calibration on.")
    tie = np.array([comparison.tie for comparison in comparisons])
    groups = [comparison.split_group for comparison in comparisons]
    parts = min(folds, len(set(groups)))
    measured: dict[str, Any] = {
        "ece_before": expected_calibration_error(lead, tie),
        "ece_after": None,
        "temperature": None,
        "reliability_before": reliability(lead, tie),
        "reliability_after": None,
        "n": len(comparisons),
    }
    if parts < 2:
        return measured
    fold = np.array(group_folds(groups, parts, seed))
    fits = np.array([fit_temperature(lead[fold != part], tie[fold != part]) for part in range(parts)])
    scaled = lead / fits[fold]
    return measured | {
        "ece_after": expected_calibration_error(scaled, tie),
        "temperature": float(fits.mean()),
        "reliability_after": reliability(scaled, tie),
    }
