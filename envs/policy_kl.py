"""The policy's part of the reward.

An environment cannot know log π, so on its own it pays β log π_ref(y_t) + [t = T] score. With a policy, the total is -β
k_t + [t = T] score, where k_t is the estimator of the KL (k1: log π - log π_ref). The difference,

    -β k_t - β log π_ref(y_t)        (for k1: -β log π(y_t)),

is added here, on the learner's side, so that it is right wherever the environment runs. The infos contain all that is
needed (``ref_log_prob`` and β at every step), so the same few lines work for one environment, a native vector
environment and workers in other processes, under every autoreset mode.
"""

from __future__ import annotations

from typing import Any, Protocol, TypeVar, cast

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import VectorEnv, VectorWrapper
from numpy.typing import NDArray

from ..errors import InputError
from ..rewards.kl import estimator, k1

Info = dict[str, Any]


class Policy(Protocol):
    """What a policy must provide. Observations and actions are as in the environment, single or batched."""

    def log_prob(self, observation: Any, action: Any) -> Any:
        """log π(action | observation): a number, or (B,) for a batch."""

    def log_probs(self, observation: Any) -> Any:
        """log π of every action, (V,) or (B, V); needed only for the estimator ``"exact"``."""


class PolicyTerm:
    """The policy's part at each step, -β k_t - β log π_ref, and the KL of the current episode in each row.

    Args:
        policy: has ``log_prob(observation, action)``, and ``log_probs(observation)`` for the estimator ``"exact"``.
            kl_estimator: k1, k2, k3 or exact.
        num_rows: B.

    Raises:
        InputError: the policy cannot answer.
    """

    def __init__(self, policy: Policy, kl_estimator: str, num_rows: int = 1) -> None:
        self._whole = kl_estimator == "exact"
        for method in ["log_prob"] + ["log_probs"] * self._whole:
            if not callable(getattr(policy, method, None)):
                raise InputError(
                    f"{type(policy).__name__} has no method {method}, which the KL estimator {kl_estimator} needs."
                )
        self.policy = policy
        self._estimate = estimator(kl_estimator)
        self._kl, self._kl_k1 = np.zeros(num_rows), np.zeros(num_rows)

    def ask(self, observation: Any, action: Any) -> None:
        """Query the policy about the step that is about to be taken."""
        self._log_prob = np.atleast_1d(_array(self.policy.log_prob(observation, action)))  # (B,)
        if self._whole:
            self._log_probs = np.atleast_2d(_array(self.policy.log_probs(observation)))  # (B, V)

    def settle(self, infos: Info) -> NDArray[np.float64]:
        """Return what to add to the rewards (B,) of the queried step, and correct its infos.

        Rows whose infos report no step (the fake transition of next-step autoreset) get 0. ``log_prob`` is added to the
        infos; the last step's ``kl`` and ``kl_k1`` become the policy's.
        """
        owed = np.zeros(len(self._kl))
        for place in (
            infos,
            infos.get("final_info", {}),
        ):  # a last step under same-step autoreset is reported in the second
            if "ref_log_prob" in place:
                self._settle_rows(np.flatnonzero(place["_ref_log_prob"]), place, owed)
        return owed

    def settle_one(self, info: Info) -> float:
        """``settle`` for the info of a single environment."""
        infos: Info = {}
        for name in ("ref_log_prob", "kl_coef", "ref_log_probs", "kl", "kl_k1", "log_prob"):
            if name in info:
                infos |= {name: np.array([info[name]]), f"_{name}": np.array([True])}
        owed = self.settle(infos)
        info |= {name: float(infos[name][0]) for name in ("log_prob", "kl", "kl_k1") if name in infos}
        return float(owed[0])

    def clear(self, rows: Any = slice(None)) -> None:
        """Begin a new episode in ``rows`` (indices or a mask)."""
        self._kl[rows] = self._kl_k1[rows] = 0.0

    def _settle_rows(self, rows: NDArray[np.int64], infos: Info, owed: NDArray[np.float64]) -> None:
        if np.any(infos.get("_log_prob", False)):
            raise InputError("The policy's part of the reward is already paid; attach or wrap one policy, not two.")
        log_prob = self._log_prob[rows]
        if not np.all(np.isfinite(log_prob)):
            raise InputError(
                f"{type(self.policy).__name__} gave the log-probability {log_prob[~np.isfinite(log_prob)][0]} to an "
                "action that was taken, so the KL has no finite value; take actions that the policy allows."
            )
        ref_log_prob, kl_coef = infos["ref_log_prob"][rows].astype(np.float64), infos["kl_coef"][rows]
        if self._whole:
            ref_log_probs = infos["ref_log_probs"][rows].astype(np.float64)
            kl = self._estimate(torch.from_numpy(self._log_probs[rows]), torch.from_numpy(ref_log_probs)).numpy()
        else:
            kl = self._estimate(torch.from_numpy(log_prob), torch.from_numpy(ref_log_prob)).numpy()
        owed[rows] = -kl_coef * kl - kl_coef * ref_log_prob
        self._kl[rows] += kl
        self._kl_k1[rows] += k1(torch.from_numpy(log_prob), torch.from_numpy(ref_log_prob)).numpy()
        infos["log_prob"], infos["_log_prob"] = np.zeros(len(owed)), np.zeros(len(owed), dtype=np.bool_)
        infos["log_prob"][rows], infos["_log_prob"][rows] = log_prob, True
        if "kl" in infos:
            ended = rows[infos["_kl"][rows]]
            infos["kl"][ended], infos["kl_k1"][ended] = self._kl[ended], self._kl_k1[ended]


