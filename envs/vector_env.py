"""B episodes side by side: one reference forward and one scoring call serve all rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from ..errors import InputError, nearest
from ..numbers import is_whole, plain
from .language_env import LanguageEnv
from .mdp import Observation

Infos = dict[str, Any]
Arrays = NDArray[Any]


class TokenVectorEnv(LanguageEnv, VectorEnv[Observation, Arrays, Arrays]):
    """``TokenEnv`` for ``num_envs`` rows that share one model, one cache and one batch; each row is at its own token.

    Row i behaves as a ``TokenEnv`` seeded with s + i when this is seeded with s: same prompts, observations, rewards,
    infos (arrays with ``_key`` masks, as Gymnasium's own vector environments give). ``TokenEnv`` says what they mean.

    Args:
        num_envs: rows.
        autoreset_mode: ``NEXT_STEP`` (a row that ended is reset by its next step, whose action is ignored and whose
            reward is 0), ``SAME_STEP`` (reset immediately; the last observation and info are ``final_obs`` and
            ``final_info``) or ``DISABLED`` (``reset(options={"reset_mask": rows})``).
        render_mode: ``"ansi"`` (``render()`` returns one text per row), ``"human"`` (printed at every step), or None.
        **options: the arguments of ``TokenMDP``.

    Raises:
        InputError: an unknown argument, or one out of its range.
    """

    def __init__(
        self,
        num_envs: int = 1,
        *,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        render_mode: str | None = None,
        **options: Any,
    ) -> None:
        self.autoreset_mode = _autoreset_mode(autoreset_mode)
        self._start(num_envs, render_mode, options)
        self.num_envs = num_envs = self.mdp.num_rows
        self.metadata = {**type(self).metadata, "autoreset_mode": self.autoreset_mode}
        self.single_observation_space, self.single_action_space = self._spaces()
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._seeded = [seeding.np_random() for _ in range(num_envs)]
        self._ended = np.zeros(num_envs, dtype=np.bool_)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, Infos]:
        """Begin an episode in every row.

        Args:
            seed: row i gets ``seed + i``, or entry i of a list.
            options: ``prompt`` or ``index``, for all rows; ``reset_mask`` (B,) bool begins only some rows.
        """
        options = dict(options or {})
        seeds = self._row_seeds(seed)
        for row in _rows(self._reset_mask(options.pop("reset_mask", None))):
            if seeds[row] is not None:
                self._seeded[row] = seeding.np_random(seeds[row])
                self.mdp.samplers[row].restart()
            self._begin(row, options)
        self._show()
        return self.mdp.observation(), {}

    def step(self, actions: Arrays) -> tuple[Observation, Arrays, Arrays, Arrays, Infos]:
        """Append a token in every row (under ``NEXT_STEP``: in every row that has not just ended).

        Raises:
            InvalidAction: an action is not a token.
            ResetNeeded: a row has no episode; under ``DISABLED`` also one that has ended.
        """
        actions = np.asarray(actions)
        if actions.shape != (self.num_envs,):
            raise InputError(f"step takes one action per row, shape ({self.num_envs},), not {actions.shape}.")
        if self._term:
            self._term.ask(self.mdp.observation(), actions)
        begun = self._ended & (self.autoreset_mode is AutoresetMode.NEXT_STEP)
        for row in _rows(begun):
            self._begin(row)
        rewards, terminated = np.zeros(self.num_envs), np.zeros(self.num_envs, dtype=np.bool_)
        infos: Infos = {}
        for row, (reward, ended, info) in self.mdp.step(actions, _rows(~begun)).items():
            rewards[row], terminated[row] = reward, ended
            if ended and self.autoreset_mode is AutoresetMode.SAME_STEP:
                info = {"final_obs": self._row_observation(row), "final_info": info}
            infos = self._add_info(infos, info, row)
        if self._term:
            rewards += self._settle(infos, rewards)
        self._show()
        self._ended = terminated.copy()
        if self.autoreset_mode is AutoresetMode.SAME_STEP:
            for row in _rows(terminated):
                self._begin(row)
        return self.mdp.observation(), rewards, terminated, np.zeros_like(terminated), infos

    def action_masks(self) -> NDArray[np.bool_]:
        """The next tokens that ``mask_top_k`` and ``mask_top_p`` of the reference allow, (B, V); at least one."""
        return self.mdp.action_masks()

    def render(self) -> tuple[str, ...] | None:  # type: ignore[override]
        """One text per row, as ``TokenEnv.render``."""
        if self.render_mode is None:
            return None
        texts = tuple(self._render_row(row) for row in range(self.num_envs))
        if self.render_mode == "human":
            print("\n\n".join(f"[{row}] {text}" for row, text in enumerate(texts)) + "\n", flush=True)
            return None
        return texts

    def close_extras(self, **kwargs: Any) -> None:
        """Free the reference's cache."""
        self.mdp.close()

    @property  # type: ignore[misc]
    def np_random(self) -> tuple[np.random.Generator, ...]:  # type: ignore[override, misc]
        """Each row's random generator."""
        return tuple(generator for generator, _ in self._seeded)

    @property
    def np_random_seed(self) -> tuple[int, ...]:  # type: ignore[override]
        """The seed of each row."""
        return tuple(seed for _, seed in self._seeded)

    def _begin(self, row: int, options: dict[str, Any] | None = None) -> None:
        self.mdp.reset(row, self.np_random[row], options)
        self._ended[row] = False
        if self._term:
            self._term.clear(row)

    def _settle(self, infos: Infos, rewards: Arrays) -> Arrays:
        assert self._term is not None
        owed = self._term.settle(infos)
        for place in (infos, infos.get("final_info", {})):
            for row in _rows(place.get("_log_prob", np.zeros(0))):
                self._record(row, float(rewards[row] + owed[row]), float(place["log_prob"][row]))
        return owed

    def _row_observation(self, row: int) -> Observation:
        return {name: values[row] for name, values in self.mdp.observation().items()}

    def _show(self) -> None:
        if self.render_mode == "human":
            self.render()

    def _generators(self) -> list[np.random.Generator]:
        return list(self.np_random)

    def _row_seeds(self, seed: int | Sequence[int | None] | None) -> Sequence[int | None]:
        one: Any = plain(seed)
        if one is None or is_whole(one):
            return [None if one is None else one + row for row in range(self.num_envs)]
        seeds = [plain(each) for each in one]
        if len(seeds) != self.num_envs:
            raise InputError(f"reset takes one seed per row: {self.num_envs}, not {len(seeds)}.")
        return seeds

    def _reset_mask(self, mask: Any) -> NDArray[np.bool_]:
        if mask is None:
            return np.ones(self.num_envs, dtype=np.bool_)
        mask = np.asarray(mask)
        if mask.shape != (self.num_envs,) or mask.dtype != np.bool_ or not mask.any():
            raise InputError(f"reset_mask must be a boolean array of shape ({self.num_envs},) with at least one True.")
        return mask


def _rows(mask: Arrays) -> list[int]:
    return np.flatnonzero(mask).tolist()


def _autoreset_mode(mode: AutoresetMode | str) -> AutoresetMode:
    names = {key: choice for choice in AutoresetMode for key in (choice.name, choice.value)}
    if isinstance(mode, AutoresetMode):
        return mode
    if mode not in names:
        choices = ", ".join(choice.value for choice in AutoresetMode)
        raise InputError(f'autoreset_mode "{mode}" is not one of {choices}.{nearest(mode, names)}')
    return names[mode]
