"""Shared by all supervised runs: options, the order of examples, evaluation and metrics.

On :class:`transformers.Trainer`. It does not know what is learned; see ``finetune.py`` and ``rewards/training.py``.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Hashable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

import torch
from torch.utils.data import Sampler
from transformers import PrinterCallback, ProgressCallback, TrainingArguments

from ..errors import InputError, nearest
from ..storage.lock import locked
from ..storage.manifest import managed
from ..storage.signals import uninterrupted
from .folder import checksum
from .lora import EVERY_LINEAR, LoRA
from .resumable import ResumableTrainer
from .supervised_checkpoint import Best, digest, put_weights, weights_of
from .watching import Events, Progress, StopOnDivergence

SCHEDULES = ("cosine", "linear", "constant_with_warmup")
_HOW_TO_KEEP = {"save_every", "resume", "accept_changes", "output_dir", "tensorboard", "progress"}
"""Options that do not affect how a run ends."""
_ADAPTER = {"lora_rank", "lora_alpha", "lora_targets", "lora_layers"}
_LENGTHS = {"epochs", "max_steps", "warmup", "eval_every", "log_every"}
"""Options that only determine the number of steps, which is what counts."""


@dataclass(frozen=True)
class TrainingOptions:
    """How a supervised run is trained; shared by pretraining, fine-tuning and preference models.

    Attributes:
        learning_rate: peak, reached after the warm-up.
        batch_size: examples per forward pass.
        epochs: passes over the data; ignored when ``max_steps`` is set.
        max_steps: optimiser steps; 0 uses ``epochs``.
        gradient_accumulation: forward passes per optimiser step.
        warmup: share of the steps (0 to 1) over which the learning rate rises linearly from 0.
        schedule: ``"cosine"``, ``"linear"`` (both down to 0) or ``"constant_with_warmup"``.
        weight_decay: AdamW's, on matrices only (no biases, no norms).
        max_grad_norm: gradients are scaled down to this global norm.
        bf16: matrix products in bfloat16 (autocast); weights and optimiser stay in fp32.
        seed: of shuffling and of dropout, if any.
        eval_every: steps between two evaluations; 0 evaluates ten times.
        log_every: steps between two points of the training curve; 0 logs fifty times.
        save_every: steps between two checkpoints under ``output_dir/checkpoints``; 0 saves ten times, None never. With
            it, a stop (Ctrl-C, or SIGTERM at the command line) saves the last complete step too.
        resume: continue from the last checkpoint in ``output_dir``, if there is one, ending as if never interrupted.
        accept_changes: resume although examples, start model or options have changed.
        output_dir: folder of checkpoints and TensorBoard events; None writes nothing.
        tensorboard: write events under ``output_dir/tensorboard``.
        progress: show a bar with the time left.
        lora_rank: train an adapter of this rank instead of the weights (LoRA), and merge it into them at the end.
        lora_alpha: the adapter is scaled by this over its rank; None is twice the rank.
        lora_targets: linear layers to adapt, separated by commas, or ``all-linear``.
        lora_layers: adapt only so many layers, the last ones; a step then takes less time and memory. None is all.
    """

    learning_rate: float = 1e-3
    batch_size: int = 16
    epochs: float = 1.0
    max_steps: int = 0
    gradient_accumulation: int = 1
    warmup: float = 0.05
    schedule: str = "cosine"
    weight_decay: float = 0.01
    max_grad_norm: float = 1.0
    bf16: bool = False
    seed: int = 0
    eval_every: int = 0
    log_every: int = 0
    save_every: int | None = None
    resume: bool = False
    accept_changes: bool = False
    output_dir: str | Path | None = None
    tensorboard: bool = False
    progress: bool = False
    lora_rank: int | None = None
    lora_alpha: float | None = None
    lora_targets: str = EVERY_LINEAR
    lora_layers: int | None = None

    def __post_init__(self) -> None:
        positive = ("learning_rate", "batch_size", "gradient_accumulation", "max_grad_norm")
        for name in positive:
            if not getattr(self, name) > 0:
                raise InputError(f"{name} must be positive, not {getattr(self, name)}.")
        if self.max_steps < 0 or (self.max_steps == 0 and not self.epochs > 0):
            raise InputError("A training run needs epochs or max_steps above 0.")
        if not 0 <= self.warmup < 1:
            raise InputError(f"warmup is a share of the steps from 0 to below 1, not {self.warmup}.")
        if self.schedule not in SCHEDULES:
            raise InputError(
                f'schedule "{self.schedule}" is not one of {", ".join(SCHEDULES)}.{nearest(self.schedule, SCHEDULES)}'
            )
        if not self.weight_decay >= 0:
            raise InputError(f"weight_decay must be at least 0, not {self.weight_decay}.")
        if self.writes and self.output_dir is None:
            raise InputError("save_every, resume and tensorboard need an output_dir.")
        if self.lora_rank is not None and not self.lora_rank >= 1:
            raise InputError(f"lora_rank must be at least 1, not {self.lora_rank}.")
        if self.lora_layers is not None and not self.lora_layers >= 1:
            raise InputError(f"lora_layers must be at least 1, not {self.lora_layers}.")
        if self.lora_alpha is not None and not self.lora_alpha > 0:
            raise InputError(f"lora_alpha must be positive, not {self.lora_alpha}.")

    @property
    def lora(self) -> LoRA | None:
        """The shape of the adapter, if one is trained."""
        if self.lora_rank is None:
            return None
        return LoRA(self.lora_rank, self.lora_alpha, self.lora_targets, self.lora_layers)

    @property
    def writes(self) -> bool:
        """Whether anything is written into ``output_dir``."""
        return self.save_every is not None or self.resume or self.tensorboard

    def steps(self, num_examples: int) -> int:
        """Return the number of optimiser steps over ``num_examples`` examples."""
        per_epoch = math.ceil(math.ceil(num_examples / self.batch_size) / self.gradient_accumulation)
        return self.max_steps or max(1, math.ceil(per_epoch * self.epochs))

    def arguments(self, num_examples: int, device: torch.device, evaluate: bool) -> TrainingArguments:
        """Return these options as :class:`transformers.TrainingArguments`, for a model on ``device``."""
        steps = self.steps(num_examples)
        eval_every = self.eval_every or max(1, steps // 10)
        return TrainingArguments(
            output_dir=tempfile.gettempdir(),  # an existing folder; the Trainer itself writes nothing
            learning_rate=self.learning_rate,
            per_device_train_batch_size=self.batch_size,
            per_device_eval_batch_size=self.batch_size,
            max_steps=steps,
            gradient_accumulation_steps=self.gradient_accumulation,
            warmup_steps=round(self.warmup * steps),
            lr_scheduler_type=self.schedule,
            weight_decay=self.weight_decay,
            max_grad_norm=self.max_grad_norm,
            bf16=self.bf16,
            seed=self.seed % 2**32,  # NumPy's old generator, which the Trainer seeds too, takes no more
            eval_strategy="steps" if evaluate else "no",
            eval_steps=eval_every,
            logging_steps=self.log_every or max(1, steps // 50),
            save_strategy="steps" if self.save_every is not None else "no",
            save_steps=self.save_every or max(1, steps // 10),
            logging_nan_inf_filter=False,
            include_num_input_tokens_seen="non_padding",
            report_to="none",  # events are written by a callback that knows their folder
            disable_tqdm=not self.progress,
            use_cpu=device.type == "cpu",
            remove_unused_columns=False,
            dataloader_pin_memory=device.type != "cpu",
        )


class Epochs(Protocol):
    """Which examples are in each epoch; all epochs have the same size."""

    def __len__(self) -> int:
        """Return the number of examples per epoch."""

    def epoch(self, number: int) -> Sequence[int]:
        """Return the indices of those in epoch ``number``, counted from 0."""


class EpochSampler(Sampler[int]):
    """Indices of examples in an order determined only by seed and epoch.

    A resumed run then continues in the same order.
    """

    def __init__(self, size: int, seed: int) -> None:
        self.size = size
        self.seed = seed
        self.epoch = 0

    def __len__(self) -> int:
        return self.size

    def set_epoch(self, epoch: int) -> None:
        """Called by the Trainer before each epoch."""
        self.epoch = epoch

    def shuffled(self, count: int) -> list[int]:
        """Return 0 to ``count`` - 1 in this epoch's random order."""
        generator = torch.Generator().manual_seed((self.seed * 1_000_003 + self.epoch) % 2**63)
        return torch.randperm(count, generator=generator).tolist()


