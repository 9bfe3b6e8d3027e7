"""Before anything is learned: a policy that is its reference is not away from it, and reads what it wrote as written.

Whatever a model is, its first rollout shows whether sampling, update and reference agree on a token's probability.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ..errors import InputError
from .policy import LMPolicy
from .rollout import Rollout

TOLERANCE, LOW_PRECISION = 2e-3, 1.0
"""Nats that rounding may make of a log-ratio, in fp32 and where anything is computed with fewer bits."""
EPISODES = 4


@torch.no_grad()
def check_first_rollout(policy: LMPolicy, env: Any, rollout: Rollout) -> None:
    """Check a rollout that was made before the first update.

    Raises:
        InputError: the update would read other probabilities than those sampled from, or the KL to a reference with the
            same weights is not 0.
    """
    model = policy.language_model
    weights = next(model.model.parameters())
    tolerance = TOLERANCE if policy.precision == "fp32" and weights.dtype == torch.float32 else LOW_PRECISION
    rows = rollout.response_mask.sum(1).argsort(descending=True)[:EPISODES]  # the longest show most
    ratio = _largest(_read_again(policy, rollout, rows) - rollout.log_probs[rows], rollout.response_mask[rows])
    if ratio > tolerance:
        raise InputError(
            f'Before the first update, "{model.name}" reads its own responses {ratio:.2g} nats away from how it wrote '
            "them, where 0 is right: it cannot be trained exactly. prefgym.check_model shows by which path."
        )
    if not _is_reference(policy, env):
        return
    away = _largest(rollout.log_probs - rollout.ref_log_probs, rollout.response_mask)
    if away > tolerance:
        raise InputError(
            f'Before the first update, "{model.name}" is {away:.2g} nats away from a reference with the same weights, '
            "where 0 is right: its KL would be wrong. prefgym.check_model shows by which path."
        )


def _read_again(policy: LMPolicy, rollout: Rollout, rows: Tensor) -> Tensor:
    tokens = torch.cat([rollout.prompt_tokens[rows], rollout.response_tokens[rows]], dim=1)
    mask = torch.cat([rollout.prompt_mask[rows], rollout.response_mask[rows]], dim=1)
    groups = rollout.groups[rows].unique(return_inverse=True)[1]
    return policy.evaluate_actions(
        tokens, mask, rollout.response_mask.shape[1], with_entropy=False, prompt_of=groups
    ).log_probs


def _largest(difference: Tensor, mask: Tensor) -> float:
    return float(difference.abs().masked_fill(~mask, 0.0).max())


def _is_reference(policy: LMPolicy, env: Any) -> bool:
    """Whether policy and reference have the same weights and draw from the same distribution."""
    base = env.unwrapped
    reference: nn.Module | None = getattr(getattr(base, "reference", None), "model", None)
    if reference is None or policy.decoding != getattr(base, "decoding", None):
        return False
    own, others = dict(policy.language_model.model.named_parameters()), dict(reference.named_parameters())
    return own.keys() == others.keys() and all(
        one.dtype == others[name].dtype and torch.equal(one, others[name].to(one.device)) for name, one in own.items()
    )
