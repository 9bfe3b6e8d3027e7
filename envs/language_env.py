"""What both environments offer on ``unwrapped``: the MDP's attributes, the policy, support for whole rollouts."""

from __future__ import annotations

import inspect
import multiprocessing
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from gymnasium import spaces

from ..errors import InputError, nearest
from ..numbers import plain
from .mdp import TokenMDP
from .policy_kl import Policy, PolicyTerm
from .prompt_source import PromptBatch
from .render import render_episode

RENDER_MODES = ("ansi", "human")
WORKER_LOOPS = ("gymnasium.vector.async_vector_env", "stable_baselines3.common.vec_env.subproc_vec_env")
"""Modules whose worker processes step environments for a learner in another process."""


class UnexpectedArgument(InputError, TypeError):
    """An argument, or a ``render_mode``, that the environment does not have.

    It is a ``TypeError`` too, and words it as Python does: callers that try an argument (stable-baselines3
    ``render_mode``, TorchRL ``frameskip``) leave it out then. ``gym.make`` raises it again with all arguments, models
    and data included, at the end of the message; they are dropped.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message.partition(" was raised from the environment creator for ")[0])


def _of_mdp(name: str, settable: bool = False) -> Any:
    """The MDP's attribute of that name, as one of the environment's own."""
    return property(
        lambda env: getattr(env.mdp, name),
        (lambda env, value: setattr(env.mdp, name, value)) if settable else None,
        doc=f"``TokenMDP.{name}``.",
    )


class LanguageEnv:
    """Mixin of ``TokenEnv`` and ``TokenVectorEnv``. It holds one ``TokenMDP``, and at most one attached policy."""

    metadata: dict[str, Any] = {"render_modes": list(RENDER_MODES), "render_fps": 4}  # noqa: RUF012

    kl_coef = _of_mdp("kl_coef", settable=True)
    kl_estimator = _of_mdp("kl_estimator")
    language_model = _of_mdp("language_model")
    model_name = property(lambda env: env.mdp.language_model.name, doc="Name of ``language_model``.")
    reference = _of_mdp("reference")
    reward = _of_mdp("reward")
    prompts = _of_mdp("prompts")
    template = _of_mdp("template")
    prompting = property(
        lambda env: env.mdp.template.stored(), doc="``template`` in words, as a run's folder keeps it."
    )
    max_prompt_tokens = _of_mdp("max_prompt_tokens")
    max_new_tokens = _of_mdp("max_new_tokens")
    missing_eos_penalty = _of_mdp("missing_eos_penalty")
    stop_strings = _of_mdp("stop_strings")
    keep_special_tokens = _of_mdp("keep_special_tokens")
    response_text = _of_mdp("response_text")
    temperature = _of_mdp("temperature")
    decoding = _of_mdp("decoding")
    dtype = _of_mdp("dtype")
    masks_actions = _of_mdp("masks_actions")
    vocab_size = _of_mdp("vocab_size")
    eos_token_id = _of_mdp("eos_token_id")
    eos_token_ids = _of_mdp("eos_token_ids")
    pad_token_id = _of_mdp("pad_token_id")
    score = _of_mdp("score")

    complete: ClassVar[Callable[..., dict[str, Any]]] = dict
    """Turns the user's options into arguments of ``TokenMDP``; an id with its own options or defaults sets it."""

    def _start(self, num_rows: int, render_mode: str | None, options: Mapping[str, Any]) -> None:
        """Make the MDP from the user's options."""
        refused = f"{type(self).__name__}.__init__() got an unexpected keyword argument"
        if render_mode is not None and render_mode not in RENDER_MODES:
            modes = " or ".join(RENDER_MODES)
            raise UnexpectedArgument(
                f"{refused} 'render_mode' of value {render_mode!r}; it renders as {modes}, or not at all."
                f"{nearest(str(render_mode), RENDER_MODES)}"
            )
        options = type(self).complete(**{name: plain(value) for name, value in options.items()})
        known = [name for name in inspect.signature(TokenMDP).parameters if name != "num_rows"]
        for name in options:
            if name not in known:
                raise UnexpectedArgument(f"{refused} '{name}'.{nearest(name, known)}")
        if _in_worker():  # one thread per worker, as in PyTorch's own loaders: a forked pool hangs, several compete
            torch.set_num_threads(1)
        self.mdp = TokenMDP(num_rows, **options)
        self.reward.context.encode = self.language_model.encode
        self.render_mode = render_mode
        self._term: PolicyTerm | None = None

    @property
    def trainer_state(self) -> dict[str, int]:
        """What rewards see of the training: ``global_step`` and ``max_steps``, in iterations; an agent sets it."""
        state = self.reward.context.trainer_state
        return {"global_step": state.global_step, "max_steps": state.max_steps}

    @trainer_state.setter
    def trainer_state(self, told: Mapping[str, int]) -> None:
        for name, value in told.items():
            setattr(self.reward.context.trainer_state, name, value)

    def _spaces(self) -> tuple[spaces.Dict, spaces.Discrete]:
        """Observation and action space of one row."""
        mdp = self.mdp
        tokens = spaces.Box(0, mdp.vocab_size - 1, (mdp.length,), np.int64)
        mask = spaces.Box(0, 1, (mdp.length,), np.int8)
        return spaces.Dict({"tokens": tokens, "attention_mask": mask}), spaces.Discrete(mdp.vocab_size)

    @property
    def policy(self) -> Policy | None:
        """The attached policy."""
        return self._term.policy if self._term else None

    def attach_policy(self, policy: Policy | None) -> None:
        """Let the environment itself pay the policy's part of the reward, which ``PolicyKL(env, policy)`` adds outside.

        From then on each step asks ``policy.log_prob(observation, action)``, so the reward follows the policy as it
        learns. ``None`` detaches. Without a policy log π counts as 0, which is right for a deterministic one.

        Raises:
            InputError: called in a vector environment's worker process; or the policy cannot answer.
        """
        if policy is not None and _in_worker():
            raise InputError(
                "attach_policy was called in a worker process, where the policy is a copy that would not learn; "
                "wrap the vector environment in the learner's process instead: prefgym.envs.PolicyKL(env, policy)."
            )
        self._term = None if policy is None else PolicyTerm(policy, self.mdp.kl_estimator, self.mdp.num_rows)

    @property
    def truncated_prompts(self) -> int:
        """How many different prompts so far were too long and were cut."""
        return self.mdp.source.truncated_prompts

    def sample_prompt_indices(self, count: int) -> list[int]:
        """Draw the next ``count`` prompts as ``reset`` would: from each row's own order in turn."""
        samplers, generators = self.mdp.samplers, self._generators()
        rows = [place % self.mdp.num_rows for place in range(count)]
        return [samplers[row].draw(generators[row]) for row in rows]

    def encode_prompts(self, indices: Sequence[int]) -> PromptBatch:
        """Prepare prompts of the set as one batch, left-padded to the longest."""
        return self.mdp.source.batch(indices)

    def sampler_state(self) -> list[dict[str, Any]]:
        """Each row's position in its order of prompts, as JSON values."""
        pairs = zip(self.mdp.samplers, self._generators(), strict=True)
        return [sampler.state(generator) for sampler, generator in pairs]

    def set_sampler_state(self, state: Sequence[Mapping[str, Any]]) -> None:
        """Continue drawing prompts from where ``sampler_state`` was taken.

        Raises:
            InputError: the state has another number of rows or of prompts.
        """
        if len(state) != self.mdp.num_rows:
            raise InputError(f"The saved prompt order has {len(state)} rows, this environment {self.mdp.num_rows}.")
        for sampler, generator, saved in zip(self.mdp.samplers, self._generators(), state, strict=True):
            sampler.restore(saved, generator)

    def _generators(self) -> list[np.random.Generator]:
        """Each row's random generator."""
        raise NotImplementedError

    def _record(self, row: int, reward: float, log_prob: float) -> None:
        """Record the row's last step, with the policy's part, for rendering."""
        episode = self.mdp.episodes[row]
        if episode is not None:
            episode.rewards[-1] = reward
            episode.log_probs.append(log_prob)

    def _render_row(self, row: int) -> str:
        return render_episode(self.mdp.episodes[row], self.mdp.language_model.tokenizer)


def _in_worker() -> bool:
    """Whether the caller is a vector environment's worker, where arguments came through a pipe and are copies.

    A child process that trains on its own, as in a sweep of several runs, is not one.
    """
    if multiprocessing.parent_process() is None:
        return False
    return any(frame.f_globals.get("__name__") in WORKER_LOOPS for frame, _ in traceback.walk_stack(None))
