"""Where an agent pays its KL: in the reward or the loss, per token or per sequence, at a fixed or moving coefficient.

The environment pays -β k_t at every step (design of the MDP). ``kl_level="sequence"`` moves the whole sum to the last
token, where the score is. A loss adds ``kl_loss_coef`` times an estimate of the KL, which is itself differentiated.
The gradient of such a loss, on-policy and in expectation, is not what its value suggests:

    k1      0: the score function has mean 0, so this loss does nothing
    k2      per token Σ_t ∇ KL(π(.|s_t) ‖ π_ref(.|s_t)) at the states visited; per sequence the whole ∇ KL(π ‖ π_ref)
    k3      those of the forward KL: at each state visited, and per sequence ∇ KL(π_ref ‖ π)
    exact   as k2 per token, without sampling error; needs one more pass of the reference in each update

Per token, the effect of a token on the KL of later states is left out; k1 in the reward, and k2 per sequence, count it.
Exact KL in the reward counts only that effect, so with the same amount in the loss the two add up to the full gradient.
Source: Tang and Munos 2025, "On a few pitfalls in KL divergence gradient estimation for RL".
"""

from __future__ import annotations

import dataclasses
import warnings

import torch
from torch import Tensor

from ..models.distribution import log_distribution
from ..models.forward import response_logits
from ..rewards.kl import AdaptiveKL, exact
from .attach import env_attribute
from .env_settings import EnvSettings
from .hyperparameters import Hyperparameters
from .losses import kl_loss, masked_mean
from .minibatch import Minibatch
from .policy import LMPolicy
from .rollout import Rollout, at_end


class KLTerm:
    """The KL part of one agent's objective.

    Args:
        hyperparameters: ``kl_level``, ``kl_loss_coef``, ``kl_loss_estimator``, ``kl_target``.
        settings: the environment's; its β moves with ``kl_target``, unless the KL is in the loss: then that coefficient
            moves.

    Attributes:
        begun_with: the coefficient that the run began with, by which its validations are compared.
    """

    def __init__(self, hyperparameters: Hyperparameters, settings: EnvSettings) -> None:
        h = self.hyperparameters = hyperparameters
        env, self._settings = settings.env, settings
        self.in_loss = h.kl_loss_coef > 0
        self._loss_coef = h.kl_loss_coef
        self.begun_with = self.coef
        self._controller = None if h.kl_target is None else AdaptiveKL(self.coef, h.kl_target)
        self.whole = self.in_loss and h.kl_loss_estimator == "exact"
        self._reference = env_attribute(env, "reference") if self.whole else None
        self._decoding = env_attribute(env, "decoding")
        halves = self.whole and env_attribute(env, "kl_estimator") == "exact"
        if self.in_loss and env_attribute(env, "kl_coef") > 0 and not halves:
            warnings.warn(
                "The KL counts twice: it is in the reward (kl_coef of the environment) and in the loss (kl_loss_coef); "
                "set one of them to 0.",
                stacklevel=3,
            )

    @property
    def coef(self) -> float:
        """The current coefficient: the loss's if the KL is there, else the environment's β, whoever set it."""
        return self._loss_coef if self.in_loss else float(self._settings["kl_coef"])

    @coef.setter
    def coef(self, value: float) -> None:
        if self.in_loss:
            self._loss_coef = value
        else:
            self._settings["kl_coef"] = value

    def paid(self, rollout: Rollout) -> float:
        """The coefficient that a rollout was paid with, averaged over its episodes; for the loss, the current one."""
        return self.coef if self.in_loss or rollout.kl_coef is None else float(rollout.kl_coef.mean())

    def place(self, rollout: Rollout) -> Rollout:
        """Pay the KL where ``kl_level`` says; the sum of each episode's rewards stays the same."""
        if self.hyperparameters.kl_level == "token":
            return rollout
        return dataclasses.replace(rollout, rewards=at_end(rollout.returns, rollout.response_mask))

    def loss(self, minibatch: Minibatch, policy: LMPolicy) -> Tensor:
        """The KL term of (a piece of) a minibatch, with gradient and before its coefficient."""
        h, m = self.hyperparameters, minibatch
        if not self.whole:
            return kl_loss(m.log_probs, m.ref_log_probs, m.mask, h.kl_loss_estimator, h.kl_level, m.denominator)
        assert self._reference is not None
        assert m.log_dist is not None
        with torch.no_grad(), policy.autocast():
            logits = response_logits(
                self._reference.model, m.tokens, m.attention_mask, m.mask.shape[1], prompt_of=m.prompt_of
            )
        reference = log_distribution(logits, policy.vocab_size, self._decoding)
        return masked_mean(exact(m.log_dist, reference), m.mask, m.denominator)

    def update(self, kl: float) -> None:
        """Move the coefficient after an iteration whose mean KL per response was ``kl`` (nats)."""
        if self._controller is not None:
            self._controller.coef = self.coef
            self.coef = self._controller.update(kl)

    def state(self) -> dict[str, float]:
        """What a resumed run needs, as JSON."""
        return {"coef": self.coef, "begun_with": self.begun_with}

    def load_state(self, state: dict[str, float]) -> None:
        """Restore what ``state`` gave."""
        self.coef = state["coef"]
        self.begun_with = state.get("begun_with", self.begun_with)
