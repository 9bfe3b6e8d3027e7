"""The loop that every policy-gradient agent shares: collect, advantages, minibatch epochs, log, checkpoint.

An agent adds two methods, ``advantages(rollout)`` and ``loss(minibatch)``, both purely on tensors: the base class runs
the policy and fills the minibatch with its log-probs, values and entropies.
"""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeVar

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor

from ..errors import InputError
from ..models.shared_prompt import shares_prompts
from ..numbers import is_whole, plain
from ..storage.lock import locked
from ..storage.own import OwnRuns
from ..storage.signals import uninterrupted
from . import processes
from .answers import advantages_of, loss_of
from .attach import attach, env_attribute, make_policy
from .collecting import collect_rollout
from .env_settings import EnvSettings
from .first_rollout import check_first_rollout
from .hyperparameters import Hyperparameters, make_hyperparameters
from .inputs import inputs_of
from .kl_term import KLTerm
from .losses import masked_mean
from .memory import fitted
from .minibatch import Minibatch, minibatches
from .optimizer import lr_factor, make_optimizer
from .policy import LMPolicy, Observation
from .returns import explained_variance
from .rollout import Rollout
from .timing import part, recording
from .validation import Validation, Validator

if TYPE_CHECKING:
    from .snapshot import Snapshot

Self = TypeVar("Self", bound="PolicyGradient")
Callback = Callable[["PolicyGradient", dict[str, float]], bool | None]


class Advantages(NamedTuple):
    """What an agent learns from: advantages (B, R), and the value targets (B, R) if it has values. 0 at padding."""

    advantages: Tensor
    returns: Tensor | None = None