EnvOrVectorEnv = TypeVar("EnvOrVectorEnv", gym.Env, VectorEnv)


class PolicyKL(gym.Wrapper):
    """Add the policy's part of the reward to an environment, single or vector.

    Put it on the learner's side: around the vector environment, not inside its workers, where a pickled policy goes
    stale. Wrappers that change the reward belong outside it. For a vector environment the call returns a
    ``VectorPolicyKL``.

    Args:
        env: the environment; its infos carry ``ref_log_prob``.
        policy: answers ``log_prob(observation, action)``, and ``log_probs(observation)`` for the estimator ``"exact"``.

    Raises:
        InputError: the policy cannot answer, or the environment is not one of prefgym's.
    """

    def __new__(cls, env: gym.Env | VectorEnv | None = None, policy: Policy | None = None) -> Any:
        """Choose the wrapper that fits the environment (copying and unpickling call this without arguments)."""
        if isinstance(env, VectorEnv) and policy is not None:
            return VectorPolicyKL(env, policy)
        return super().__new__(cls)

    def __init__(self, env: gym.Env, policy: Policy) -> None:
        super().__init__(env)
        self.term = PolicyTerm(policy, _kl_estimator(env))

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, Info]:
        """Begin an episode."""
        self.term.clear()
        self._observation, info = self.env.reset(seed=seed, options=options)
        return self._observation, info

    def step(self, action: Any) -> tuple[Any, float, bool, bool, Info]:
        """Take a step and pay the policy's part of it."""
        self.term.ask(self._observation, action)
        self._observation, reward, terminated, truncated, info = self.env.step(action)
        return self._observation, float(reward) + self.term.settle_one(info), terminated, truncated, info


class VectorPolicyKL(VectorWrapper):
    """``PolicyKL`` for a vector environment: native, synchronous or asynchronous, under every autoreset mode."""

    def __init__(self, env: VectorEnv, policy: Policy) -> None:
        super().__init__(env)
        self.term = PolicyTerm(policy, _kl_estimator(env), env.num_envs)

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, Info]:
        """Begin an episode in every row, or in those of ``options["reset_mask"]``."""
        rows = (options or {}).get("reset_mask", slice(None))  # read first: gymnasium's own vector environments pop it
        self._observation, infos = self.env.reset(seed=seed, options=options)
        self.term.clear(rows)
        return self._observation, infos

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, Info]:
        """Take a step in every row and pay the policy's part of it."""
        self.term.ask(self._observation, actions)
        self._observation, rewards, terminations, truncations, infos = self.env.step(actions)
        rewards = rewards + self.term.settle(infos)
        self.term.clear(terminations | truncations)
        return self._observation, rewards, terminations, truncations, infos


def _kl_estimator(env: gym.Env | VectorEnv) -> str:
    """The estimator that the environment was made with; sub-environments are asked if they have it."""
    base = env.unwrapped
    name = getattr(base, "kl_estimator", None)
    if name is None and hasattr(base, "get_attr"):
        try:
            name = base.get_attr("kl_estimator")[0]
        except AttributeError:
            name = None
    if name is None:
        raise InputError(f"PolicyKL needs a prefgym environment, whose infos contain log π_ref; {env} is not one.")
    return cast(str, name)


def _array(values: Any) -> NDArray[np.float64]:
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu().numpy()
    return np.asarray(values, dtype=np.float64)
