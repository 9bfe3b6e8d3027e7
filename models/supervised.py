"""What every supervised run shares: its options, the order of its examples, its evaluation and its metrics.

On :class:`transformers.Trainer`. Nothing here knows what is learned; see ``finetune.py`` and ``rewards/training.py``.
"""

from __future__ import annotations

import math
import time
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch.utils.data import Sampler
from torch.utils.tensorboard import SummaryWriter
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments
from transformers.integrations import TensorBoardCallback

from ..errors import InputError


@dataclass(frozen=True)
class TrainingOptions:
    """How a supervised run is trained; shared by pretraining, fine-tuning and preference models.

    Attributes:
        learning_rate: peak, reached after the warm-up.
        batch_size: examples of one forward pass.
        epochs: passes over the data; ignored when ``max_steps`` is set.
        max_steps: optimiser steps; 0 leaves it to ``epochs``.
        gradient_accumulation: forward passes of one optimiser step.
        warmup: share of the steps (0 to 1) over which the learning rate rises linearly from 0.
        schedule: ``"cosine"``, ``"linear"`` (both down to 0) or ``"constant_with_warmup"``.
        weight_decay: AdamW's, on matrices alone (no biases, no norms).
        max_grad_norm: gradients are scaled down to this global norm.
        bf16: matrix products in bfloat16 (autocast); weights and optimiser stay in fp32.
        seed: of shuffling and of dropout, if there is any.
        eval_every: steps between two evaluations; 0 evaluates ten times.
        log_every: steps between two points of the training curve; 0 logs fifty times.
        save_every: steps between two resume points under ``output_dir/checkpoints``; 0 saves none.
        resume: go on from the last resume point in ``output_dir``, if there is one.
        output_dir: folder of resume points and TensorBoard events; None writes nothing.
        tensorboard: write events under ``output_dir/tensorboard``.
        progress: show a bar with the time left.
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
    save_every: int = 0
    resume: bool = False
    output_dir: str | Path | None = None
    tensorboard: bool = False
    progress: bool = False

    def __post_init__(self) -> None:
        positive = ("learning_rate", "batch_size", "gradient_accumulation", "max_grad_norm")
        for name in positive:
            if not getattr(self, name) > 0:
                raise InputError(f"{name} must be positive, not {getattr(self, name)}.")
        if self.max_steps < 0 or (self.max_steps == 0 and not self.epochs > 0):
            raise InputError("A training run needs epochs or max_steps above 0.")
        if not 0 <= self.warmup < 1:
            raise InputError(f"warmup is a share of the steps from 0 to below 1, not {self.warmup}.")
        if (self.save_every or self.resume or self.tensorboard) and self.output_dir is None:
            raise InputError("save_every, resume and tensorboard need an output_dir.")

    def steps(self, num_examples: int) -> int:
        """Return the number of optimiser steps over ``num_examples`` examples."""
        per_epoch = math.ceil(math.ceil(num_examples / self.batch_size) / self.gradient_accumulation)
        return self.max_steps or max(1, math.ceil(per_epoch * self.epochs))

    def arguments(self, num_examples: int, device: torch.device, evaluate: bool) -> TrainingArguments:
        """Return the same as :class:`transformers.TrainingArguments`, for a model on ``device``."""
        steps = self.steps(num_examples)
        eval_every = self.eval_every or max(1, steps // 10)
        return TrainingArguments(
            output_dir=str(Path(self.output_dir) / "checkpoints") if self.output_dir is not None else None,
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
            save_strategy="steps" if self.save_every else "no",
            save_steps=self.save_every or steps,
            save_total_limit=1,
            logging_nan_inf_filter=False,
            include_num_input_tokens_seen="non_padding",
            report_to="none",  # events are written by a callback that knows their folder
            disable_tqdm=not self.progress,
            use_cpu=device.type == "cpu",
            remove_unused_columns=False,
            dataloader_pin_memory=device.type != "cpu",
        )


class Epochs(Protocol):
    """Which examples each epoch holds; as many in one as in another."""

    def __len__(self) -> int:
        """Return how many."""

    def epoch(self, number: int) -> Sequence[int]:
        """Return the indices of those of epoch ``number``, from 0 on."""


class EpochSampler(Sampler[int]):
    """Indices of examples in an order that follows from seed and epoch alone.

    A resumed run then goes on in the order in which it was stopped.
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
    """Random batches of like length: less padding. Fifty batches at a time are drawn, then sorted by length.

    The examples of a group, which have a prompt in common, stay side by side, so that a batch reads it once. An epoch
    is all of them, or those that ``epochs_of`` names.
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
            # sorting keeps what is equally long in order, and so a group together
            window = sorted(order[start : start + many], key=self.longest.__getitem__)
            full = len(window) // self.batch_size
            for batch in self.shuffled(full):
                yield from window[batch * self.batch_size : (batch + 1) * self.batch_size]
            yield from window[full * self.batch_size :]


class SupervisedTrainer(Trainer):
    """A Trainer whose evaluation loss is a mean over counted items, and that remembers its minimum.

    The stock evaluation averages batch means, which weighs a token by how short its neighbours are. A subclass or
    caller gives ``eval_loss_sum(model, inputs) -> (sum of losses, number of items)``.

    Attributes:
        best_state: weights at the smallest evaluation loss, on the CPU, when ``keep_best``.
        best_loss: the smallest evaluation loss so far.
        best_step: its optimiser step.
    """

    def __init__(self, *args: Any, keep_best: bool = False, epochs_of: Epochs | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.epochs_of = epochs_of
        self.remove_callback(PrinterCallback)  # it prints a dict for every point; the history holds them all
        self.add_callback(_StopOnDivergence())
        self.keep_best = keep_best
        self.best_state: dict[str, torch.Tensor] | None = None
        self.best_loss = math.inf
        self.best_step = 0

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler[int]:
        examples: Any = self.train_dataset if train_dataset is None else train_dataset
        lengths = [self.length(example) for example in examples]
        step = self.args.per_device_train_batch_size * self.args.gradient_accumulation_steps
        groups = [example["group"] for example in examples]
        return LengthGrouped(lengths, groups, step, self.args.seed, self.epochs_of)

    def length(self, example: dict[str, Any]) -> int:
        """Return the number of tokens of an example, by which batches are made."""
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
        with torch.no_grad(), self.compute_loss_context_manager():
            for inputs in self.get_eval_dataloader():
                batch_loss, count = self.eval_loss_sum(self.model, self._prepare_inputs(inputs))
                summed, items = summed + float(batch_loss), items + count
        self.model.train(training)
        loss = summed / max(items, 1)
        if loss < self.best_loss:
            self.best_loss, self.best_step = loss, self.state.global_step
            if self.keep_best:
                self.best_state = {k: v.detach().cpu().clone() for k, v in self.model.state_dict().items()}
        metrics = {f"{metric_key_prefix}_loss": loss}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics


class _StopOnDivergence(TrainerCallback):
    """Stop with a clear error as soon as a logged loss is not a number."""

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        for name, value in (logs or {}).items():
            if name.endswith("loss") and not math.isfinite(value):
                raise FloatingPointError(f"{name} is {value} at step {state.global_step}: lower the learning rate.")


def train_with(trainer: SupervisedTrainer, options: TrainingOptions) -> dict[str, Any]:
    """Train, evaluate the end, put the best weights back if they were kept, and return the metrics."""
    began = time.perf_counter()
    if options.tensorboard:
        writer = SummaryWriter(Path(str(options.output_dir)) / "tensorboard")
        trainer.add_callback(TensorBoardCallback(writer))
    trainer.train(resume_from_checkpoint=_last_checkpoint(options))
    seconds = time.perf_counter() - began
    steps, history = trainer.state.global_step, trainer.state.log_history
    if trainer.eval_dataset is not None and steps not in _evaluations(history):
        trainer.evaluate()
    evaluations = _evaluations(history)
    best_step = min(evaluations, key=evaluations.__getitem__, default=None)
    # bf16 training leaves a forward that rounds; the model handed back computes in the type of its weights
    model = trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False)
    kept_step = steps
    if trainer.best_state is not None and trainer.best_step != steps:
        model.load_state_dict(trainer.best_state)
        kept_step = trainer.best_step
    trainer.best_state = None
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


def _evaluations(history: Sequence[dict[str, Any]]) -> dict[int, float]:
    """Return evaluation loss by optimiser step."""
    return {point["step"]: point["eval_loss"] for point in history if "eval_loss" in point}


def _last_checkpoint(options: TrainingOptions) -> str | None:
    """Return the newest resume point of this run's own folder."""
    if not options.resume or options.output_dir is None:
        return None
    points = list((Path(options.output_dir) / "checkpoints").glob("checkpoint-*"))
    return str(max(points, key=lambda path: int(path.name.rpartition("-")[2]))) if points else None