class PolicyGradient:
    """Base class of agents that train a language model by the gradient of its expected reward.

    Args:
        policy: ``"default"`` (a trainable copy of the environment's model), a model folder or hub id, a
            ``LanguageModel`` (copied), or an ``LMPolicy`` (trained in place).
        env: an environment of this package, single or vector, wrapped or not, or its registered id. The agent attaches
            its policy to it, so that rewards include the whole KL term.
        seed: seeds sampling, shuffling and the environment's prompts; same seed, same parameters (on CPU).
        tensorboard_log: folder for TensorBoard events; None writes them into ``learn``'s output folder, if any.
        **hyperparameters: fields of the agent's ``hyperparameter_type``.

    Attributes:
        policy: the ``LMPolicy`` in training.
        hyperparameters: the checked hyperparameters.
        history: one dict of scalars for each iteration so far.
        iteration: number of finished iterations.
        num_episodes: number of episodes seen.

    Raises:
        InputError: a hyperparameter is unknown or out of range, or the policy's vocabulary is not the environment's.
    """

    name: ClassVar[str]
    climbs_reward: ClassVar[bool] = True  # whether its steps estimate the gradient of the expected reward
    hyperparameter_type: ClassVar[type[Hyperparameters]] = Hyperparameters
    hyperparameters: Hyperparameters

    def __init__(
        self,
        policy: Any = "default",
        env: Any = "Summarize-v0",
        *,
        seed: int = 0,
        tensorboard_log: str | Path | None = None,
        **hyperparameters: Any,
    ) -> None:
        self.hyperparameters = make_hyperparameters(self.hyperparameter_type, hyperparameters)
        self.seed = seed = plain(seed)
        self.tensorboard_log = tensorboard_log
        env = gym.make(env) if isinstance(env, str) else env
        h = self.hyperparameters
        h.check_beside(env_attribute(env, "dtype"))
        self.policy: LMPolicy = make_policy(
            policy, env, value_head=self.uses_values, value_trunk=h.value_trunk, lora=h.lora, seed=seed
        )
        for option in ("precision", "gradient_checkpointing", "cuda_graphs"):
            setattr(self.policy, option, getattr(h, option))
        if h.samples_per_prompt > 1 and not shares_prompts(self.policy.language_model.model):
            warnings.warn(
                "The policy reads a prompt again for each of its samples, which is slower: its model needs it, or "
                "checkpoints gradients by itself (use the agent's gradient_checkpointing=True instead).",
                stacklevel=2,
            )
        self.env = attach(env, self.policy)
        self.env.reset(seed=seed)
        self.settings = EnvSettings(self.env)
        self.kl = KLTerm(h, self.settings)
        self.optimizer = make_optimizer(self.policy, h)
        self.generator = torch.Generator(self.policy.device).manual_seed(seed)  # draws tokens
        self.rng = np.random.default_rng(seed)  # shuffles minibatches
        self.history: list[dict[str, float]] = []
        self.iteration = self.num_episodes = 0
        self.hyperparameters = fitted(self)
        self.learn_start: int | None = None  # num_episodes at the start of the learn() that a resumed agent continues
        self._own_runs = OwnRuns()  # what learn and save may replace
        self.kept_iteration: int | None = None  # whose weights the policy holds, if a validation chose them

    # What makes an agent.

    @property
    def uses_values(self) -> bool:
        """Whether the agent needs the policy's value head."""
        return False

    def advantages(self, rollout: Rollout) -> Advantages:
        """Judge every token of a rollout; called once per iteration."""
        raise NotImplementedError

    def loss(self, minibatch: Minibatch) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss of (a piece of) a minibatch, with gradient, and scalars to log, which add up over the pieces."""
        raise NotImplementedError

    def keep_going(self, stats: dict[str, float]) -> bool:
        """Whether to take the step for a minibatch with these scalars and continue; False ends the update."""
        return True

    def extra_state(self) -> dict[str, Any]:
        """What else a resumed run needs from the agent, as JSON."""
        return {}

    def load_extra_state(self, state: dict[str, Any]) -> None:
        """Restore what ``extra_state`` gave."""

    # What all agents do.

    def learn(
        self: Self,
        total_episodes: int,
        *,
        callback: Callback | None = None,
        progress_bar: bool = False,
        output: str | Path | None = None,
        save_every: int | None = None,
        validation: Validation | None = None,
    ) -> Self:
        """Train for ``total_episodes`` more episodes, rounded up to whole iterations.

        Args:
            total_episodes: episodes of this call. An agent from ``resume`` continues the call that was interrupted, and
                the episodes already seen in it count.
            callback: called after each iteration with the agent and its scalars; returning False stops.
            progress_bar: show episodes, score, KL and time left.
            output: run folder for ``history.jsonl``, TensorBoard events and checkpoints; None writes nothing. A run in
                it that is not this agent's moves to ``OUTPUT.previous-1``, and a warning says so.
            save_every: iterations between checkpoints in ``output``; None saves none. With it, Ctrl-C (or SIGTERM at
                the command line) saves the last complete iteration first; the copy kept for that takes three numbers
                per trained parameter (with AdamW).
            validation: how to judge the policy on held-out prompts meanwhile, and which weights it ends with.

        Raises:
            RewardError: a reward failed; the policy is as before that iteration.
            AgentError: ``advantages`` or ``loss`` returned something of the wrong kind.
            InputError: another process writes to ``output``, somebody else's file there has the name of one of a
                run's, or the environment cannot be validated in.
        """
        total_episodes, save_every = plain(total_episodes), plain(save_every)
        if not is_whole(total_episodes) or total_episodes <= 0:
            raise InputError(f"total_episodes must be a positive whole number, not {total_episodes}.")
        if save_every is not None and (not is_whole(save_every) or save_every <= 0 or output is None):
            raise InputError("save_every must be a positive number of iterations, and needs an output folder.")
        validator = Validator(self, validation, output)
        if output is None or not processes.is_first():  # whose folder and lock are its own
            return self._learn(total_episodes, callback, progress_bar, None, save_every, validator)
        with self._own_runs.writing(output, "learn") as folder, locked(folder, "learn"):
            return self._learn(total_episodes, callback, progress_bar, folder, save_every, validator)

    def _learn(
        self: Self,
        total_episodes: int,
        callback: Callback | None,
        progress_bar: bool,
        output: Path | None,
        save_every: int | None,
        validator: Validator,
    ) -> Self:
        from .checkpoint import save_checkpoint
        from .monitor import Monitor
        from .snapshot import whole_when_stopped

        start = self.num_episodes if self.learn_start is None else self.learn_start
        self.learn_start = start
        self.settings.ask()
        monitor = Monitor(self, total_episodes, output, progress_bar)
        saved = self.iteration if self.history else None
        size, left = self.hyperparameters.episodes_per_iteration, start + total_episodes - self.num_episodes
        last = self.iteration + -(-left // size)
        try:
            validator.begin(monitor)
            while (done := self.num_episodes - start) < total_episodes and not validator.is_over():
                self.settings["trainer_state"] = {"global_step": self.iteration, "max_steps": last}
                due = validator.is_due(self.iteration + 1, last)
                with whole_when_stopped(self, save_every is not None or due) as snapshot, processes.together():
                    self._set_learning_rate(done / total_episodes, size / total_episodes)
                    rollout, scalars = self._iterate(snapshot)
                    scalars |= validator.validate(self.iteration + 1) if due else {}
                    with uninterrupted():
                        self._end_iteration(scalars)
                        monitor.log(rollout, scalars)
                if output is not None and save_every is not None and self.iteration % save_every == 0:
                    save_checkpoint(output, self)
                    saved = self.iteration
                if processes.anyone(callback is not None and callback(self, scalars) is False):
                    break
            if output is not None and save_every is not None and self.iteration != saved:
                save_checkpoint(output, self)
                saved = self.iteration  # of the last state: from here on the policy may hold the best weights
            validator.end()
        except KeyboardInterrupt:
            self.settings.freeze()
            if output is not None and save_every is not None and self.iteration != saved:
                save_checkpoint(output, self)
            raise
        finally:
            monitor.close()
            self.learn_start = None
        return self

    def predict(self, observation: Observation, deterministic: bool = True) -> tuple[Any, None]:
        """Choose the next token for an observation; the second value is always None, as there is no hidden state."""
        return self.policy.predict(observation, deterministic)

    def save(self, folder: str | Path, card: dict[str, Any] | None = None) -> Path:
        """Write a run folder: a plain Hugging Face model folder with the value head and this agent's settings.

        Args:
            folder: destination. What this agent wrote there, or was read from, is replaced file by file; any other run
                moves to ``FOLDER.previous-1``, with a warning.
            card: further rows for the model card, e.g. ``{"win rate": "71 %"}``.
        """
        from .run_folder import save_run

        if not processes.is_first():
            return Path(folder)
        with self._own_runs.writing(folder, "save"):
            return save_run(folder, self, card)

    @classmethod
    def load(cls: type[Self], folder: str | Path, env: Any, **overrides: Any) -> Self:
        """Read an agent written by ``save``; its optimiser starts fresh. ``overrides`` replace hyperparameters."""
        from .run_folder import load_run

        agent = load_run(cls, folder, env, overrides)
        agent._own_runs.add(folder)
        return agent

    @classmethod
    def resume(
        cls: type[Self],
        folder: str | Path,
        env: Any,
        tensorboard_log: str | Path | None = None,
        accept_changes: bool = False,
    ) -> Self:
        """Continue a run from its last complete checkpoint, with optimiser, random states, baseline and data cursor.

        ``learn`` with the same arguments then ends with the same parameters as if nothing had happened.

        Raises:
            InputError: there is no complete checkpoint; or prompts, reward, reference or model are not those of the
                run, unless ``accept_changes``.
        """
        from .checkpoint import resume_run

        agent = resume_run(cls, folder, env, tensorboard_log, accept_changes)
        agent._own_runs.add(folder)
        return agent

    @cached_property
    def inputs(self) -> dict[str, str]:
        """Hashes of what the agent learns from: prompts, reward, reference and model."""
        return inputs_of(self.env)

    def _iterate(self, snapshot: Snapshot | None) -> tuple[Rollout, dict[str, float]]:
        """One iteration: a rollout, the update on it, and the scalars of both."""
        h, began = self.hyperparameters, time.perf_counter()
        num_prompts = h.episodes_per_iteration // h.samples_per_prompt
        with recording() as seconds:
            rollout = collect_rollout(self.env, self.policy, num_prompts, h.samples_per_prompt, self.generator)
            collected = time.perf_counter()
            if self.iteration == 0:
                check_first_rollout(self.policy, self.env, rollout)
            if snapshot is not None:
                snapshot.keep(self)
            scalars = rollout.scalars() | self.train(rollout)
            ended = time.perf_counter()
        scalars |= {
            "train/learning_rate": self.optimizer.param_groups[0]["lr"],
            "objective/kl_coef": self.kl.paid(rollout),
            "time/episodes_per_second": len(rollout) / (ended - began),
            "time/rollout_seconds": collected - began,
            "time/update_seconds": ended - collected,
            **{f"time/{name}_seconds": value for name, value in seconds.items()},
        }
        # history stores each name once
        scalars = {sys.intern(name): value for name, value in scalars.items()}
        return rollout, {"iteration": self.iteration + 1, "episodes": self.num_episodes + len(rollout)} | scalars

    def _end_iteration(self, scalars: dict[str, float]) -> None:
        """Count a finished iteration."""
        self.iteration, self.num_episodes = int(scalars["iteration"]), int(scalars["episodes"])
        self.kl.update(scalars["objective/kl"])
        self.history.append(scalars)

    def train(self, rollout: Rollout) -> dict[str, float]:
        """Update the policy on one rollout; the mean scalars of its minibatches, by ``train/`` name."""
        h, rollout = self.hyperparameters, self.kl.place(rollout)
        advantages = advantages_of(self, rollout)
        collected: list[dict[str, float]] = []
        for _ in range(h.n_epochs):
            for pieces in minibatches(rollout, *advantages, h.batch_size, h.gradient_accumulation, self.rng):
                stats = self.gradient(pieces)
                collected.append(stats)
                if not self.keep_going(stats):
                    self.optimizer.zero_grad()
                    return self._summary(rollout, advantages, collected)
                with part("optimizer"):
                    stats["grad_norm"] = self._step()
        return self._summary(rollout, advantages, collected)

    def gradient(self, pieces: list[Minibatch]) -> dict[str, float]:
        """Accumulate a minibatch's gradient, run in pieces by each process, in the parameters; gives its scalars."""
        h, sums = self.hyperparameters, dict[str, float]()
        self.optimizer.zero_grad()
        for piece in pieces:
            with part("forward"):
                piece.evaluate(self.policy, h.ent_coef != 0, h.loss_reduction, with_log_dist=self.kl.whole)
                loss, stats = loss_of(self, piece)
                if self.kl.in_loss:
                    stats["kl_loss"] = self.kl.loss(piece, self.policy)
                    loss = loss + self.kl.coef * stats["kl_loss"]
                if h.ent_coef != 0 and piece.entropy is not None:
                    bonus = masked_mean(piece.entropy, piece.mask, piece.denominator)
                    loss = loss - h.ent_coef * bonus
            with part("backward"):
                loss.backward()
            for key, value in {"loss": loss, **stats}.items():
                sums[key] = sums.get(key, 0.0) + float(value.detach())
        processes.add_up_gradients(self.policy)
        return {name: processes.total(value) for name, value in sums.items()}

    def _step(self) -> float:
        """Clip the gradient, step the optimiser; gives the norm before clipping."""
        limit = self.hyperparameters.max_grad_norm
        norm = torch.nn.utils.clip_grad_norm_(self.policy.parameters(), float("inf") if limit is None else limit)
        if not torch.isfinite(norm):
            raise FloatingPointError(f"The gradient is {norm.item()}; training diverged, try a lower learning_rate.")
        self.optimizer.step()
        return float(norm)

    def _set_learning_rate(self, progress: float, step: float) -> None:
        """Set the rate of the next iteration, which takes the share ``step`` of the training, after ``progress``."""
        h = self.hyperparameters
        for group in self.optimizer.param_groups:
            group["lr"] = h.learning_rate * lr_factor(h.lr_schedule, h.warmup, progress, step)

    def _summary(self, rollout: Rollout, advantages: Advantages, stats: list[dict[str, float]]) -> dict[str, float]:
        """Mean of each scalar over the minibatches that have it, and the explained variance of the values."""
        names = dict.fromkeys(name for row in stats for name in row)
        means = {f"train/{name}": float(np.mean([row[name] for row in stats if name in row])) for name in names}
        _, returns = advantages
        if rollout.values is not None and returns is not None:
            variance = explained_variance(rollout.values, returns, rollout.response_mask)
            means["train/explained_variance"] = variance
        return means
