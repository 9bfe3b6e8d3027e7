"""Supervised training of causal language models: pretraining on documents, fine-tuning on responses.

Both run on :class:`transformers.Trainer` and minimise the cross-entropy of the next token. They differ in their
examples alone: pretraining learns every token of a block, fine-tuning the response and the EOS after it.

Nothing here knows templates, prompt budgets or the world: texts come in finished.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional
from transformers import PreTrainedModel

from ..errors import InputError
from .supervised import SupervisedTrainer, TrainingOptions, train_with

if TYPE_CHECKING:
    from .language_model import LanguageModel

IGNORED = -100  # the label that no loss counts, PyTorch's own default


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


def pretrain(
    model: PreTrainedModel,
    documents: Sequence[Sequence[int]],
    *,
    eos_token_id: int,
    eval_documents: Sequence[Sequence[int]] | None = None,
    keep_best: bool = False,
    **options: Any,
) -> dict[str, Any]:
    """Train ``model`` in place to predict every token of documents.

    A document is an example of its own, never cut and never joined with another: what it says early stays in view to
    its end, and it begins at position 0, as prompts do.

    Args:
        model: any causal language model.
        documents: token ids of each document; an EOS is added.
        eos_token_id: learned at the end of each document.
        eval_documents: held-out documents, for ``eval_loss``.
        keep_best: end with the weights of the smallest evaluation loss instead of the last ones.
        options: fields of :class:`prefgym.models.supervised.TrainingOptions`.

    Returns:
        The metrics of :func:`run`.

    Raises:
        InputError: there are no documents, or one is empty or longer than the model's context.
    """
    train, held_out = (_documents(model, given, eos_token_id) for given in (documents, eval_documents or ()))
    if not train:
        raise InputError("Pretraining needs at least one document.")
    return run(
        model,
        train,
        held_out or None,
        pad_token_id=eos_token_id,
        keep_best=keep_best,
        options=TrainingOptions(**{"learning_rate": 2e-3, "weight_decay": 0.1, **options}),
    )


def _documents(model: PreTrainedModel, given: Sequence[Sequence[int]], eos_token_id: int) -> list[dict[str, Any]]:
    """Documents as examples, of which all but the first token is learned (nothing predicts that one)."""
    context = getattr(model.config, "max_position_embeddings", None)
    for row, document in enumerate(given):
        if not document:
            raise InputError(f"Document {row} is empty: remove it.")
        if context and len(document) >= context:
            raise InputError(
                f"Document {row} has {len(document)} tokens, and the model's context is {context}: cut it."
            )
    return [{"input_ids": [*document, eos_token_id], "prompt_length": 1} for document in given]


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
        options: fields of :class:`prefgym.models.supervised.TrainingOptions`.

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
