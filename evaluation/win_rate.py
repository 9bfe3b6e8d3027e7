"""Win rates and their intervals: pure functions of numbers, which know nothing about texts or models.

An outcome is the result of comparing one text with another on the same prompt: 1 for a win, 0.5 for a tie, 0 for a
loss. Every interval is 95 %. One prompt gives one outcome, so prompts are the independent units.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtrit

from ..rewards import accuracy
from ..rewards.accuracy import Z

Interval = dict[str, float]
"""``{"mean", "low", "high"}``; a rate is a fraction 0-1."""

TIE_TOLERANCE = 1e-5
"""Scores closer than this are a tie: scores of the same text in differently padded batches differ by rounding."""


def outcomes(scores_a: ArrayLike, scores_b: ArrayLike, tie_tolerance: float = TIE_TOLERANCE) -> NDArray[np.float64]:
    """Compare scores row by row; (n,) of 1 where a is better, 0 where b is, 0.5 where they tie.

    In the other order it gives exactly the complement, so both orders agree.
    """
    difference = np.asarray(scores_a, dtype=np.float64) - np.asarray(scores_b, dtype=np.float64)
    return np.where(np.abs(difference) <= tie_tolerance, 0.5, (difference > 0).astype(np.float64))


def wilson_interval(mean: float, n: int) -> Interval:
    """Wilson's score interval for a share of n independent outcomes; see :func:`..rewards.accuracy.wilson_interval`.

    With ties counted as half, an outcome varies less than a binary one with the same mean, so the interval is then
    conservative.
    """
    if n < 1:
        raise ValueError("an interval needs at least one outcome")
    low, high = accuracy.wilson_interval(mean, n)
    return {"mean": mean, "low": min(mean, low), "high": max(mean, high)}  # at 0 and 1 one bound is the mean


def win_rate_of(outcome: ArrayLike) -> Interval:
    """The mean of n outcomes, with Wilson's interval."""
    outcome = np.asarray(outcome, dtype=np.float64)
    return wilson_interval(float(outcome.mean()), len(outcome))


def win_rate(scores_a: ArrayLike, scores_b: ArrayLike, tie_tolerance: float = TIE_TOLERANCE) -> Interval:
    """How often a beats b over n prompts, ties half, with Wilson's interval.

    >>> win_rate([3, 2, 1, 5], [1, 2, 4, 4])["mean"]
    0.625
    """
    return win_rate_of(outcomes(scores_a, scores_b, tie_tolerance))


