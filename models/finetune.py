"""Supervised training of language models: pretraining on documents, fine-tuning on responses.

Both run on :class:`transformers.Trainer` and minimise the cross-entropy of the next token. They differ only in their
examples: pretraining learns every token of a block, fine-tuning the response and its EOS.

Nothing here knows templates, prompt budgets or the embedded world: texts arrive finished.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch.nn import functional
from transformers import PreTrainedModel

from ..errors import InputError
from .attention import plain_attention
from .encoder_decoder import is_encoder_decoder
from .forward import from_logits, read_responses
from .learning_rate import usual_learning_rate
from .low_rank import low_rank
from .packing import check_packable
from .shared_prompt import numbered
from .supervised import Epochs, SupervisedTrainer, TrainingOptions, train_with

if TYPE_CHECKING:
    from .language_model import LanguageModel

IGNORED = -100  # the label that losses ignore, PyTorch's own default

PairTokens: TypeAlias = Callable[[str, str], tuple[list[int], list[int]]]
"""The tokens of a prompt, and those of the response after it, without EOS."""


class LanguageModelTrainer(SupervisedTrainer):
    """Next-token cross-entropy over the labelled tokens; pairs in a batch with the same prompt read it once."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # passed so that the Trainer counts the labelled tokens of all accumulated batches
        super().__init__(*args, compute_loss_func=token_loss_sum, **kwargs)

    def compute_loss(  # type: ignore[override]
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> torch.Tensor:
        """Return the mean loss over the labelled tokens of the whole optimiser step (all accumulated batches)."""
        summed, items = self.eval_loss_sum(model, inputs)
        return summed / (items if num_items_in_batch is None else num_items_in_batch)

    def eval_loss_sum(self, model: Any, inputs: dict[str, Any]) -> tuple[torch.Tensor, int]:
        """Return the summed cross-entropy of the labelled tokens, in nats, and their number."""
        return batch_loss_sum(model, inputs)


def batch_loss_sum(model: Any, inputs: dict[str, Any]) -> tuple[torch.Tensor, int]:
    """Return the summed cross-entropy of the labelled tokens of a batch of :class:`Collator`, and their number."""
    labels, num_response = inputs["labels"], inputs["num_response"]
    reading = read_responses(
        model, inputs["input_ids"], inputs["attention_mask"], num_response, inputs["prompt_of"], inputs["packed"]
    )
    wanted = reading.slots.gather(labels[:, -num_response:]).masked_fill(~reading.slots.real, IGNORED)  # (T,)
    (sums,) = from_logits(lambda *given: (token_loss_sum(*given)[None],), [reading], wanted)
    return sums.sum(), int((labels != IGNORED).sum())


def token_loss_sum(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the summed cross-entropy in nats, -sum log p(token), over the labelled tokens.

    Args:
        logits: (..., V); each predicts the token at the same position in ``labels``.
        labels: (...) token ids, ``IGNORED`` where nothing is learned.
    """
    return functional.cross_entropy(
        logits.reshape(-1, logits.shape[-1]).float(), labels.reshape(-1), ignore_index=IGNORED, reduction="sum"
    )


class Collator:
    """Pads examples to one batch, prompts on the left and responses on the right, as in RL.

    The response block then starts in one column, and the head runs only there. An example has the ids of its
    ``prompt``, which are read but not learned (for a pretraining document the first token, which nothing predicts), and
    of its ``response``, and the ``group`` of examples with the same prompt. The mask says what is padding. With
    ``packed``, a model reads several examples per row, wherever they are in the batch.
    """

    def __init__(self, pad_token_id: int, packed: bool = False) -> None:
        self.pad_token_id = pad_token_id
        self.packed = packed

    def __call__(self, examples: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Return ``input_ids``, ``attention_mask`` and ``labels``, (B, L) each, ``prompt_of`` (B,), and two values.

        These are ``num_response``, the number of columns, counted from the right, with labels, and ``packed``.
        """
        prompt, response = (max(len(example[part]) for example in examples) for part in ("prompt", "response"))
        shape = (len(examples), prompt + response)
        tokens = torch.full(shape, self.pad_token_id, dtype=torch.long)
        mask = torch.zeros(shape, dtype=torch.long)
        labels = torch.full(shape, IGNORED, dtype=torch.long)
        for row, example in enumerate(examples):
            start, end = prompt - len(example["prompt"]), prompt + len(example["response"])
            tokens[row, start:end] = torch.tensor([*example["prompt"], *example["response"]])
            mask[row, start:end] = 1
            labels[row, prompt:end] = tokens[row, prompt:end]
        return {
            "input_ids": tokens,
            "attention_mask": mask,
            "labels": labels,
            "prompt_of": numbered([example["group"] for example in examples]),
            "num_response": response,
            "packed": self.packed,
        }


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

    Each document is one example, never cut and never joined with another: its beginning stays in context to its end,
    and it begins at position 0, as prompts do.

    Args:
        model: any causal language model.
        documents: token ids of each document; an EOS is added where there is none.
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
    """Documents as examples; all tokens but the first are learned (nothing predicts that one)."""
    context = getattr(model.config, "max_position_embeddings", None)
    for row, document in enumerate(given):
        if not document:
            raise InputError(f"Document {row} is empty: remove it.")
        if context and len(document) >= context:
            raise InputError(
                f"Document {row} has {len(document)} tokens, and the model's context is {context}: cut it."
            )
    return [
        {"prompt": document[:1], "response": _ended(document[1:], eos_token_id), "group": row}
        for row, document in enumerate(given)
    ]


def _ended(document: Sequence[int], eos_token_id: int) -> list[int]:
    return list(document) if list(document[-1:]) == [eos_token_id] else [*document, eos_token_id]


def finetune(
    lm: LanguageModel,
    pairs: Sequence[tuple[str, str]],
    *,
    eval_pairs: Sequence[tuple[str, str]] | None = None,
    keep_best: bool = True,
    packing: bool = False,
    epochs_of: Epochs | None = None,
    tokens: PairTokens | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Train ``lm`` in place to write the response, then EOS, after the prompt.

    Args:
        lm: the language model and its tokenizer.
        pairs: (prompt text, response text); the prompt is already templated and fits the context.
        eval_pairs: held-out pairs, for ``eval_loss``.
        keep_best: with ``eval_pairs``, end with the weights of the smallest evaluation loss.
        packing: let examples share rows, with the same result; it saves padding between long and short ones.
        epochs_of: which pairs are in an epoch, such as ``data.mixing.Mixture`` for many tasks; None for all.
        tokens: the tokens of a pair, if the caller already has them; None tokenises.
        options: fields of :class:`prefgym.models.supervised.TrainingOptions`; without ``learning_rate`` it is
            :func:`prefgym.models.learning_rate.usual_learning_rate`.

    Returns:
        The metrics of :func:`run`.

    Raises:
        InputError: no pairs, an empty prompt or response, a pair longer than the model's context, or ``packing`` for a
            model that does not allow it.
    """
    if packing:
        check_packable(lm.model)
    train, held_out = examples(lm, pairs, tokens), examples(lm, eval_pairs or (), tokens)
    if not train:
        raise InputError("Fine-tuning needs at least one pair of prompt and response.")
    rate = usual_learning_rate(lm.num_parameters, adapter=options.get("lora_rank") is not None)
    settings = TrainingOptions(**{"learning_rate": rate, **options})
    lm.unfreeze()
    learned = low_rank(lm.model, settings.lora, seed=settings.seed, name=lm.name)
    with learned, plain_attention(lm.model, wanted=settings.bf16):
        return run(
            lm.model,
            train,
            held_out or None,
            pad_token_id=lm.pad_token_id,
            keep_best=keep_best,
            options=settings,
            packing=packing,
            epochs_of=epochs_of,
        )


def examples(
    lm: LanguageModel, pairs: Sequence[tuple[str, str]], tokens: PairTokens | None = None
) -> list[dict[str, Any]]:
    """Return the tokens of pairs, as in the environment: those of the prompt, those of the response after it, then EOS.

    Pairs with the same prompt are in one group. ``tokens`` as in :func:`finetune`.
    """
    tokens = tokens or _tokens(lm, pairs)
    context, empty = lm.context_length, (len(lm.texts.prompt("")), len(lm.texts.response("", "")))
    apart = is_encoder_decoder(lm.model)  # an encoder has its own context
    rows = []
    for row, (prompt, response) in enumerate(pairs):
        ids, answer = tokens(prompt, response)
        if len(ids) <= empty[0] or len(answer) <= empty[1]:
            part = "prompt" if len(ids) <= empty[0] else "response"
            raise InputError(f"Pair {row} has an empty {part}: remove it or fill it in.")
        answer = lm.ended(answer)
        _check_length(row, max(len(ids), len(answer)) if apart else len(ids) + len(answer), context)
        rows.append({"prompt": ids, "response": answer, "group": prompt})
    return rows


def _tokens(lm: LanguageModel, pairs: Sequence[tuple[str, str]]) -> PairTokens:
    """The tokens of these pairs; each prompt is tokenised once."""
    prompts = list(dict.fromkeys(prompt for prompt, _ in pairs))
    known = dict(zip(prompts, lm.texts.prompts(prompts), strict=True))
    given = [prompt for prompt, _ in pairs], [response for _, response in pairs]
    found = dict(zip(pairs, lm.texts.responses(*given, [known[prompt] for prompt in given[0]]), strict=True))
    return lambda prompt, response: (known[prompt], found[prompt, response])


def _check_length(row: int, length: int, context: int) -> None:
    """Raise an ``InputError`` if a pair does not fit."""
    if length > context:
        raise InputError(
            f"Pair {row} has {length} tokens, more than the {context} of the model's context: "
            "shorten its prompt or response."
        )


def run(
    model: PreTrainedModel,
    train: Sequence[dict[str, Any]],
    held_out: Sequence[dict[str, Any]] | None,
    *,
    pad_token_id: int,
    keep_best: bool,
    options: TrainingOptions,
    packing: bool = False,
    epochs_of: Epochs | None = None,
) -> dict[str, Any]:
    """Train on examples of :class:`Collator`; arguments as in :func:`finetune`.

    Returns:
        ``train_loss`` (nats per token, over the last logged steps), ``eval_loss`` and ``eval_loss_minimum`` with its
        ``eval_loss_minimum_step`` (None without held-out data), ``steps``, ``examples``, ``tokens`` (read in training,
        prompts included), ``seconds``, ``kept_step`` (the step of the final weights) and ``history`` (the logged
        points, each with its ``step``).
    """
    trainer = LanguageModelTrainer(
        model=model,
        args=options.arguments(len(epochs_of or train), model.device, evaluate=held_out is not None),
        data_collator=Collator(pad_token_id, packing),
        train_dataset=train,
        eval_dataset=held_out,
        keep_best=keep_best and held_out is not None,
        epochs_of=epochs_of,
    )
    return {**train_with(trainer, options), "examples": len(train)}
