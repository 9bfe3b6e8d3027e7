"""Validation during training: held-out prompts are answered and scored every few iterations.

The same prompts are answered with the same random numbers each time, as the policy is trained to (temperature,
budgets), and scored by the reward of training. Training is the same with it as without: it has its own random numbers.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..data.prompts import PromptSet, resolve_prompts
from ..envs.prompt_source import PromptBatch, PromptSource
from ..errors import InputError, RewardError
from ..numbers import is_whole, plain
from ..rewards.rouge import best_rouge, references_of
from ..storage.signals import uninterrupted
from . import processes
from .attach import is_neutral
from .best_weights import BestWeights
from .collecting import collect_rollout
from .rollout import Rollout
from .validated import KL, LENGTH, OBJECTIVE, ROUGE, SCORE, SECONDS, best, is_stalled, objective, validations

if TYPE_CHECKING:
    from .base import PolicyGradient
    from .monitor import Monitor

KEEP = ("best", "last")
FIRST_SEED = 50_021
"""Of the random numbers, far from the seeds that people give training."""


@dataclass(frozen=True)
class Validation:
    """How ``learn`` validates: before the first update, every few iterations, and after the last one.

    Validations are compared by score - β KL, with the β that the run began with, whatever ``kl_target`` makes of it.

    Attributes:
        prompts: those to answer, as ``gym.make`` takes them.
        every: iterations from one validation to the next.
        patience: stop after this many validations in a row without a better objective; None never stops.
        keep: which weights the policy has after ``learn``: ``"best"``, those of the best validation, the start
            policy's included, or ``"last"``.

    Raises:
        InputError: a value is out of range.
    """

    prompts: Any
    every: int
    patience: int | None = None
    keep: str = "best"

    def __post_init__(self) -> None:
        for name in ("every", "patience"):
            value = plain(getattr(self, name))
            object.__setattr__(self, name, value)
            if not (value is None and name == "patience") and not (is_whole(value) and value > 0):
                raise InputError(f"{name} of a validation must be a positive whole number, not {value!r}.")
        if self.keep not in KEEP:
            raise InputError(f'keep of a validation must be "best" or "last", not {self.keep!r}.')


class Validator:
    """The validations of one ``learn``.

    Args:
        agent: who learns; its environment must pay what ``env.unwrapped`` does, and be in this process.
        asked: how to validate; None never does.
        output: folder of the run, for the best weights.
    """

    def __init__(self, agent: PolicyGradient, asked: Validation | None, output: str | Path | None) -> None:
        self.agent, self.asked = agent, asked
        self._kept = BestWeights(agent, output) if asked is not None and asked.keep == "best" else None
        self._env = None if asked is None else _OtherPrompts(agent.env, resolve_prompts(asked.prompts, "validation"))
        self._goes_on = agent.learn_start is not None and bool(validations(agent.history))

    def begin(self, monitor: Monitor) -> None:
        """Validate the policy that training begins with; a resumed one goes on with what was found."""
        self.agent.kept_iteration = None
        if self.asked is None:
            return
        if self._goes_on:
            if self._kept is not None:
                self._kept.check()
            return
        now = {"iteration": self.agent.iteration, "episodes": self.agent.num_episodes}
        with processes.together():
            row = {**now, **self.measure()}
            if self._kept is not None:
                self._kept.keep(now["iteration"])
        with uninterrupted():
            self.agent.history.append(row)
            monitor.log(None, row)

    def is_due(self, iteration: int, last: int) -> bool:
        """Whether to validate after an iteration."""
        return self.asked is not None and (iteration % self.asked.every == 0 or iteration == last)

    def validate(self, iteration: int) -> dict[str, float]:
        """Scalars of the policy after an iteration that does not count yet; its weights are kept if it is the best."""
        row = self.measure()
        before = best(self.agent.history)
        if self._kept is not None and (before is None or objective(row) > objective(before)):
            self._kept.keep(iteration)
        return row

    def is_over(self) -> bool:
        """Whether patience ran out."""
        over = self.asked is not None and is_stalled(self.agent.history, self.asked.patience)
        return processes.anyone(over)

    def end(self) -> None:
        """Give the policy the weights that are asked for."""
        if self._kept is not None:
            self._kept.put_back()

    def measure(self) -> dict[str, float]:
        """Answer and score all prompts; the scalars.

        Raises:
            RewardError: a reward failed; the message names the prompt.
        """
        assert self._env is not None
        began, agent = time.perf_counter(), self.agent
        size = agent.hyperparameters.episodes_per_iteration  # which fits in memory
        count = len(self._env.prompts)
        parts = [
            self._answers(number, rows.tolist())
            for number, rows in enumerate(np.array_split(np.arange(count), -(-count // size)))
        ]
        score, kl, length = (
            float(torch.cat([of(rollout).double().cpu() for rollout in parts]).mean())
            for of in (lambda r: r.scores, lambda r: r.kl.sum(1), lambda r: r.response_mask.sum(1))
        )
        row = {SCORE: score, KL: kl, OBJECTIVE: score - agent.kl.begun_with * kl, LENGTH: length}
        overlap = reference_overlap(self._env.prompts, [text for rollout in parts for text in rollout.responses])
        if overlap is not None:
            row[ROUGE] = overlap
        return {**row, SECONDS: time.perf_counter() - began}

    def _answers(self, number: int, indices: Sequence[int]) -> Rollout:
        """One response to each of a batch of prompts, with the random numbers of that batch."""
        policy = self.agent.policy
        seed = (self.agent.seed * 100_003 + FIRST_SEED + number) % 2**63
        generator = torch.Generator(policy.device).manual_seed(seed)
        try:
            return collect_rollout(self._env, policy, len(indices), 1, generator, prompt_indices=indices)
        except RewardError as error:
            raise RewardError(f"In a validation: {error}", error.prompt_index) from error


class _OtherPrompts:
    """An environment as it is at any time, over other prompts."""

    def __init__(self, env: Any, prompts: PromptSet) -> None:
        if not is_neutral(env):
            raise InputError(
                f"{env} cannot be validated in: wrappers that change what an agent sees, and environments in other "
                "processes, do not tell the reward of other prompts; train without them, or without validation."
            )
        base = env.unwrapped
        if not len(prompts):
            raise InputError("A validation needs at least one prompt; give some, or train without validation.")
        base.reward.check_columns(prompts[0])
        self.prompts, self._base = prompts, base
        self._source = PromptSource(
            prompts,
            base.mdp.source.template,
            base.language_model.encode_prompt,
            base.max_prompt_tokens,
            base.pad_token_id,
        )

    @property
    def unwrapped(self) -> _OtherPrompts:
        """Itself: what it has not, the environment has."""
        return self

    def encode_prompts(self, indices: Sequence[int]) -> PromptBatch:
        """Prepare prompts as one batch, left-padded to the longest."""
        return self._source.batch(indices)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._base, name)


def reference_overlap(prompts: PromptSet, texts: Sequence[str]) -> float | None:
    """Mean ROUGE-L (F, stemmed) of texts with the best of their prompts' references; None if no prompt has any."""
    pairs = [(text, references_of(row)) for text, row in zip(texts, prompts, strict=True)]
    found = [best_rouge(["rougeL"], text, given, stem=True)["rougeL"] for text, given in pairs if given]
    return float(np.mean(found)) if found else None
