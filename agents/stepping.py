"""Collecting episodes by stepping an environment: slow, but right whatever it is wrapped in.

Rows of a vector environment are filled in waves: all rows begin together and each gives its first episode. Taking
whichever episodes end first would favour short ones. What a row does after its end (autoreset, including its fake
transition) is ignored.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from gymnasium.vector import AutoresetMode, VectorEnv
from torch import Tensor

from ..errors import InputError
from ..rewards import kl as kl_estimators
from .attach import NEUTRAL_WRAPPERS, attach, env_attribute
from .policy import LMPolicy, Observation
from .rollout import Rollout

NAMES = {"tokens", "attention_mask"}
"""The keys of an observation."""


@dataclass
class Episode:
    """One episode as it was stepped; lists grow by one per step."""

    prompt_tokens: np.ndarray  # (P,)
    prompt_mask: np.ndarray  # (P,)
    group: int
    actions: list[int] = field(default_factory=list)
    log_probs: list[float] = field(default_factory=list)
    ref_log_probs: list[float] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    kl: list[float] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)
    info: dict[str, Any] = field(default_factory=dict)  # of the last step


def step_rollout(
    env: Any,
    policy: LMPolicy,
    num_prompts: int,
    samples_per_prompt: int,
    generator: torch.Generator | None,
    prompt_indices: Sequence[int] | None,
    greedy: bool,
) -> Rollout:
    """``collect_rollout`` for an environment that must be stepped; arguments and errors as there."""
    if not set(getattr(env.observation_space, "spaces", ())) >= NAMES:
        raise _foreign(env)
    env = attach(env, policy)
    rows = _VectorRows(env) if isinstance(env, VectorEnv) else _SingleRow(env)
    width, estimator = env_attribute(env, "max_prompt_tokens"), env_attribute(env, "kl_estimator")
    episodes: list[Episode] = []
    for groups in rows.waves(num_prompts, samples_per_prompt, generator, prompt_indices):
        episodes += _wave(rows, policy, groups, width, estimator, generator, greedy)
    return _to_rollout(episodes, policy)


def _wave(
    rows: _SingleRow | _VectorRows,
    policy: LMPolicy,
    groups: list[int],
    width: int,
    estimator: str,
    generator: torch.Generator | None,
    greedy: bool,
) -> list[Episode]:
    """Step the rows that have just been reset until the first ``len(groups)`` have each ended once."""
    observation = _checked(rows)
    episodes = [
        Episode(observation["tokens"][row, :width], observation["attention_mask"][row, :width], group)
        for row, group in enumerate(groups)
    ]
    running = set(range(len(groups)))
    while running:
        actions, values, log_probs = policy.act(observation, greedy, generator)
        log_dist = policy.log_probs(observation) if estimator == "exact" else None
        rewards, ended = rows.step(actions.cpu().numpy())
        before, observation = observation, _checked(rows)
        for row in sorted(running):
            info, episode = rows.info(row), episodes[row]
            if "ref_log_prob" not in info:
                raise _no_step(rows.env)
            episode.actions.append(int(actions[row]))
            episode.log_probs.append(float(log_probs[row]))
            episode.ref_log_probs.append(float(info["ref_log_prob"]))
            episode.rewards.append(float(rewards[row]))
            if values is not None:
                episode.values.append(float(values[row]))
            ref = torch.as_tensor(info["ref_log_probs"] if log_dist is not None else info["ref_log_prob"])
            own = torch.as_tensor(log_dist[row]) if log_dist is not None else log_probs[row].cpu()
            episode.kl.append(float(kl_estimators.estimator(estimator)(own.double(), ref.double())))
            if ended[row]:
                episode.info = _final(info, rows.env)
                running.discard(row)
            else:
                _check_growth(before, observation, row, int(actions[row]), rows.env)
    return episodes


def _checked(rows: _SingleRow | _VectorRows) -> Observation:
    """The observation as a batch; ``InputError`` if a wrapper has turned it into something else."""
    try:
        tokens, mask = (np.asarray(rows.observation[name]) for name in ("tokens", "attention_mask"))
    except (KeyError, TypeError, IndexError, ValueError) as error:  # its space did not show it
        raise _foreign(rows.env) from error
    return {"tokens": np.atleast_2d(tokens), "attention_mask": np.atleast_2d(mask)}


def _foreign(env: Any) -> InputError:
    return InputError(
        "The observation is no longer the dict of tokens and attention_mask that this agent reads; remove the "
        f"wrapper that changes it{_suspects(env)}."
    )


def _no_step(env: Any) -> InputError:
    """Gymnasium's workers without shared memory forget a reset, and take their next step for the one after an end."""
    return InputError(
        f"{type(env.unwrapped).__name__} began an episode anew where a step was asked for, or a wrapper took the "
        "step's ref_log_prob from its info; make AsyncVectorEnv with shared_memory=True (its default) or with "
        f"autoreset_mode=AutoresetMode.SAME_STEP{_suspects(env)}."
    )