class LengthGrouped(EpochSampler):
    """Random batches of similar length, for less padding. Fifty batches at a time are drawn, then sorted by length.

    The examples of a group, which share a prompt, stay adjacent, so that a batch reads it once. An epoch has all
    examples, or those given by ``epochs_of``.
    """

    def __init__(
        self,
        lengths: Sequence[int],
        groups: Sequence[Hashable],
        batch_size: int,
        seed: int,
        epochs_of: Epochs | None = None,
    ) -> None:
        super().__init__(len(epochs_of or lengths), seed)
        self.epochs_of = epochs_of
        self.batch_size = batch_size
        members: dict[Hashable, list[int]] = {}
        for index, group in enumerate(groups):
            members.setdefault(group, []).append(index)
        self.groups = list(members.values())
        self.longest = {i: max(lengths[j] for j in group) for group in self.groups for i in group}

    def __iter__(self) -> Iterator[int]:
        drawn = range(len(self.longest)) if self.epochs_of is None else set(self.epochs_of.epoch(self.epoch))
        groups = (self.groups[group] for group in self.shuffled(len(self.groups)))
        order = [index for group in groups for index in group if index in drawn]
        many = 50 * self.batch_size
        for start in range(0, self.size, many):
            # the sort is stable, which keeps a group together
            window = sorted(order[start : start + many], key=self.longest.__getitem__)
            full = len(window) // self.batch_size
            for batch in self.shuffled(full):
                yield from window[batch * self.batch_size : (batch + 1) * self.batch_size]
            yield from window[full * self.batch_size :]


