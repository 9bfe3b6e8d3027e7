"""REINFORCE (Williams 1992) with a choice of baselines; ``leave_one_out`` makes it RLOO (Ahmadian et al. 2024).

Departures from the papers: several optimiser steps on one rollout are possible (``batch_size`` below the rollout's
size), and only the first is then on-policy; the loss is a mean over tokens unless ``loss_reduction="episode_sum"``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ..errors import InputError
from .base import Advantages, PolicyGradient
from .baselines import make_baseline
from .hyperparameters import Hyperparameters
from .losses import policy_gradient_loss, value_loss
from .minibatch import Minibatch
from .returns import returns_to_go, whiten
from .rollout import Rollout


@dataclass(frozen=True)
class REINFORCEHyperparameters(Hyperparameters):
    """Hyperparameters of REINFORCE.

    Attributes:
        baseline: what is subtracted from returns: ``none``, ``moving_average``, ``value``, ``greedy`` (SCST),
            ``leave_one_out`` (RLOO), ``group_mean``, ``group_normalised`` (GRPO), or a name added to ``BASELINES``.
        normalize_advantage: whiten advantages over the rollout's real tokens.
    """

    samples_per_prompt: int = 4
    baseline: str = "leave_one_out"
    normalize_advantage: bool = False

    def check(self) -> None:
        """Check also that the baseline exists and gets the samples it needs."""
        super().check()
        needed = make_baseline(self.baseline).min_samples_per_prompt
        if self.samples_per_prompt < needed:
            raise InputError(
                f'The baseline "{self.baseline}" compares samples of one prompt; set samples_per_prompt to {needed} or '
                "more."
            )


class REINFORCE(PolicyGradient):
    """Raise the log-probability of tokens by their advantage."""

    name = "reinforce"
    hyperparameter_type = REINFORCEHyperparameters
    hyperparameters: REINFORCEHyperparameters

    def __init__(self, policy: Any = "default", env: Any = "Summarize-v0", **options: Any) -> None:
        super().__init__(policy, env, **options)
        self.baseline = make_baseline(self.hyperparameters.baseline)

    @property
    def uses_values(self) -> bool:
        """Only the value baseline needs values."""
        return make_baseline(self.hyperparameters.baseline).needs_values

    def advantages(self, rollout: Rollout) -> Advantages:
        """Return minus baseline, as the baseline defines both."""
        self.baseline.look(self.env, self.policy, rollout)
        advantages = self.baseline.advantages(rollout).expand_as(rollout.rewards)
        advantages = advantages.masked_fill(~rollout.response_mask, 0.0)
        if self.hyperparameters.normalize_advantage:
            advantages = whiten(advantages, rollout.response_mask)
        return Advantages(advantages, returns_to_go(rollout.rewards, rollout.response_mask))

    def loss(self, minibatch: Minibatch) -> tuple[Tensor, dict[str, Tensor]]:
        """-A log pi, plus the value loss where the baseline is learned."""
        loss = policy_gradient_loss(minibatch.log_probs, minibatch.advantages, minibatch.mask, minibatch.denominator)
        stats = {"policy_loss": loss}
        if minibatch.values is not None and minibatch.returns is not None:
            stats["value_loss"] = value_loss(
                minibatch.values, minibatch.returns, minibatch.mask, denominator=minibatch.denominator
            )
            loss = loss + self.hyperparameters.vf_coef * stats["value_loss"]
        return loss, stats

    def extra_state(self) -> dict[str, Any]:
        """The baseline's state."""
        return {"baseline": self.baseline.state_dict()}

    def load_extra_state(self, state: dict[str, Any]) -> None:
        """Restore the baseline."""
        self.baseline.load_state_dict(state["baseline"])
