"""Gold and proxy over KL: the expectation of best-of-n, the forms of Gao et al. 2023, where gold turns over."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..rewards.gold import EMPTY

Array = NDArray[np.float64]
Form = Callable[[Array], Array]
LEAST_LOST = 0.1
NEAR_FLOOR = 1.0
"""How close to ``rewards.gold.EMPTY``, the lowest possible score, counts as near the floor."""
LEAST_POINTS = 4
BLOCKS = 16
"""Number of points for the rollouts of a training: each rollout has other prompts, so single ones are noisy."""
Curve = dict[str, Any]
"""``kl``, ``proxy`` and ``gold``, lists of equal length; with a fit, the last two as gains over the start policy."""


def expected_best(by: Array, values: Array, n: int) -> float:
    """Expected value of the sample with the highest score ``by``, of n drawn from the N of a row without replacement.

        E = Σ_k v_(k) C(k - 1, n - 1) / C(N, n),    v_(k) the value of the k-th lowest score

    Every subset counts, so that a row of N samples gives the whole curve (Nakano et al. 2021, appendix I).

    Args:
        by: (posts, N) the score that chooses.
        values: (posts, N) the values to average.
        n: 1 to N.
    """
    count = by.shape[1]
    weights = np.array([math.comb(k - 1, n - 1) / math.comb(count, n) for k in range(1, count + 1)])
    ordered = np.take_along_axis(values, by.argsort(axis=1), axis=1)
    return float((ordered * weights).sum(1).mean())


def bon_form(d: Array) -> Array:
    """Gao et al. 2023, equation 1, R_bon(d) = d (α - β d): the columns of α and β, (n, 2)."""
    return np.stack([d, -(d**2)], axis=1)


def rl_form(d: Array) -> Array:
    """Gao et al. 2023, equation 2, R_RL(d) = d (α - β log d): the columns of α and β, (n, 2); 0 at d = 0."""
    logs = np.log(d, out=np.zeros_like(d), where=d > 0)
    return np.stack([d, -d * logs], axis=1)


def fit(kl: Sequence[float], gain: Sequence[float], form: Form) -> dict[str, float]:
    """Least squares of a form in d = √KL; α, β and the share of variance explained."""
    d, r = np.sqrt(np.maximum(np.array(kl), 0.0)), np.array(gain)
    columns = form(d)
    (alpha, beta), *_ = np.linalg.lstsq(columns, r, rcond=None)
    rest = ((r - columns @ np.array([alpha, beta])) ** 2).sum()
    whole = ((r - r.mean()) ** 2).sum()
    return {"alpha": float(alpha), "beta": float(beta), "r2": float(1 - rest / whole) if whole > 0 else 0.0}


def with_fit(curve: Mapping[str, Sequence[float]], form: Form, start: Mapping[str, float] | None = None) -> Curve:
    """Gold and proxy as gains over the start policy, and the fits of gold: to all points and to the ``free`` ones.

    Args:
        curve: ``kl``, ``proxy`` and ``gold``.
        form: the functional form to fit.
        start: proxy and gold of the start policy, for the rollouts of a training, which are then averaged in ``BLOCKS``
            blocks; None if the curve begins with the start policy and has no such noise.
    """
    width = len(curve["kl"]) // BLOCKS if start else 1
    start = start or {name: curve[name][0] for name in ("proxy", "gold")}
    smooth = {name: smoothed(values, width) for name, values in curve.items()}
    gains = {name: [value - start[name] for value in smooth[name]] for name in ("proxy", "gold")}
    kl, few = smooth["kl"], free(smooth["kl"], smooth["gold"])
    fits = {"fit": fit(kl, gains["gold"], form), "fit_free": fit(kl[:few], gains["gold"][:few], form)}
    return {"kl": kl, **gains, **fits, "peak": peak(kl, gains)}


def free(kl: Sequence[float], gold: Sequence[float]) -> int:
    """Number of points up to the highest KL, and to the first whose gold is near its floor; ``LEAST_POINTS`` or more.

    What the forms do not model comes after these: a KL that falls again, and a gold score that can fall no further.
    """
    near = np.flatnonzero(np.array(gold) < EMPTY + NEAR_FLOOR)
    low = int(near[0]) if len(near) else len(gold) - 1
    return max(LEAST_POINTS, min(int(np.argmax(kl)), low) + 1)


def smoothed(values: Sequence[float], width: int) -> list[float]:
    """Means of blocks of consecutive values: one rollout is noisy."""
    blocks = np.array_split(np.array(values), max(1, len(values) // max(1, width)))
    return [float(block.mean()) for block in blocks]


def peak(kl: Sequence[float], gains: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """Where gold is highest, what is left of it at the end, whether it turned over, and whether the proxy still rose.

    It turned over if a tenth or more of the gain is lost again: less may be noise.
    """
    gold, proxy = gains["gold"], gains["proxy"]
    best = int(np.argmax(gold))
    return {
        "kl": float(kl[best]),
        "gold": gold[best],
        "gold_at_end": gold[-1],
        "way": (best + 0.5) / len(gold),
        "proxy_rose": proxy[-1] > proxy[best],
        "turned": best < len(gold) - 1 and gold[best] - gold[-1] >= LEAST_LOST * max(gold[best], 0.0),
    }


def lost(curve: Curve, reached: float) -> float:
    """Highest gold up to a KL, minus gold there."""
    way = [gold for kl, gold in zip(curve["kl"], curve["gold"], strict=True) if kl <= reached]
    return max(way) - way[-1]
