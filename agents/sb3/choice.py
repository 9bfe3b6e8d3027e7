"""How an environment learns log π of the actions that stable-baselines3 hands it.

The reward holds -β log π, and stable-baselines3 gives an environment the actions alone. So a policy that has drawn
actions hands over the distribution it drew them from, and the environment that is stepped next takes it, if it fits
its observation. That names the right policy wherever actions come from: a rollout, ``evaluate_policy``, an
``EvalCallback`` with an environment of its own, after ``load`` or ``set_env``. Actions that come without a distribution
(a deterministic policy, one that is no language model) count as log π = 0.
"""

from __future__ import annotations

import threading
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

_left = threading.local()


class Choice(NamedTuple):
    """What actions were drawn from: the observation's ``tokens`` (B, L), and log π of every action (B, V)."""

    tokens: Tensor
    log_dist: Tensor


class Player:
    """Whoever made the last choice, as an environment asks a policy; see ``prefgym.envs.PolicyKL``."""

    choice: Choice | None = None

    def log_prob(self, observation: Any, action: Any) -> Tensor:
        """log π of one action a row, (B,)."""
        log_dist = self.log_probs(observation)
        actions = torch.as_tensor(np.asarray(action), device=log_dist.device, dtype=torch.int64)
        return log_dist.gather(-1, actions[:, None]).squeeze(-1)

    def log_probs(self, observation: Any) -> Tensor:
        """log π of every action, (B, V)."""
        assert self.choice is not None
        return self.choice.log_dist


def hand_over(choice: Choice | None) -> None:
    """Say what the actions that are about to be taken in this thread were drawn from; None: they are not random."""
    _left.choice = choice


def handed_over(tokens: np.ndarray) -> Choice | None:
    """What was handed over, if it is about the observation with these tokens (B, L)."""
    choice: Choice | None = getattr(_left, "choice", None)
    _left.choice = None
    return choice if choice is not None and np.array_equal(choice.tokens.cpu().numpy(), tokens) else None
