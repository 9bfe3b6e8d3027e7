"""Direct preference optimisation (Rafailov et al. 2023) on the policy's own responses, as in Guo et al. 2024.

A yardstick for the policy-gradient agents: no advantages, no values. The preference for one of two responses to a
prompt is read from their scores by the Bradley-Terry model, p = σ(score_i - score_j), and the policy's implicit reward,
β (log π - log π_ref), is fitted to it. Where every response is possible, the minimum of the expected loss is
π* ∝ π_ref exp(score / β), the optimum of the KL-regularised objective, whatever responses are drawn from.

Departures from the papers: all pairs among the samples of a prompt are used; ``labels="soft"`` takes the expectation
over the annotator's choice instead of one choice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..errors import InputError
from . import processes
from .attach import env_attribute
from .base import Advantages, PolicyGradient
from .hyperparameters import Hyperparameters
from .losses import dpo_loss
from .minibatch import Minibatch
from .rollout import Rollout

LABELS = ("soft", "hard")


@dataclass(frozen=True)
class DPOHyperparameters(Hyperparameters):
    """Hyperparameters of DPO.

    Attributes:
        labels: how preferences are labelled: ``soft`` weighs both orders of a pair by the Bradley-Terry probability of
            the scores; ``hard`` always prefers the response with the higher score.
    """

    samples_per_prompt: int = 2
    batch_size: int | None = 16
    labels: str = "soft"

    def check(self) -> None:
        """Check also that pairs stay together."""
        super().check()
        self.check_choice("labels", LABELS)
        samples = self.samples_per_prompt
        if samples < 2:
            raise InputError("DPO compares samples of one prompt; set samples_per_prompt to 2 or more.")
        whole = self.gradient_accumulation == 1 and self.memory_limit is None
        if (self.batch_size or self.episodes_per_iteration) % samples or not whole:
            raise InputError(
                f"DPO keeps the samples of a prompt together: batch_size must be a multiple of samples_per_prompt "
                f"({samples}), and gradient_accumulation 1 without a memory_limit."
            )


class DPO(PolicyGradient):
    """Fit β (log π - log π_ref) to the preferences between samples of one prompt; β is the environment's kl_coef."""

    name = "dpo"
    hyperparameter_type = DPOHyperparameters
    hyperparameters: DPOHyperparameters
    climbs_reward = False

    def __init__(self, policy: Any = "default", env: Any = "Summarize-v0", **options: Any) -> None:
        super().__init__(policy, env, **options)
        if not env_attribute(self.env, "kl_coef") > 0:
            raise InputError("DPO needs a kl_coef above 0: it is the β of its loss.")

    def advantages(self, rollout: Rollout) -> Advantages:
        """The score of the response, at each of its tokens: all that the loss needs."""
        return Advantages(rollout.scores[:, None].expand_as(rollout.rewards))

    def loss(self, minibatch: Minibatch) -> tuple[Tensor, dict[str, Tensor]]:
        """The mean of the DPO loss over all pairs of samples of one prompt."""
        m, beta = minibatch, env_attribute(self.env, "kl_coef")
        log_ratio = (m.log_probs - m.ref_log_probs).masked_fill(~m.mask, 0.0).sum(1)  # (b,)
        first, second = pairs(m.prompt_of)
        margin = beta * (log_ratio[first] - log_ratio[second])
        difference = m.advantages[first, 0] - m.advantages[second, 0]
        if self.hyperparameters.labels == "soft":
            preferred = torch.sigmoid(difference)
        else:
            preferred = torch.heaviside(difference, difference.new_tensor(0.5))
        part = len(first) / processes.total(len(first))  # of the minibatch's pairs, 1 in one process
        loss = part * dpo_loss(margin, preferred)
        agree = part * ((margin > 0) == (difference > 0)).float().mean()
        return loss, {"policy_loss": loss, "preference_accuracy": agree.detach()}


def pairs(prompt_of: Tensor) -> tuple[Tensor, Tensor]:
    """All pairs of rows i < j with the same prompt: two tensors of row numbers.

    >>> pairs(torch.tensor([0, 0, 1, 1, 1]))
    (tensor([0, 2, 2, 3]), tensor([1, 3, 4, 4]))
    """
    same = (prompt_of[:, None] == prompt_of).triu(diagonal=1)
    first, second = same.nonzero(as_tuple=True)
    return first, second
