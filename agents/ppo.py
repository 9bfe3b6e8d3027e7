"""PPO with a clipped surrogate (Schulman et al. 2017) on tokens, as in Ziegler et al. 2019 and Stiennon et al. 2020.

Departures from the papers: policy and value share one trunk; advantages are whitened once over the rollout, not in each
minibatch; EOS and the token budget both end the task, so no value is bootstrapped.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from .actor_critic import ActorCritic, ActorCriticHyperparameters
from .losses import approx_kl, clip_fraction, clipped_surrogate_loss, value_loss
from .minibatch import Minibatch


@dataclass(frozen=True)
class PPOHyperparameters(ActorCriticHyperparameters):
    """Hyperparameters of PPO.

    Attributes:
        clip_range: epsilon of the surrogate; None does not clip.
        clip_range_vf: how far a value may move from its old one before the gain is clipped; None does not clip.
        target_kl: end an update once the policy has moved by 1.5 times this (nats per token); None never does.
    """

    batch_size: int | None = 16
    n_epochs: int = 4
    clip_range: float | None = 0.2
    clip_range_vf: float | None = 0.2
    gae_lambda: float = 0.95
    target_kl: float | None = None
    normalize_advantage: bool = True

    def check(self) -> None:
        """Check PPO's fields too."""
        super().check()
        self.check_positive("clip_range", "clip_range_vf", "target_kl")


class PPO(ActorCritic):
    """Update the policy for several epochs on each rollout, while a clipped ratio keeps it near the sampling policy."""

    name = "ppo"
    hyperparameter_type = PPOHyperparameters
    hyperparameters: PPOHyperparameters

    def loss(self, minibatch: Minibatch) -> tuple[Tensor, dict[str, Tensor]]:
        """Clipped surrogate plus clipped value loss."""
        h, m = self.hyperparameters, minibatch
        assert m.values is not None
        assert m.returns is not None
        policy_loss = clipped_surrogate_loss(
            m.log_probs, m.old_log_probs, m.advantages, m.mask, h.clip_range, m.denominator
        )
        value = value_loss(m.values, m.returns, m.mask, m.old_values, h.clip_range_vf, m.denominator)
        stats = {
            "policy_loss": policy_loss,
            "value_loss": value,
            "approx_kl": approx_kl(m.log_probs, m.old_log_probs, m.mask, m.num_tokens),
        }
        if h.clip_range is not None:
            stats["clip_fraction"] = clip_fraction(m.log_probs, m.old_log_probs, m.mask, h.clip_range, m.num_tokens)
        return policy_loss + h.vf_coef * value, stats

    def keep_going(self, stats: dict[str, float]) -> bool:
        """Stop before the step once the policy has moved too far, as stable-baselines3 does."""
        target = self.hyperparameters.target_kl
        return target is None or stats["approx_kl"] <= 1.5 * target