class SupervisedTrainer(ResumableTrainer):
    """A Trainer whose evaluation loss is a mean over counted items, and which remembers its minimum.

    The stock evaluation averages batch means, which weighs a token by how short its neighbours are. A subclass or
    caller provides ``eval_loss_sum(model, inputs) -> (sum of losses, number of items)``.
    """

    def __init__(self, *args: Any, keep_best: bool = False, epochs_of: Epochs | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.epochs_of = epochs_of
        self.remove_callback(PrinterCallback)  # it prints a dict for every point; the history has them all
        if self.pop_callback(ProgressCallback) is not None:
            self.add_callback(Progress())
        self.add_callback(StopOnDivergence())
        self.keep_best = keep_best

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler[int]:
        examples: Any = self.train_dataset if train_dataset is None else train_dataset
        step = self.args.per_device_train_batch_size * self.args.gradient_accumulation_steps
        return LengthGrouped(*self._lengths(examples), step, self.args.seed, self.epochs_of)

    def _get_eval_sampler(self, eval_dataset: Any) -> Sampler[int]:
        return LengthGrouped(*self._lengths(eval_dataset), self.args.per_device_eval_batch_size, seed=0)

    def _lengths(self, examples: Any) -> tuple[list[int], list[Hashable]]:
        """The number of tokens and the group of each example."""
        return [self.length(example) for example in examples], [example["group"] for example in examples]

    def length(self, example: dict[str, Any]) -> int:
        """Return the number of tokens of an example, used for batching."""
        return len(example["prompt"]) + len(example["response"])

    def eval_loss_sum(self, model: torch.nn.Module, inputs: dict[str, Any]) -> tuple[torch.Tensor, int]:
        """Return the summed loss of one evaluation batch and the number of items in it."""
        raise NotImplementedError

    def evaluate(self, *args: Any, metric_key_prefix: str = "eval", **kwargs: Any) -> dict[str, float]:
        """Return ``{"eval_loss": mean over all items}`` and remember the minimum."""
        summed, items = 0.0, 0
        assert self.model is not None
        training = self.model.training
        self.model.eval()
        # training continues with the random numbers that it would have without an evaluation
        with torch.random.fork_rng(devices=[]), torch.no_grad(), self.compute_loss_context_manager():
            for inputs in self.get_eval_dataloader():
                batch_loss, count = self.eval_loss_sum(self.model, self._prepare_inputs(inputs))
                summed, items = summed + float(batch_loss), items + count
        self.model.train(training)
        loss = summed / max(items, 1)
        metrics = {f"{metric_key_prefix}_loss": loss}
        with uninterrupted():
            if loss < self.best.loss:
                weights = weights_of(self.model) if self.keep_best else None
                kept = weights and {name: tensor.detach().to("cpu", copy=True) for name, tensor in weights.items()}
                self.best = Best(loss, self.state.global_step, kept)
            self.log(metrics)
            self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
            self.end_moment()
        return metrics


def train_with(trainer: SupervisedTrainer, options: TrainingOptions) -> dict[str, Any]:
    """Train, or resume training, restore the best weights if they were kept, and return the metrics.

    Raises:
        InputError: another process writes to the output folder, or it has checkpoints of another run.
    """
    with ExitStack() as stack:
        if options.writes and options.output_dir is not None:
            folder = stack.enter_context(managed(options.output_dir, "learn")).folder
            stack.enter_context(locked(folder, "learn"))
            _prepare_output(trainer, options, folder, stack)
        seconds = trainer.fit()
    steps, history = trainer.state.global_step, trainer.state.log_history
    evaluations = {point["step"]: point["eval_loss"] for point in history if "eval_loss" in point}
    best_step = min(evaluations, key=evaluations.__getitem__, default=None)
    # bf16 training leaves a forward that rounds; the returned model computes in its weights' type
    model = trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False)
    kept_step = steps
    if trainer.best.weights is not None and trainer.best.step != steps:
        put_weights(model, trainer.best.weights)
        kept_step = trainer.best.step
    trainer.best = Best()
    model.eval()
    model.zero_grad(set_to_none=True)
    losses = [point["loss"] for point in history if "loss" in point]
    return {
        "train_loss": losses[-1] if losses else None,
        "eval_loss": evaluations.get(steps),
        "eval_loss_minimum": None if best_step is None else evaluations[best_step],
        "eval_loss_minimum_step": best_step,
        "kept_step": kept_step,
        "steps": steps,
        "tokens": int(trainer.state.num_input_tokens_seen),
        "seconds": seconds,
        "history": [dict(point) for point in history],
    }


