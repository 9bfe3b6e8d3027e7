"""The same policy and buffer for sb3-contrib's ``MaskablePPO``, which restricts actions to ``env.action_masks()``.

Policy, environment and update all see the restricted, renormalised distribution, so that ratios and KL are its own.
"""

from __future__ import annotations

from sb3_contrib.common.maskable.buffers import MaskableDictRolloutBuffer
from sb3_contrib.common.maskable.policies import MaskableActorCriticPolicy

from .buffer import EpisodeRolloutBuffer
from .policy import LMActorCriticPolicy


class MaskableLMActorCriticPolicy(LMActorCriticPolicy, MaskableActorCriticPolicy):  # type: ignore[misc]
    """``LMActorCriticPolicy`` for ``MaskablePPO``; arguments and errors as there."""


class MaskableEpisodeRolloutBuffer(EpisodeRolloutBuffer, MaskableDictRolloutBuffer):  # type: ignore[misc]
    """``rollout_buffer_class`` of ``MaskablePPO``: minibatches are whole episodes."""
