"""Supervised training of causal language models: pretraining on packed blocks, fine-tuning on responses.

Both run on :class:`transformers.Trainer` and minimise the cross-entropy of the next token. They differ in their
examples alone: pretraining learns every token of a block, fine-tuning the response and the EOS after it.

Nothing here knows templates, prompt budgets or the world: texts come in finished.
"""

from __future__ import annotations

import inspect
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional
from torch.utils.tensorboard import SummaryWriter
from transformers import PreTrainedModel, PrinterCallback, Trainer, TrainerCallback, TrainingArguments
from transformers.integrations import TensorBoardCallback

from ..errors import InputError

if TYPE_CHECKING:
    from .language_model import LanguageModel

IGNORED = -100  # the label that no loss counts, PyTorch's own default
Example = dict[str, list[int]]


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
            seed=self.seed,
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
            train_sampling_strategy="group_by_length",
            remove_unused_columns=False,
            dataloader_pin_memory=device.type != "cpu",
        )


class SupervisedTrainer(Trainer):
    """A Trainer whose evaluation loss is a mean over counted items, and that remembers its minimum.

    The stock evaluation averages batch means, which weighs a token by how short its neighbours are. A subclass or
    caller gives ``eval_loss_sum(model, inputs) -> (sum of losses, number of items)``.

    Attributes:
        best_state: weights at the smallest evaluation loss, on the CPU, when ``keep_best``.
        best_loss: the smallest evaluation loss so far.
        best_step: its optimiser step.
    """

    def __init__(self, *args: Any, keep_best: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.remove_callback(PrinterCallback)  # it prints a dict for every point; the history holds them all
        self.add_callback(_StopOnDivergence())
        self.keep_best = keep_best
        self.best_state: dict[str, torch.Tensor] | None = None
        self.best_loss = math.inf
        self.best_step = 0

    def eval_loss_sum(self, model: torch.nn.Module, inputs: dict[str, Any]) -> tuple[torch.Tensor, int]:
        """Return the summed loss of one evaluation batch and the number of items in it."""
        raise NotImplementedError

    def evaluate(self, *args: Any, metric_key_prefix: str = "eval", **kwargs: Any) -> dict[str, float]:
        """Return ``{"eval_loss": mean over all items}`` and remember the minimum."""
        total, items = 0.0, 0
        assert self.model is not None
        training = self.model.training
        self.model.eval()
        with torch.no_grad(), self.compute_loss_context_manager():
            for inputs in self.get_eval_dataloader():
                loss, count = self.eval_loss_sum(self.model, self._prepare_inputs(inputs))
                total, items = total + float(loss), items + count
        self.model.train(training)
        loss = total / max(items, 1)
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


class LanguageModelTrainer(SupervisedTrainer):
    """Next-token cross-entropy over the labelled tokens; the head runs only from the first labelled column on."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, compute_loss_func=mean_token_loss, **kwargs)

    def eval_loss_sum(self, model: torch.nn.Module, inputs: dict[str, Any]) -> tuple[torch.Tensor, int]:
        """Return the summed cross-entropy of the labelled tokens, in nats, and their number."""
        labels = inputs.pop("labels")
        return token_loss_sum(model(**inputs).logits, labels), int((labels != IGNORED).sum())


def token_loss_sum(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the summed next-token cross-entropy in nats, -sum log p(token), over the labelled tokens.

    Args:
        logits: (B, K, V), those of the last K columns; column j predicts the token of column j + 1.
        labels: (B, L) token ids, ``IGNORED`` where nothing is learned. Earlier columns hold no label.
    """
    # The last column predicts a token that is not there. Labelling it "ignored" is cheaper than cutting it off:
    # the backward pass of a cut copies all logits.
    targets = functional.pad(labels, (0, 1), value=IGNORED)[:, -logits.shape[1] :]  # (B, K)
    return functional.cross_entropy(
        logits.reshape(-1, logits.shape[-1]).float(), targets.reshape(-1), ignore_index=IGNORED, reduction="sum"
    )


def mean_token_loss(
    outputs: Any, labels: torch.Tensor, num_items_in_batch: torch.Tensor | int | None = None
) -> torch.Tensor:
    """Return the mean cross-entropy over the labelled tokens of the whole optimiser step (all accumulated batches)."""
    items = num_items_in_batch if num_items_in_batch is not None else (labels != IGNORED).sum().clamp(min=1)
    return token_loss_sum(outputs.logits, labels) / items


class Collator:
    """Pads examples to one batch, prompts on the left and responses on the right, as in RL.

    The response block then starts in one column, and the head runs only there. An example holds ``input_ids`` and
    the number ``prompt_length`` of its first tokens that are read but not learned (a pretraining block has 1: its
    first token, which nothing predicts). What is padding is said by the mask; position ids are counted from it.
    """

    def __init__(self, model: PreTrainedModel, pad_token_id: int) -> None:
        self.pad_token_id = pad_token_id
        accepted = set(inspect.signature(model.forward).parameters)
        self.takes_positions = "position_ids" in accepted
        self.takes_logits_to_keep = "logits_to_keep" in accepted

    def __call__(self, examples: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Return ``input_ids``, ``attention_mask``, ``labels`` and ``position_ids``, all (B, L)."""
        prompt = max(example["prompt_length"] for example in examples)
        response = max(len(example["input_ids"]) - example["prompt_length"] for example in examples)
        shape = (len(examples), prompt + response)
        tokens = torch.full(shape, self.pad_token_id, dtype=torch.long)
        mask = torch.zeros(shape, dtype=torch.long)
        labels = torch.full(shape, IGNORED, dtype=torch.long)
        for row, example in enumerate(examples):
            ids = torch.as_tensor(example["input_ids"], dtype=torch.long)
            start = prompt - example["prompt_length"]
            end = start + len(ids)
            tokens[row, start:end] = ids
            mask[row, start:end] = 1
            labels[row, prompt:end] = ids[example["prompt_length"] :]
        batch: dict[str, Any] = {"input_ids": tokens, "attention_mask": mask, "labels": labels}
        if self.takes_positions:
            batch["position_ids"] = (mask.cumsum(1) - 1).clamp(min=0)
        if self.takes_logits_to_keep:
            batch["logits_to_keep"] = response + 1
        return batch


def pack(documents: Sequence[Sequence[int]] | np.ndarray, block_size: int, eos_token_id: int) -> np.ndarray:
    """Return blocks of ``block_size`` tokens (N, block_size) cut from the documents, an EOS after each one.

    A one-dimensional array is taken as a stream that is joined already. The last, unfilled block is left out.

    >>> pack([[1, 2], [3, 4, 5]], block_size=3, eos_token_id=0).tolist()
    [[1, 2, 0], [3, 4, 5]]
    """
    if isinstance(documents, np.ndarray) and documents.ndim == 1:
        stream = documents
    else:
        joined = chain.from_iterable(chain(document, (eos_token_id,)) for document in documents)
        stream = np.fromiter(joined, dtype=np.int32)
    blocks = len(stream) // block_size
    if blocks == 0:
        raise InputError(f"The texts hold {len(stream)} tokens, fewer than one block of {block_size}: give more text.")
    return stream[: blocks * block_size].reshape(blocks, block_size)


def pretrain(
    model: PreTrainedModel,
    documents: Sequence[Sequence[int]] | np.ndarray,
    *,
    eos_token_id: int,
    eval_documents: Sequence[Sequence[int]] | np.ndarray | None = None,
    block_size: int = 256,
    keep_best: bool = False,
    **options: Any,
) -> dict[str, Any]:
    """Train ``model`` in place to predict every token of packed documents.

    Args:
        model: any causal language model.
        documents: token ids of each document, or one joined stream.
        eos_token_id: written after each document.
        eval_documents: held-out documents, for ``eval_loss``.
        block_size: tokens of an example; several documents share a block.
        keep_best: end with the weights of the smallest evaluation loss instead of the last ones.
        options: fields of :class:`TrainingOptions`.

    Returns:
        The metrics of :func:`run`.
    """
    eval_blocks = None if eval_documents is None else pack(eval_documents, block_size, eos_token_id)
    return run(
        model,
        _Blocks(pack(documents, block_size, eos_token_id)),
        None if eval_blocks is None else _Blocks(eval_blocks),
        pad_token_id=eos_token_id,
        keep_best=keep_best,
        options=TrainingOptions(**{"learning_rate": 2e-3, "weight_decay": 0.1, **options}),
    )


class _Blocks(Sequence):
    """Packed blocks (N, block_size) as examples, made when asked for."""

    def __init__(self, blocks: np.ndarray) -> None:
        self.blocks = blocks

    def __len__(self) -> int:
        return len(self.blocks)

    def __getitem__(self, index: Any) -> dict[str, Any]:
        return {"input_ids": self.blocks[index].astype(np.int64), "prompt_length": 1}


def finetune(
    lm: LanguageModel,
    pairs: Sequence[tuple[str, str]],
    *,
    eval_pairs: Sequence[tuple[str, str]] | None = None,
    keep_best: bool = True,
    **options: Any,
) -> dict[str, Any]:
    """Train ``lm`` in place to write the response, and then EOS, after the prompt.

    Args:
        lm: the language model and its tokenizer.
        pairs: (prompt text, response text); the prompt is templated and fits the context already.
        eval_pairs: held-out pairs, for ``eval_loss``.
        keep_best: with ``eval_pairs``, end with the weights of the smallest evaluation loss.
        options: fields of :class:`TrainingOptions`.

    Returns:
        The metrics of :func:`run`.

    Raises:
        InputError: no pairs, an empty prompt or response, or a pair longer than the model's context.
    """
    train = [example(lm, prompt, response, row) for row, (prompt, response) in enumerate(pairs)]
    held_out = [example(lm, prompt, response, row) for row, (prompt, response) in enumerate(eval_pairs or ())]
    if not train:
        raise InputError("Fine-tuning needs at least one pair of prompt and response.")
    return run(
        lm.model,
        train,
        held_out or None,
        pad_token_id=lm.pad_token_id,
        keep_best=keep_best,
        options=TrainingOptions(**{"learning_rate": 5e-4, **options}),
    )


def example(lm: LanguageModel, prompt: str, response: str, row: int) -> dict[str, Any]:
    """Return the tokens of one pair: prompt and response encoded each by itself, as the environment does, then EOS."""
    prompt_ids, response_ids = lm.encode(prompt), lm.encode(response)
    if not prompt_ids or not response_ids:
        raise InputError(f"Pair {row} has an empty {'response' if prompt_ids else 'prompt'}: remove it or fill it in.")
    ids = [*prompt_ids, *response_ids, lm.eos_token_id]
    if lm.context_length and len(ids) > lm.context_length:
        raise InputError(
            f"Pair {row} has {len(ids)} tokens, more than the {lm.context_length} of the model's context: "
            "shorten its prompt or response."
        )
    return {"input_ids": ids, "prompt_length": len(prompt_ids)}


def run(
    model: PreTrainedModel,
    train: Sequence[dict[str, Any]],
    held_out: Sequence[dict[str, Any]] | None,
    *,
    pad_token_id: int,
    keep_best: bool,
    options: TrainingOptions,
) -> dict[str, Any]:
    """Train on examples of :class:`Collator`.

    Returns:
        ``train_loss`` (nats per token, over the last logged steps), ``eval_loss`` and ``eval_loss_minimum`` with its
        ``eval_loss_minimum_step`` (None without held-out data), ``steps``, ``examples``, ``tokens`` (read in
        training, prompts included), ``seconds``, ``kept_step`` (whose weights the model holds) and ``history``
        (the points logged, each with its ``step``).
    """
    trainer = LanguageModelTrainer(
        model=model,
        args=options.arguments(len(train), model.device, evaluate=held_out is not None),
        data_collator=Collator(model, pad_token_id),
        train_dataset=train,
        eval_dataset=held_out,
        keep_best=keep_best and held_out is not None,
    )
    return {**train_with(trainer, options), "examples": len(train)}


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