def _check_growth(before: Observation, after: Observation, row: int, action: int, env: Any) -> None:
    """Check that the observation grew by the chosen token; else the log-probs would be of another text."""
    grown = (before["attention_mask"][row] == 0) & (after["attention_mask"][row] == 1)
    if grown.sum() != 1 or int(after["tokens"][row][grown][0]) != action:
        raise InputError(
            "The response did not grow by the token that was chosen; remove the wrapper that changes actions or "
            f"observations{_suspects(env)}."
        )


def _final(info: dict[str, Any], env: Any) -> dict[str, Any]:
    if "score" not in info:
        raise InputError(
            "An episode ended before its score was paid; set the environment's max_new_tokens instead, and remove "
            f"the wrapper that ended it{_suspects(env)}."
        )
    return info


def _suspects(env: Any) -> str:
    """The wrappers around an environment, and around the first one in a synchronous vector, in parentheses."""
    names = []
    while env is not env.unwrapped or getattr(env, "envs", None):
        names += [] if env is env.unwrapped or type(env) in NEUTRAL_WRAPPERS else [type(env).__name__]
        env = env.envs[0] if env is env.unwrapped else env.env
    return f" ({', '.join(names)})" if names else ""


class _SingleRow:
    """A single environment, seen as a vector of one row."""

    def __init__(self, env: Any) -> None:
        self.env = env
        self.observation: Any = None
        self._info: dict[str, Any] = {}

    def waves(
        self, num_prompts: int, samples: int, generator: torch.Generator | None, indices: Sequence[int] | None
    ) -> Iterator[list[int]]:
        """Reset the row for each wave in turn; yields which prompt of the rollout each row answers."""
        indices = self.env.unwrapped.sample_prompt_indices(num_prompts) if indices is None else indices
        for group, index in enumerate(indices):
            for _ in range(samples):
                self.observation, _ = self.env.reset(options={"index": index})
                yield [group]

    def step(self, actions: np.ndarray) -> tuple[list[float], list[bool]]:
        """Rewards and ends of the rows."""
        self.observation, reward, terminated, truncated, self._info = self.env.step(int(actions[0]))
        return [float(reward)], [terminated or truncated]

    def info(self, row: int) -> dict[str, Any]:
        """The row's info from the last step."""
        return self._info


