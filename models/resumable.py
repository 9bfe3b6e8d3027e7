"""A Trainer whose runs survive: it saves consistent states, also when stopped, and resumes exactly from one."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import Trainer, TrainerCallback

from ..errors import InputError
from ..storage.signals import stopped, uninterrupted
from .supervised_checkpoint import (
    DAMAGE,
    Best,
    Checkpoint,
    Moment,
    check_inputs,
    checkpoints,
    drop_old,
    put_weights,
    read_latest,
    save_checkpoint,
)


class ResumableTrainer(Trainer):
    """A Trainer that ends with the same weights, history and metrics however often it was stopped.

    A run's state is consistent between two optimiser steps, and between a step and the evaluation after it. A stop in a
    forward or backward pass, or in an evaluation, leaves the weights of the last consistent moment, which is then
    saved. While a step changes weights, counters and logs, a stop waits.

    Attributes:
        best: the smallest evaluation loss so far, with the weights if they are kept.
        resumed: the checkpoint that training continues from.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.add_callback(_Steps(self))
        self.best = Best()
        self.resumed: Checkpoint | None = None
        self._folder: Path | None = None  # of the run whose checkpoints are written
        self._inputs: Mapping[str, str] = {}
        self._moment: Moment | None = None  # the last consistent one; None while a step changes the weights
        self._on_disk: tuple[int, bool] | None = None  # step of the newest checkpoint, and whether an evaluation is due
        self._changing = ExitStack()
        self._began = 0.0

    def keep_checkpoints(self, folder: Path, inputs: Mapping[str, str], resume: bool, accept_changes: bool) -> None:
        """Save checkpoints in a run folder, and continue from the last one there.

        Raises:
            InputError: without ``resume``, some exist; with it, they are from a run on other inputs, and changes are
                not accepted.
        """
        if checkpoints(folder) and not resume:
            raise InputError(f"{folder} holds checkpoints of another run; resume it, or give another folder.")
        self.resumed = read_latest(folder) if resume else None
        if self.resumed is not None:
            if not accept_changes:
                check_inputs(self.resumed.state.get("inputs"), inputs, self.resumed.path)
            self._on_disk = (self.resumed.moment.step, self.resumed.moment.due)
        self._folder, self._inputs = folder, inputs

    def fit(self) -> float:
        """Train, or resume, to the end and return the seconds taken; a stop saves the last consistent moment.

        Raises:
            Stopped: with a sentence that says what is saved and what will be repeated.
        """
        self._began = time.perf_counter() - (0.0 if self.resumed is None else self.resumed.seconds)
        resumed = self.resumed
        self.args.eval_on_start = resumed is not None and resumed.moment.due
        try:
            with self._changing:
                self.train(resume_from_checkpoint=None if resumed is None else str(resumed.path))
        except KeyboardInterrupt as error:
            if self._folder is None:
                raise
            self._save_moment()
            stop = stopped(error)
            raise stopped(stop, self._told(stop.name)) from None
        if self._folder is not None:
            drop_old(self._folder)
        return time.perf_counter() - self._began

    def end_moment(self, due: bool = False) -> None:
        """Record that a step is over, except for an evaluation that is ``due``."""
        if self._folder is not None:
            self._moment = Moment.of(self, due)

    def _told(self, signal: str) -> str:
        if self._on_disk is None or self._on_disk[0] == 0:
            return f"stopped by {signal} before the first checkpoint; training will start over."
        step, due = self._on_disk
        again = f"step {step + 1}" if step < self.args.max_steps else "what follows training"
        again = f"the evaluation after step {step}" if due else again
        return (
            f"stopped by {signal} after {step} of {self.args.max_steps} steps, which are saved; {again} will be "
            "repeated."
        )

    def _save_moment(self) -> None:
        """Write a checkpoint of the last consistent moment, unless it is already there or nothing was learned yet."""
        moment = self._moment
        if self._folder is None or moment is None or moment.step == 0 or self._on_disk == (moment.step, moment.due):
            return
        seconds = time.perf_counter() - self._began
        save_checkpoint(self._folder, self, moment, self.best, self._inputs, seconds)
        self._on_disk = (moment.step, moment.due)

    # Called by the Trainer.

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        self._save_moment()

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        assert self.resumed is not None
        assert self.model is not None
        with _fitting(self.resumed):
            put_weights(self.model, self.resumed.tensors["model"])
        self.best, self.resumed.best = self.resumed.best, Best()

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if self.resumed is None:
            return
        resumed = self.resumed
        with _fitting(resumed):
            moments: dict[int, dict[str, torch.Tensor]] = {}
            for key, tensor in resumed.tensors["optimizer"].items():
                index, _, name = key.partition(".")
                moments.setdefault(int(index), {})[name] = tensor
            assert self.optimizer is not None
            assert self.lr_scheduler is not None
            self.optimizer.load_state_dict({"state": moments, "param_groups": resumed.state["optimizer"]})
            self.lr_scheduler.load_state_dict(resumed.state["schedule"])
        resumed.tensors.clear()

    def _load_scaler(self, checkpoint: str | None) -> None:
        """No gradient scaler: bfloat16 needs no scaling."""

    def _load_rng_state(self, checkpoint: str | None) -> None:
        if self.resumed is not None:
            self.resumed.moment.put_back_random(self.args.device)

    def _run_epoch(self, *args: Any, **kwargs: Any) -> None:
        if self.state.global_step >= self.state.max_steps:  # in a run that was stopped after its last step
            self.control.should_training_stop = True
            return
        super()._run_epoch(*args, **kwargs)

    def _maybe_log_save_evaluate(self, *args: Any, **kwargs: Any) -> None:
        """Log, as a part of the step; then evaluate and save, which a stop may cut short."""
        evaluate, save = self.control.should_evaluate, self.control.should_save
        self.control.should_evaluate = self.control.should_save = False
        super()._maybe_log_save_evaluate(*args, **kwargs)
        self.end_moment(due=evaluate)
        self._changing.close()  # a stop that waited is raised here
        if evaluate:
            self._evaluate(None, None)
        if save:
            self._save_moment()

    def _finalize_training(self, trial: Any, num_train_samples: int, start_time: float) -> Any:
        return super()._finalize_training(trial, num_train_samples, start_time - self._earlier())

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log a point; speeds are averages over the whole run."""
        super().log(logs, None if start_time is None else start_time - self._earlier())

    def _earlier(self) -> float:
        """Seconds of training before this process."""
        return 0.0 if self.resumed is None else self.resumed.seconds


@contextmanager
def _fitting(checkpoint: Checkpoint) -> Iterator[None]:
    """Report in a sentence that a checkpoint does not fit the model."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except DAMAGE as error:
        raise InputError(
            f'The checkpoint "{checkpoint.path}" does not fit the model: {" ".join(str(error).split())[:300]}; '
            "give the model that the run was started with."
        ) from error


class _Steps(TrainerCallback):
    """Restores the sums that the Trainer resets, and postpones a stop while a step changes what is saved."""

    def __init__(self, trainer: ResumableTrainer) -> None:
        self.trainer = trainer

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        trainer = self.trainer
        if trainer.resumed is not None:
            trainer._moment = trainer.resumed.moment
            trainer._moment.put_back(trainer)
            trainer._initial_global_step = trainer._initial_num_input_tokens_seen = 0  # speeds are over the whole run
        else:
            trainer.end_moment()

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.trainer._folder is not None:
            self.trainer._changing.enter_context(uninterrupted())
            self.trainer._moment = None
