"""Advantage actor-critic, the synchronous form of Mnih et al. 2016: one step on each rollout, no clipping.

Departures from the paper: whole episodes instead of n steps, so no value is bootstrapped; Adam instead of RMSProp.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from .base import Advantages, PolicyGradient
from .hyperparameters import Hyperparameters
from .losses import policy_gradient_loss, value_loss
from .minibatch import Minibatch
from .returns import gae, whiten
from .rollout import Rollout


@dataclass(frozen=True)
class A2CHyperparameters(Hyperparameters):
    """Hyperparameters of A2C.

    Attributes:
        gae_lambda: lambda of GAE; 1 is the return-to-go minus the value.
        gamma: discount, 1 in the token MDP.
        normalize_advantage: whiten advantages over the rollout's real tokens.
    """

    gae_lambda: float = 1.0
    gamma: float = 1.0
    normalize_advantage: bool = False

    def check(self) -> None:
        """Also the fields of A2C."""
        super().check()
        self.check_fraction("gae_lambda", "gamma")


class A2C(PolicyGradient):
    """Raise the log-probability of tokens by how much better they did than the critic expected."""

    name = "a2c"
    hyperparameter_type = A2CHyperparameters
    hyperparameters: A2CHyperparameters

    @property
    def uses_values(self) -> bool:
        """The critic."""
        return True

    def advantages(self, rollout: Rollout) -> Advantages:
        """GAE."""
        assert rollout.values is not None
        h, mask = self.hyperparameters, rollout.response_mask
        advantages, returns = gae(rollout.rewards, rollout.values, mask, h.gae_lambda, h.gamma)
        return Advantages(whiten(advantages, mask) if h.normalize_advantage else advantages, returns)

    def loss(self, minibatch: Minibatch) -> tuple[Tensor, dict[str, Tensor]]:
        """-A log pi plus the value loss."""
        m = minibatch
        assert m.values is not None
        assert m.returns is not None
        policy_loss = policy_gradient_loss(m.log_probs, m.advantages, m.mask, m.denominator)
        value = value_loss(m.values, m.returns, m.mask, denominator=m.denominator)
        loss = policy_loss + self.hyperparameters.vf_coef * value
        return loss, {"policy_loss": policy_loss, "value_loss": value}
