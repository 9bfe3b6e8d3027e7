"""A stable-baselines3 ``VecEnv`` over the native vector environment: one shared reference forward per step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import load_env_creator
from gymnasium.vector import AutoresetMode
from stable_baselines3.common.vec_env import VecEnv, VecMonitor

from ...envs.vector_env import TokenVectorEnv
from ...errors import InputError
from ..stepping import row_info
from .choice import Player, handed_over
from .spaces import TokenSpace

Indices = Any


def make_vec_env(id: str, num_envs: int = 1, **env_kwargs: Any) -> VecMonitor:
    """Make a registered environment of this package for stable-baselines3.

    Args:
        id: for example ``"Summarize-v0"``.
        num_envs: rows B, all in this process; they share one model, one cache and one batch.
        **env_kwargs: arguments of the environment.

    Returns:
        A ``LanguageVecEnv`` that reports finished episodes, as stable-baselines3's logger and callbacks expect.

    Raises:
        InputError: the id is not a language environment, or an argument is wrong.
    """
    entry_point = gym.spec(id).vector_entry_point
    creator = load_env_creator(entry_point) if isinstance(entry_point, str) else entry_point
    if not (isinstance(creator, type) and issubclass(creator, TokenVectorEnv)):
        raise InputError(f'"{id}" is not a prefgym environment; use stable_baselines3.common.env_util.make_vec_env.')
    env: Any = gym.make_vec(id, num_envs, "vector_entry_point", autoreset_mode=AutoresetMode.SAME_STEP, **env_kwargs)
    return VecMonitor(LanguageVecEnv(env))


class LanguageVecEnv(VecEnv):
    """``TokenVectorEnv`` with stable-baselines3's conventions.

    A row that ends is reset in the same step; its last info holds ``terminal_observation`` and, as EOS and the budget
    are both terminal, a ``TimeLimit.truncated`` that is False. The policy's part of the reward, -β log π, is paid
    inside; see ``choice``.

    Args:
        env: a native vector environment in same-step autoreset.
    """

    def __init__(self, env: TokenVectorEnv) -> None:
        if env.autoreset_mode is not AutoresetMode.SAME_STEP:
            raise InputError('stable-baselines3 resets in the same step; make the environment with "SameStep".')
        self.env = env
        self._player = Player()
        tokens = TokenSpace(env.language_model, env.decoding, env.max_prompt_tokens)
        super().__init__(env.num_envs, env.single_observation_space, tokens)

    def reset(self) -> Any:
        """Begin an episode in every row, with the seeds and options given since the last reset."""
        for row, options in enumerate(self._options):
            mask = np.arange(self.num_envs) == row
            self._observation, _ = self.env.reset(seed=self._seeds, options={**options, "reset_mask": mask})
        self._reset_seeds()
        self._reset_options()
        return self._observation

    def step_async(self, actions: np.ndarray) -> None:
        """Store the actions (B,)."""
        self._actions = np.asarray(actions)

    def step_wait(self) -> tuple[Any, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        """Take the step."""
        self._attach()
        self._observation, rewards, terminated, truncated, infos = self.env.step(self._actions)
        dones = terminated | truncated
        rows = [row_info(infos, row) for row in range(self.num_envs)]
        for row, info in enumerate(rows):
            info["TimeLimit.truncated"] = bool(truncated[row] and not terminated[row])
            if dones[row]:
                info["terminal_observation"] = infos["final_obs"][row]
        return self._observation, rewards, dones, rows

    def close(self) -> None:
        """Free the environment."""
        self.env.close()

    def get_attr(self, attr_name: str, indices: Indices = None) -> list[Any]:
        """The environment's attribute, repeated for each row: the rows share it."""
        return [getattr(self.env, attr_name) for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: Indices = None) -> None:
        """Set an attribute for all rows.

        Raises:
            InputError: only some rows are named.
        """
        if len(set(self._get_indices(indices))) != self.num_envs:
            raise InputError(f"{attr_name} is shared by all rows of the environment; set it for all of them.")
        setattr(self.env, attr_name, value)

    def env_method(self, method_name: str, *args: Any, indices: Indices = None, **kwargs: Any) -> list[Any]:
        """Call a method of the environment once; an array or tuple with one entry per row is split among the rows."""
        result = getattr(self.env, method_name)(*args, **kwargs)
        dealt = isinstance(result, np.ndarray | tuple) and len(result) == self.num_envs
        return [result[row] if dealt else result for row in self._get_indices(indices)]

    def env_is_wrapped(self, wrapper_class: type[gym.Wrapper], indices: Indices = None) -> list[bool]:
        """Rows of a native vector environment have no wrappers."""
        return [False for _ in self._get_indices(indices)]

    def get_images(self) -> Sequence[np.ndarray | None]:
        """Text has no images."""
        return [None] * self.num_envs

    def _attach(self) -> None:
        """Let the environment query whoever chose these actions, unless the user has attached a policy to it."""
        self._player.choice = handed_over(self._observation["tokens"])
        policy = None if self._player.choice is None else self._player
        if self.env.policy in (None, self._player) and self.env.policy is not policy:
            self.env.attach_policy(policy)