def _prepare_output(trainer: SupervisedTrainer, options: TrainingOptions, folder: Path, stack: ExitStack) -> None:
    """Let a trainer write its checkpoints and events into a folder."""
    if options.save_every is not None or options.resume:
        trainer.keep_checkpoints(folder, _inputs(trainer, options), options.resume, options.accept_changes)
    if options.tensorboard:
        history = trainer.resumed.history if trainer.resumed is not None else None
        events = Events(folder / "tensorboard", history)
        stack.callback(events.close)
        trainer.add_callback(events)


def _inputs(trainer: SupervisedTrainer, options: TrainingOptions) -> dict[str, str]:
    """Hashes of what a run's result depends on: examples, start model and options."""
    assert trainer.model is not None
    epoch = () if trainer.epochs_of is None else trainer.epochs_of.epoch(0)
    examples: Any = trainer.train_dataset
    held_out: Any = trainer.eval_dataset or ()
    unsaid = _HOW_TO_KEEP | _LENGTHS | (set() if options.lora else _ADAPTER)
    told = {name: value for name, value in asdict(options).items() if name not in unsaid}
    args = trainer.args
    told |= {name: getattr(args, name) for name in ("warmup_steps", "eval_steps", "logging_steps")}
    if options.schedule != "constant_with_warmup":  # with that one, a longer run begins as a shorter one
        told["max_steps"] = args.max_steps
    return {
        "data": digest(chain(examples, ["held out"], held_out, ["epoch"], epoch)),
        "model": checksum(trainer.model),
        "options": digest(sorted(told.items())),
    }
