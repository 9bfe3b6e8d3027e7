"""What agents with a critic share: generalised advantages from the values of the policy's value head."""

from __future__ import annotations

from dataclasses import dataclass

from .base import Advantages, PolicyGradient
from .hyperparameters import Hyperparameters
from .returns import deviation, gae, whiten
from .rollout import Rollout


@dataclass(frozen=True)
class ActorCriticHyperparameters(Hyperparameters):
    """Hyperparameters of agents with a critic.

    Attributes:
        gae_lambda: lambda of GAE; 1 is the return-to-go minus the value.
        gamma: discount, 1 in the token MDP.
        normalize_reward: divide rewards by their standard deviation over the rollout's real tokens.
        normalize_advantage: whiten advantages over the rollout's real tokens.
    """

    gae_lambda: float = 1.0
    gamma: float = 1.0
    normalize_reward: bool = False
    normalize_advantage: bool = False

    def check(self) -> None:
        """Check the critic's fields too."""
        super().check()
        self.check_fraction("gae_lambda", "gamma")


class ActorCritic(PolicyGradient):
    """Base class of PPO and A2C."""

    hyperparameter_type = ActorCriticHyperparameters
    hyperparameters: ActorCriticHyperparameters

    @property
    def uses_values(self) -> bool:
        """GAE needs values."""
        return True

    def advantages(self, rollout: Rollout) -> Advantages:
        """GAE, with the value targets; whitened over real tokens if requested."""
        assert rollout.values is not None
        h, mask = self.hyperparameters, rollout.response_mask
        rewards = rollout.rewards / deviation(rollout.rewards, mask) if h.normalize_reward else rollout.rewards
        advantages, returns = gae(rewards, rollout.values, mask, h.gae_lambda, h.gamma)
        return Advantages(whiten(advantages, mask) if h.normalize_advantage else advantages, returns)
