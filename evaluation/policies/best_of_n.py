"""Best-of-n as a policy: the distribution of the best of n samples, and its KL from the policy they come from.

Notation: N responses that can be listed.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional


def best_of_n_kl(n: int) -> float:
    """The KL of best-of-n from the policy it samples, log n - (n - 1)/n nats: exact without ties, else a bound.

    A response drawn twice ties with itself, so with finitely many responses this is an upper bound.

    Source: N. Stiennon et al., "Learning to summarize from human feedback" (2020), appendix G.3; A. Beirami et al.,
    "Theoretical guarantees on the best-of-n alignment policy" (2024), for the bound.

    >>> round(best_of_n_kl(4), 3)
    0.636
    """
    return math.log(n) - (n - 1) / n


def best_of_n_weights(probabilities: Tensor, scores: Tensor, n: int) -> Tensor:
    """How much likelier each response is as the best of n samples than as a single one; ties go to the first.

    With F(y) the probability of a score at most that of y, and F⁻(y) of a lower one, y is the best if it is some sample
    j, those before it are worse and those after it are no better:

        P(y) / π(y) = Σ_{j=1..n} F⁻(y)^(j-1) F(y)^(n-j)

    If no two scores are equal, P(y) = F(y)^n - F⁻(y)^n, as in Beirami et al. 2024.

    Args:
        probabilities: (..., N) π of each response; they sum to 1.
        scores: (..., N).
        n: samples.

    Returns:
        (..., N) P / π. So P is ``probabilities`` times this, and KL(P ‖ π) is the mean of its logarithm under P.
    """
    ordered, order = scores.contiguous().sort(dim=-1)
    mass = functional.pad(probabilities.gather(-1, order).cumsum(-1), (1, 0))  # (..., N + 1) of the k worst
    below, up_to = (
        mass.gather(-1, torch.searchsorted(ordered, scores.contiguous(), right=right)) for right in (False, True)
    )
    return torch.stack([below ** (j - 1) * up_to ** (n - j) for j in range(1, n + 1)]).sum(0)
