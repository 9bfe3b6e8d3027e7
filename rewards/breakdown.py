"""Where a preference model is right: by annotator, by length, and compared with how far people agree."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data.comparisons import Comparison
from .accuracy import accuracy_of_leads, wilson_interval
from .annotators import expected_agreement
from .calibration import calibration

Array = NDArray[np.float64]


def breakdown(lead: Array, comparisons: Sequence[Comparison], seed: int = 0) -> dict[str, Any]:
    """Return all measures of a model on comparisons that it was not trained on.

    Args:
        lead: (N,) score of the chosen response minus that of the other, at temperature 1.
        comparisons: the N comparisons, at least one.
        seed: of the split in :func:`prefgym.rewards.calibration.calibration`.

    Returns:
        ``accuracy``, ``calibration``, ``by_annotator`` (None if annotators are unknown) and ``by_length_difference``.
    """
    return {
        "accuracy": accuracy_of_leads(lead, comparisons),
        "calibration": calibration(lead, comparisons, seed=seed),
        "by_annotator": by_annotator(lead, comparisons),
        "by_length_difference": by_length_difference(lead, comparisons),
    }


def by_annotator(lead: Array, comparisons: Sequence[Comparison]) -> dict[str, dict[str, float]] | None:
    """Accuracy on each annotator's comparisons, the most active annotator first; None if no annotator is known."""
    rows: dict[str, list[int]] = defaultdict(list)
    for row, comparison in enumerate(comparisons):
        if comparison.annotator is not None:
            rows[comparison.annotator].append(row)
    found = {name: accuracy_of_leads(lead[own], [comparisons[i] for i in own]) for name, own in rows.items()}
    return dict(sorted(found.items(), key=lambda item: -item[1]["n"])) or None


def by_length_difference(lead: Array, comparisons: Sequence[Comparison]) -> list[dict[str, Any]]:
    """Accuracy by how many words longer the chosen response is; ties, where none is chosen, are left out.

    A model that likes long texts is right where the chosen one is longer and wrong where it is shorter. Five ranges,
    cut at 0 and at the median difference on either side; each with ``from`` and ``to``, the differences found in it,
    and its ``accuracy``. Empty ranges are left out.
    """
    kept = [row for row, comparison in enumerate(comparisons) if not comparison.tie]
    words = np.array([len(comparisons[i].chosen.split()) - len(comparisons[i].rejected.split()) for i in kept])
    middle = np.median(np.abs(words[words != 0])) if words.any() else 0
    sides = (words < -middle, (words < 0) & (words >= -middle), words == 0, (words > 0) & (words <= middle))
    found = []
    for inside in (*sides, words > middle):
        own = [kept[i] for i in np.flatnonzero(inside)]
        if own:
            accuracy = accuracy_of_leads(lead[own], [comparisons[i] for i in own])
            found.append({"from": int(words[inside].min()), "to": int(words[inside].max()), "accuracy": accuracy})
    return found


def agreement(comparisons: Sequence[Comparison]) -> dict[str, float] | None:
    """How often one judgement of a pair predicts another of the same pair; None if no pair was judged twice.

    Counted like a model's accuracy, with a tie half right: v w + (1 - v)(1 - w) for votes v and w, 1 for one
    text, 0 for the other and one half for a tie; the mean over the pairs of judgements, then over the texts judged.

    Returns:
        ``{"mean", "low", "high", "n"}``: n pairs of texts, a 95 % Wilson interval.
    """
    votes: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for item in comparisons:
        first, second = sorted((item.chosen, item.rejected))
        votes[item.prompt, first, second].append(0.5 if item.tie else float(item.chosen == first))
    shares = [expected_agreement(np.array([own])) for own in votes.values() if len(own) > 1]
    if not shares:
        return None
    mean = float(np.mean(shares))
    low, high = wilson_interval(mean, len(shares))
    return {"mean": mean, "low": low, "high": high, "n": len(shares)}


def ceiling_bounds(low: float, high: float) -> dict[str, float]:
    """Bounds on the accuracy of the best possible predictor of labels, given how often annotators agree.

    On a pair whose first text wins with probability p, whoever judges, two judges agree with probability p² + (1 - p)²
    = (1 + d²) / 2 and the best prediction is right with probability max(p, 1 - p) = (1 + d) / 2, where d = |2 p - 1|.
    As d² ≤ d, the mean of the second is at least that of the first; and at most (1 + √(2 · agreement - 1)) / 2, as the
    mean of d is at most the root of the mean of d².

    Args:
        low: lowest possible agreement, such as the lower end of its interval.
        high: highest possible agreement.

    >>> ceiling_bounds(0.68, 0.68)
    {'low': 0.68, 'high': 0.8}
    """
    best = (1 + math.sqrt(2 * max(high, 0.5) - 1)) / 2
    return {"low": max(low, 0.5), "high": round(best, 12)}
