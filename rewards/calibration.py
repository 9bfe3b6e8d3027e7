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


def comparison_loss(lead: Array, tie: NDArray[np.bool_]) -> float:
    """Return the mean Bradley-Terry loss in nats; a tie is half a vote for each side. Arguments as in others here."""
    against = np.where(tie, 0.5, 0.0)
    return float(((1 - against) * np.logaddexp(0, -lead) + against * np.logaddexp(0, lead)).mean())


def fit_temperature(lead: Array, tie: NDArray[np.bool_]) -> float:
    """Return the temperature within ``TEMPERATURES`` that minimises the Bradley-Terry loss of lead / temperature.

    The loss is convex in 1 / temperature, so a ternary search finds it. The bounds are for a model that ranks no better
    than chance, whose scores would otherwise be scaled to nothing (temperature scaling, Guo et al. 2017).

    Args:
        lead: (N,) at temperature 1.
        tie: (N,) whether neither was preferred: half a vote for each side.
    """
    low, high = (math.log(bound) for bound in TEMPERATURES)
    for _ in range(60):
        left, right = low + (high - low) / 3, high - (high - low) / 3
        if comparison_loss(lead / math.exp(left), tie) < comparison_loss(lead / math.exp(right), tie):
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
        ``ece_before`` and ``ece_after`` (see :func:`expected_calibration_error`), ``loss_before`` and ``loss_after``
        (see :func:`comparison_loss`), ``reliability_before`` and ``reliability_after``, ``temperature`` (the mean of
        the fits) and ``n``. Values that need more than one prompt are None for a single one.

    Raises:
        InputError: there is no comparison.
    """
    if not len(comparisons):
        raise InputError("There is no comparison to measure calibration on.")
    tie = np.array([comparison.tie for comparison in comparisons])
    measured: dict[str, Any] = {**_measures("before", lead, tie), "temperature": None, "n": len(comparisons)}
    groups = [comparison.split_group for comparison in comparisons]
    parts = min(folds, len(set(groups)))
    if parts < 2:
        return measured | dict.fromkeys(("ece_after", "loss_after", "reliability_after"))
    fold = np.array(group_folds(groups, parts, seed))
    fits = np.array([fit_temperature(lead[fold != part], tie[fold != part]) for part in range(parts)])
    return measured | {"temperature": float(fits.mean()), **_measures("after", lead / fits[fold], tie)}


def helpful_temperature(lead: Array, comparisons: Sequence[Comparison], *, seed: int = 0) -> float:
    """Return the temperature fitted to all comparisons if scaling helps, else 1.

    It helps if it lowers both the calibration error and the loss, twice: cross-fitted by prompt, as :func:`calibration`
    measures it, and on the comparisons as they are. A fit at the lower bound is none: where every pair is ordered
    right, any larger scale would fit better, so the pairs do not determine one.

    Args:
        lead: (N,) at temperature 1, of comparisons that the model was not trained on.
        comparisons: the N comparisons, at least one.
        seed: of the split.
    """
    found = calibration(lead, comparisons, seed=seed)
    if found["ece_after"] is None:
        return 1.0
    tie = np.array([comparison.tie for comparison in comparisons])
    temperature = fit_temperature(lead, tie)
    whole = {**_measures("before", lead, tie), **_measures("after", lead / temperature, tie)}
    helps = all(of[f"{name}_after"] < of[f"{name}_before"] for of in (found, whole) for name in ("ece", "loss"))
    return temperature if helps and temperature > TEMPERATURES[0] * 1.001 else 1.0


def _measures(when: str, lead: Array, tie: NDArray[np.bool_]) -> dict[str, Any]:
    return {
        f"ece_{when}": expected_calibration_error(lead, tie),
        f"loss_{when}": comparison_loss(lead, tie),
        f"reliability_{when}": reliability(lead, tie),
    }
