"""Advantage actor-critic, the synchronous form of Mnih et al. 2016: one gradient step per rollout, no clipping.

Departures from the paper: whole episodes instead of n steps, so no value is bootstrapped; AdamW instead of RMSProp
(which is ``optimizer="RMSprop"``).
"""

from __future__ import annotations

from torch import Tensor

from .actor_critic import ActorCritic
from .losses import policy_gradient_loss, value_loss
from .minibatch import Minibatch


class A2C(ActorCritic):
    """Raise the log-probability of tokens by how much better they did than the critic expected."""

    name = "a2c"

    def loss(self, minibatch: Minibatch) -> tuple[Tensor, dict[str, Tensor]]:
        """-A log pi plus the value loss."""
        m = minibatch
        assert m.values is not None
        assert m.returns is not None
        policy_loss = policy_gradient_loss(m.log_probs, m.advantages, m.mask, m.denominator)
        value = value_loss(m.values, m.returns, m.mask, denominator=m.denominator)
        loss = policy_loss + self.hyperparameters.vf_coef * value
        return loss, {"policy_loss": policy_loss, "value_loss": value}