def mean_interval(values: ArrayLike) -> Interval:
    """The mean of n values with its normal interval, mean ± 1.96 s/√n; a single value has an interval of zero width."""
    values = np.asarray(values, dtype=np.float64)
    mean = float(values.mean())
    half = Z * float(values.std(ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else 0.0
    return {"mean": mean, "low": mean - half, "high": mean + half}


def crossed_interval(values: ArrayLike) -> Interval:
    """The mean of S runs on n prompts, with an interval for other runs and other prompts.

        mean ± √((t_{S-1} s_runs / √S)² + (1.96 s_prompts / √n)²)

    where s_runs is the standard deviation of the S means over prompts, and s_prompts that of the n means over runs.
    Variation by both run and prompt is in both terms, so the interval is conservative. Student's t, as a handful of
    seeds is far from normal; a single run has the interval over prompts only.

    Args:
        values: (S, n).
    """
    values = np.asarray(values, dtype=np.float64)
    runs, found = len(values), mean_interval(values.mean(0))
    if runs == 1:
        return found
    over_runs = t_quantile(runs - 1) * float(values.mean(1).std(ddof=1)) / math.sqrt(runs)
    half = math.hypot(over_runs, found["high"] - found["mean"])
    return {"mean": found["mean"], "low": found["mean"] - half, "high": found["mean"] + half}


def mean_over_runs(found: Sequence[Interval]) -> Interval:
    """The mean of S runs, each with an interval for other prompts, with an interval for other runs too.

    As :func:`crossed_interval`, where a figure has no value for each prompt: the part for prompts is the mean distance
    of the runs' bounds, which is conservative.
    """
    means = np.array([one["mean"] for one in found])
    mean, runs = float(means.mean()), len(means)
    over_runs = t_quantile(runs - 1) * float(means.std(ddof=1)) / math.sqrt(runs) if runs > 1 else 0.0
    low, high = (float(np.mean([abs(one[bound] - one["mean"]) for one in found])) for bound in ("low", "high"))
    return {"mean": mean, "low": mean - math.hypot(over_runs, low), "high": mean + math.hypot(over_runs, high)}


def t_quantile(df: int) -> float:
    """The 97.5 % point of Student's distribution with ``df`` degrees of freedom.

    >>> round(t_quantile(2), 3), round(t_quantile(9), 3)
    (4.303, 2.262)
    """
    return float(stdtrit(df, 0.975))


def length_controlled_win_rate(
    outcome: ArrayLike,
    lengths_a: ArrayLike,
    lengths_b: ArrayLike,
    *,
    seed: int = 0,
    resamples: int = 400,
) -> Interval:
    """The win rate of a over b that a logistic regression predicts for two texts of equal length.

        P(a wins) = σ(θ + φ · tanh(Δ / s)),    Δ = length of a - length of b,    s = standard deviation of Δ

    reported at Δ = 0, so it is σ(θ). Δ is scaled and never centred: zero must stay "equally long". The interval covers
    the middle 95 % of ``resamples`` bootstrap fits over prompts. If a is longer on nearly every prompt, zero is outside
    the data and the interval is wide, as it should be. If Δ or the outcome is the same on all prompts, the plain win
    rate is returned.

    Source: Y. Dubois et al., "Length-Controlled AlpacaEval: A Simple Way to Debias Automatic Evaluators" (2024).
    Departures: no difficulty term per instruction (it is fitted there over many models), and a tie is a target of one
    half.

    Args:
        outcome: n outcomes of a against b.
        lengths_a: n lengths of a, in any one unit.
        lengths_b: n lengths of b, in the same unit.
        seed: of the bootstrap.
        resamples: number of bootstrap fits.
    """
    outcome = np.asarray(outcome, dtype=np.float64)
    difference = np.asarray(lengths_a, dtype=np.float64) - np.asarray(lengths_b, dtype=np.float64)
    spread = float(difference.std())
    if spread == 0 or outcome.min() == outcome.max():  # nothing varies, so the effect of length is unknown
        return win_rate_of(outcome)
    feature = np.tanh(difference / spread)
    n = len(outcome)
    counts = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=resamples).astype(np.float64)
    weights = np.concatenate([np.ones((1, n)), counts])  # (1 + resamples, n): the data itself first
    at_zero = 1 / (1 + np.exp(-fit_logistic(feature, outcome, weights)[:, 0]))
    low, high = np.quantile(at_zero[1:], [0.025, 0.975])
    mean = float(at_zero[0])
    return {"mean": mean, "low": min(float(low), mean), "high": max(float(high), mean)}


def fit_logistic(
    feature: NDArray[np.float64],
    target: NDArray[np.float64],
    weights: NDArray[np.float64],
    ridge: float = 0.01,
    max_steps: int = 100,
) -> NDArray[np.float64]:
    """Fit target ≈ σ(θ + φ · feature) by Newton's method, for K weightings of the same n rows simultaneously.

    A small ridge on both coefficients keeps them finite if the feature separates the outcomes, and steps are cut to
    length 2, because Newton's step overshoots where σ is flat.

    Args:
        feature: (n,).
        target: (n,) values in 0-1.
        weights: (K, n) non-negative weights.
        ridge: weight of ½(θ² + φ²), against a sum over the n rows.
        max_steps: maximum number of steps; a fit stops when its largest step is below 1e-8.

    Returns:
        (K, 2) the coefficients θ and φ.
    """
    theta = np.zeros((len(weights), 2))
    squared = feature**2
    for _ in range(max_steps):
        predicted = 1 / (1 + np.exp(-(theta[:, :1] + theta[:, 1:] * feature)))  # (K, n)
        residual = weights * (target - predicted)
        curvature = weights * predicted * (1 - predicted)
        gradient = np.stack([residual.sum(1), residual @ feature], 1) - ridge * theta  # (K, 2)
        h00, h01, h11 = curvature.sum(1) + ridge, curvature @ feature, curvature @ squared + ridge
        inverse = np.stack([np.stack([h11, -h01], 1), np.stack([-h01, h00], 1)], 1)  # (K, 2, 2), before the determinant
        step = np.einsum("kij,kj->ki", inverse, gradient) / (h00 * h11 - h01**2)[:, None]
        length = np.linalg.norm(step, axis=1, keepdims=True)
        theta += step * np.minimum(1.0, 2.0 / np.maximum(length, 1e-12))
        if float(length.max()) < 1e-8:
            break
    return theta
