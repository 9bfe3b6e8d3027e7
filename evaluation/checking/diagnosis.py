"""From the mean of an agent's gradient estimates to the faults that explain it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .enumeration import Enumeration
from .faults import SENTENCES, Candidate
from .gradient_samples import Fit, MeanTest

SIGNIFICANCE = 0.001
PRINCIPAL, RANDOM = 10, 6
"""How many directions are tested: those in which faults differ most, and random ones for everything else."""
SHARE_EXPLAINED = 0.95
"""The share of χ² from which a fault is named although it does not explain the whole deviation."""
SCALE_TOLERANCE = 0.02


@dataclass(frozen=True)
class Finding:
    """A likely fault: its name, one sentence, and how well it fits the estimates."""

    fault: str
    sentence: str
    p_value: float


def directions(every: Enumeration, exact: Tensor, faults: Sequence[Candidate]) -> Tensor:
    """Orthonormal directions (D, k) to test, chosen without looking at any estimate.

    The random ones are expected gradients of random weights of ∇ log π, which a wrong agent has too.
    """
    generator = torch.Generator().manual_seed(0)
    anything = (torch.randn(every.mask.shape, generator=generator) for _ in range(RANDOM))
    apart = _principal([exact, *(fault.gradient - exact for fault in faults)])[:, :PRINCIPAL]
    return _principal([*apart.unbind(1), *(every.expected_gradient(weights) for weights in anything)])


def _principal(vectors: Sequence[Tensor]) -> Tensor:
    """Orthonormal axes (D, k) of vectors (D,) of any length, the most common first."""
    columns = torch.stack([vector.double() for vector in vectors], 1)
    axes, sizes, _ = torch.linalg.svd(columns / columns.norm(dim=0).clamp(min=1e-12), full_matrices=False)
    return axes[:, sizes > 1e-3 * sizes[0]]


def diagnose(
    test: MeanTest, exact: Tensor, faults: Sequence[Candidate], factors: Mapping[str, float]
) -> tuple[Finding, ...]:
    """The likely faults, likeliest first; none if the mean is the exact gradient.

    Tried in turn: one fault alone, a wrong factor alone, one fault and a wrong factor, mostly one fault.

    Args:
        test: holds the estimates.
        exact: the exact gradient (D,).
        faults: expected gradients of agents with one fault.
        factors: by name, the factor by which a pure length fault scales the gradient.
    """
    unexplained = test.fit(test.project(exact))
    if unexplained.p_value > SIGNIFICANCE:
        return ()
    alone = _best([(fault.fault, test.fit(test.project(fault.gradient))) for fault in faults])
    if found := _findings(alone):
        return found
    factor, error, fit = _scaled(test, exact)
    if fit.p_value > SIGNIFICANCE:
        return (_of_length(factor, error, fit, factors),)
    scaled = [(fault.fault, _scaled(test, fault.gradient)) for fault in faults]
    if found := _findings(
        _best([(name, fit) for name, (factor, _, fit) in scaled if factor > 0]), " Its length is off too."
    ):
        return found
    name, fit = min(alone.items(), key=lambda item: item[1].chi2)
    if fit.chi2 < (1 - SHARE_EXPLAINED) * unexplained.chi2:
        return (Finding(name, f"{SENTENCES[name]} (This explains most of the deviation, not all.)", fit.p_value),)
    return (Finding("unknown", SENTENCES["unknown"], unexplained.p_value),)


def _best(fits: Sequence[tuple[str, Fit]]) -> dict[str, Fit]:
    """The best fit of each fault's variants."""
    best: dict[str, Fit] = {}
    for name, fit in fits:
        if name not in best or fit.chi2 < best[name].chi2:
            best[name] = fit
    return best


def _findings(fits: Mapping[str, Fit], remark: str = "") -> tuple[Finding, ...]:
    """The faults that explain the mean, best first."""
    good = sorted((fit.chi2, name) for name, fit in fits.items() if fit.p_value > SIGNIFICANCE)
    return tuple(Finding(name, SENTENCES[name] + remark, fits[name].p_value) for _, name in good)


def _scaled(test: MeanTest, gradient: Tensor) -> tuple[float, float, Fit]:
    """The factor by which a gradient fits best, its standard error, and that fit."""
    factor, error = (float(numbers) for numbers in test.coefficients([gradient]))
    return factor, error, test.fit(factor * test.project(gradient), free=1)


def _of_length(factor: float, error: float, fit: Fit, factors: Mapping[str, float]) -> Finding:
    """The fault that keeps the gradient's direction and scales its length by this factor."""
    if factor < 0:
        return Finding("wrong_sign", SENTENCES["wrong_sign"], fit.p_value)
    off = {name: abs(factor - expected) for name, expected in factors.items()}
    name = min(off, key=lambda each: off[each])
    name = name if off[name] < max(3 * error, SCALE_TOLERANCE * factors[name]) else "scale"
    return Finding(name, f"{SENTENCES[name]} It is {factor:.3f} times as long as it should be.", fit.p_value)
