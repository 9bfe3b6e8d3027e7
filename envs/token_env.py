"""One episode at a time: write a response token by token, get β log π_ref for each and the score for the last."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from ..numbers import plain
from .language_env import LanguageEnv
from .mdp import Observation


class TokenEnv(LanguageEnv, gym.Env[Any, Any]):
    """Writing text as a Gymnasium environment.

    Observation: ``Dict(tokens: Box(0, V-1, (L,), int64), attention_mask: Box(0, 1, (L,), int8))`` with L =
    ``max_prompt_tokens + max_new_tokens``. The prompt is left-padded to end at column ``max_prompt_tokens``, where the
    response begins. The mask decides what is padding, never the token id. Action: ``Discrete(V)``, the next token.

    An episode ends with an EOS token, with one of the ``stop_strings`` where there are any, or with the budget, and
    each is ``terminated``: the horizon is part of the task, and the score is paid at every end. The discount is 1.

    **Who knows log π?** The reward is r_t = -β (log π(y_t) - log π_ref(y_t)) + [t = T] score. The environment on its
    own pays β log π_ref(y_t) + [t = T] score, a true function of state and action. The other part, -β log π(y_t), is
    the policy's: ``PolicyKL(env, policy)`` adds it, or in the same process ``env.unwrapped.attach_policy(policy)``.
    Without a policy the estimator is k1 and log π counts as 0, which is right for a deterministic policy. Since E[-β
    KL] = E[β log π_ref] + β · entropy, an agent's own entropy bonus with ``ent_coef = β`` approximates the missing part
    (only
    approximates: an entropy bonus gives no credit for entropy to come); with the policy attached it is exact.

    info at every step: ``ref_log_prob`` and the β in use, ``kl_coef`` (with the estimator ``"exact"`` also
    ``ref_log_probs`` (V,), with a policy ``log_prob``). At the last step also ``score`` (all that is paid at T besides
    KL), ``score_parts`` (by name, before weights, those that judge), ``kl`` (the sum of the estimator paid), ``kl_k1``,
    ``finish_reason`` (``"eos"``, ``"stop"`` or ``"length"``), ``prompt``, ``response``, and where they apply
    ``eos_token_id`` (which of the model's EOS tokens it was), ``reference`` and ``prompt_index``. The rewards of an
    episode sum to ``score - kl_coef * kl``.

    ``reset(seed=..., options={"prompt": "..."})`` or ``options={"index": 7}`` chooses the prompt.

    Args:
        render_mode: ``"ansi"`` (``render()`` returns the text), ``"human"`` (printed at every step), or None.
        **options: the arguments of ``TokenMDP``.

    Raises:
        InputError: an unknown argument, or one out of its range.
    """

    def __init__(self, *, render_mode: str | None = None, **options: Any) -> None:
        self._start(1, render_mode, options)
        self.observation_space, self.action_space = self._spaces()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begin an episode at the next prompt, or at the one that ``options`` names."""
        super().reset(seed=plain(seed))
        if seed is not None:
            self.mdp.samplers[0].restart()
        self.mdp.reset(0, self.np_random, options)
        if self._term:
            self._term.clear()
        self._show()
        return self._observation(), {}

    def step(self, action: Any) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Append a token.

        Raises:
            InvalidAction: the action is not a token.
            ResetNeeded: there is no episode, or it has ended.
        """
        if self._term:
            self._term.ask(self._observation(), action)
        reward, terminated, info = self.mdp.step([action], [0])[0]
        if self._term:
            reward += self._term.settle_one(info)
            self._record(0, reward, info["log_prob"])
        self._show()
        return self._observation(), reward, terminated, False, info

    def action_masks(self) -> NDArray[np.bool_]:
        """The next tokens that ``mask_top_k`` and ``mask_top_p`` of the reference allow, (V,); one or more."""
        return self.mdp.action_masks()[0]

    def render(self) -> str | None:  # type: ignore[override]
        """Prompt, response so far, and per token log π (where a policy is attached), log π_ref and reward."""
        if self.render_mode == "human":
            print(self._render_row(0) + "\n", flush=True)
            return None
        return self._render_row(0) if self.render_mode == "ansi" else None

    def close(self) -> None:
        """Free the reference's cache."""
        self.mdp.close()

    def _show(self) -> None:
        if self.render_mode == "human":
            self.render()

    def _observation(self) -> Observation:
        return {name: values[0] for name, values in self.mdp.observation().items()}

    def _generators(self) -> list[np.random.Generator]:
        return [self.np_random]