class _VectorRows:
    """The rows of a vector environment: native, synchronous or asynchronous, under every autoreset mode."""

    def __init__(self, env: Any) -> None:
        self.env = env
        self.observation: Any = None
        self._infos: dict[str, Any] = {}

    def waves(
        self, num_prompts: int, samples: int, generator: torch.Generator | None, indices: Sequence[int] | None
    ) -> Iterator[list[int]]:
        """Reset all rows for each wave in turn; yields which prompt of the rollout each row answers.

        With one sample per prompt, each row answers the next prompt in its order. With several, or with given
        prompts, all rows get the same prompt, as one set of reset options reaches all of them.
        """
        num_rows, native = self.env.num_envs, hasattr(self.env.unwrapped, "sampler_state")
        # The prompt order of sub-environments is not accessible; seeding them for each rollout from the agent's
        # generator lets a resumed run repeat it.
        device = generator.device if generator else None
        seed = None if native else int(torch.randint(2**31 - 1, (1,), generator=generator, device=device))
        self.observation, _ = self.env.reset(seed=seed)
        if samples == 1 and indices is None:
            for begin in range(0, num_prompts, num_rows):
                if begin:
                    self.observation, _ = self.env.reset()
                yield list(range(begin, min(begin + num_rows, num_prompts)))
            return
        for group, index in enumerate(self._draw(num_prompts) if indices is None else indices):
            for begin in range(0, samples, num_rows):
                self.observation, _ = self.env.reset(options={"index": index})
                yield [group] * min(num_rows, samples - begin)

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rewards and ends of the rows."""
        self.observation, rewards, terminations, truncations, self._infos = self.env.step(actions)
        ended = terminations | truncations
        if ended.any() and self.env.metadata.get("autoreset_mode") == AutoresetMode.DISABLED:
            self.observation, _ = self.env.reset(options={"reset_mask": ended.copy()})
        return rewards, ended

    def info(self, row: int) -> dict[str, Any]:
        """The row's info from the last step; under same-step autoreset, an end is reported in ``final_info``."""
        return row_info(self._infos, row)

    def _draw(self, count: int) -> list[int]:
        drawn = self.env.unwrapped
        if hasattr(drawn, "sample_prompt_indices"):
            return drawn.sample_prompt_indices(count)
        return drawn.call("sample_prompt_indices", count)[0]


def row_info(infos: dict[str, Any], row: int) -> dict[str, Any]:
    """One row's info from a vector environment's last step; under same-step autoreset, of the episode that ended."""
    final = infos.get("final_info", {})
    if final and infos["_final_info"][row]:
        infos = final
    return {name: _at(value, row) for name, value in infos.items() if _present(infos, name, row)}


def _present(infos: dict[str, Any], name: str, row: int) -> bool:
    return f"_{name}" in infos and bool(infos[f"_{name}"][row])


def _at(value: Any, row: int) -> Any:
    """Entry ``row`` of a vector environment's info, which may be a dict of such entries."""
    if isinstance(value, dict):
        return {name: _at(entry, row) for name, entry in value.items() if _present(value, name, row)}
    return value[row]


def _to_rollout(episodes: list[Episode], policy: LMPolicy) -> Rollout:
    """Pad episodes into tensors."""
    episodes = sorted(episodes, key=lambda episode: episode.group)
    width, lengths = max(len(episode.actions) for episode in episodes), [len(e.actions) for e in episodes]
    device = policy.device

    def pad(name: str, dtype: torch.dtype = torch.float32, fill: int = 0) -> Tensor:
        rows = [getattr(episode, name) + [fill] * (width - len(episode.actions)) for episode in episodes]
        return torch.tensor(rows, dtype=dtype, device=device)

    def final(name: str) -> list[Any]:
        return [episode.info.get(name) for episode in episodes]

    parts = final("score_parts")
    return Rollout(
        prompt_tokens=torch.as_tensor(np.stack([e.prompt_tokens for e in episodes]), device=device),
        prompt_mask=torch.as_tensor(np.stack([e.prompt_mask for e in episodes]), device=device).bool(),
        response_tokens=pad("actions", torch.int64, policy.language_model.pad_token_id),
        response_mask=torch.arange(width, device=device) < torch.tensor(lengths, device=device)[:, None],
        log_probs=pad("log_probs"),
        ref_log_probs=pad("ref_log_probs"),
        values=pad("values") if policy.has_values else None,
        kl=pad("kl"),
        rewards=pad("rewards"),
        scores=torch.tensor(final("score"), dtype=torch.float32, device=device),
        score_parts={
            name: torch.tensor([row.get(name, math.nan) for row in parts], dtype=torch.float32)  # NaN: did not judge
            for name in dict.fromkeys(name for row in parts for name in row)
        },
        groups=torch.tensor([episode.group for episode in episodes], device=device),
        finish_reasons=final("finish_reason"),
        prompts=final("prompt"),
        responses=final("response"),
        references=final("reference"),
        prompt_indices=[int(index) for index in final("prompt_index")],
        kl_coef=torch.tensor(final("kl_coef"), dtype=torch.float32, device=device),
    )
