"""Expert iteration: fine-tuning on the best of the policy's own responses.

Known as RAFT (Dong et al. 2023), and where a response is either right or wrong as STaR (Zelikman et al. 2022). A
yardstick for the policy-gradient agents: rejection sampling and maximum likelihood, without advantages or values.

Departures from the papers: the best response is the one with the highest return, so its KL counts; each iteration
continues from the last policy instead of fine-tuning the start policy again.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import InputError
from .base import Advantages, PolicyGradient
from .hyperparameters import Hyperparameters
from .losses import policy_gradient_loss
from .minibatch import Minibatch
from .returns import group_numbers
from .rollout import Rollout


@dataclass(frozen=True)
class ExpertIterationHyperparameters(Hyperparameters):
    """Hyperparameters of expert iteration; ``batch_size`` counts the responses that are kept, one per prompt."""

    samples_per_prompt: int = 4
    batch_size: int | None = 16

    def check(self) -> None:
        """Check also that there is something to choose from, and enough kept for a batch."""
        super().check()
        if self.samples_per_prompt < 2:
            raise InputError(
                "Expert iteration keeps the best sample of each prompt; set samples_per_prompt to 2 or more."
            )


class ExpertIteration(PolicyGradient):
    """Raise the log-probability of the best of ``samples_per_prompt`` responses to each prompt."""

    name = "expert_iteration"
    hyperparameter_type = ExpertIterationHyperparameters
    hyperparameters: ExpertIterationHyperparameters
    climbs_reward = False

    def train(self, rollout: Rollout) -> dict[str, float]:
        """Update only on the best response to each prompt."""
        return super().train(rollout.select(best_rows(rollout.returns, rollout.groups)))

    def advantages(self, rollout: Rollout) -> Advantages:
        """Every token that was kept counts equally."""
        return Advantages(torch.ones_like(rollout.rewards))

    def loss(self, minibatch: Minibatch) -> tuple[Tensor, dict[str, Tensor]]:
        """-log pi, as in supervised fine-tuning."""
        m = minibatch
        loss = policy_gradient_loss(m.log_probs, m.advantages, m.mask, m.denominator)
        return loss, {"policy_loss": loss}


def best_rows(returns: Tensor, groups: Tensor) -> Tensor:
    """The row with the highest return in each group, the first in a tie; (G,) int64 in the order of group numbers.

    >>> best_rows(torch.tensor([1.0, 3.0, 2.0, 2.0]), torch.tensor([0, 0, 1, 1]))
    tensor([1, 2])
    """
    number = group_numbers(groups)
    by_return = returns.argsort(descending=True, stable=True)
    by_group = by_return[number[by_return].argsort(stable=True)]  # within each group the best comes first
    first = torch.cat([number.new_ones(1, dtype=torch.bool), number[by_group].diff() > 0])
    return by_group[first]
