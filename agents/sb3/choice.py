"""How an environment gets log π of the actions that stable-baselines3 passes to it.

The reward contains -β log π, but stable-baselines3 gives an environment only the actions. So a policy that has sampled
actions publishes the distribution it sampled from, and the environment that is stepped next uses it, if it matches its
observation. That finds the right policy wherever actions come from: a rollout, ``evaluate_policy``, an ``EvalCallback``
with its own environment, after ``load`` or ``set_env``. Actions without a distribution (from a deterministic policy, or
one that is not a language model) count as log π = 0.
"""

from __future__ import annotations

import threading
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

_left = threading.local()


class Choice(NamedTuple):
    """What actions were sampled from: the observation's ``tokens`` (B, L), and log π of every action (B, V)."""

    tokens: Tensor
    log_dist: Tensor


class Player:
    """The author of the last choice, with a policy's interface; see ``prefgym.envs.PolicyKL``."""

    choice: Choice | None = None

    def log_prob(self, observation: Any, action: Any) -> Tensor:
        """log π of one action per row, (B,)."""
        log_dist = self.log_probs(observation)
        actions = torch.as_tensor(np.asarray(action), device=log_dist.device, dtype=torch.int64)
        return log_dist.gather(-1, actions[:, None]).squeeze(-1)

    def log_probs(self, observation: Any) -> Tensor:
        """log π of every action, (B, V)."""
        assert self.choice is not None
        return self.choice.log_dist


def hand_over(choice: Choice | None) -> None:
    """Publish what the next actions in this thread were sampled from; None: they are not random."""
    _left.choice = choice


def handed_over(tokens: np.ndarray) -> Choice | None:
    """The published choice, if it is about the observation with these tokens (B, L)."""
    choice: Choice | None = getattr(_left, "choice", None)
    _left.choice = None
    return choice if choice is not None and np.array_equal(choice.tokens.cpu().numpy(), tokens) else None
