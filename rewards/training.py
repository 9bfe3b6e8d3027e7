"""Training a preference model on comparisons, measuring it, and setting its scale.

The model of preferences is Bradley and Terry's (1952): P(a is preferred to b) = sigma(r(a) - r(b)). The comparisons of
a prompt are adjacent, and a batch reads each text once however many comparisons it is in (Ouyang et al. 2022, section
3.5), and each prompt once however many texts begin with it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ..data.chat_template import Asked
from ..data.comparisons import Comparison
from ..errors import InputError
from ..models.attention import plain_attention
from ..models.learning_rate import usual_learning_rate
from ..models.low_rank import low_rank
from ..models.supervised import SupervisedTrainer, TrainingOptions, train_with
from ..numbers import takes_numbers
from .accuracy import leads
from .calibration import helpful_temperature
from .chat_texts import asked_and_said, key_of
from .encoded import Cuts, Encoded
from .preference_model import PreferenceModel
from .scorer import head_of
from .training_rows import TrainingRows


def bradley_terry_loss(
    chosen: Tensor, rejected: Tensor, margin: Tensor | float = 0.0, tie: Tensor | None = None
) -> Tensor:
    """Return the mean of -log sigma(chosen - rejected - margin).

    A tie is half a vote for each side, -(log sigma(d) + log sigma(-d)) / 2 with d = chosen - rejected, smallest at
    d = 0; its margin is ignored. Bradley and Terry 1952; the margin as in Touvron et al. 2023 (equation 2).

    Args:
        chosen: scores (B,) of the preferred responses.
        rejected: scores (B,) of the others.
        margin: by how much the preferred one should lead, (B,) or one number.
        tie: (B,) bool, True where neither is preferred; None: nowhere.
    """
    difference = chosen - rejected
    loss = -functional.logsigmoid(difference - margin)
    if tie is not None:
        even = -0.5 * (functional.logsigmoid(difference) + functional.logsigmoid(-difference))
        loss = torch.where(tie, even, loss)
    return loss.mean()


@takes_numbers
def train_preference_model(
    pm: PreferenceModel,
    comparisons: Sequence[Comparison],
    *,
    eval_comparisons: Sequence[Comparison] | None = None,
    keep_best: bool = True,
    **options: Any,
) -> dict[str, Any]:
    """Train ``pm`` in place on comparisons, with those of a prompt adjacent. ``pm.rows`` then has all of them.

    Args:
        pm: from ``PreferenceModel.start`` or ``from_language_model``. Shift and temperature are reset to 0 and 1.
        comparisons: what to learn; prompts are already templated.
        eval_comparisons: held-out comparisons, for ``eval_loss``.
        keep_best: with held-out comparisons, end with the weights of the smallest evaluation loss.
        options: fields of :class:`prefgym.models.supervised.TrainingOptions`.

    Returns:
        The metrics of :func:`prefgym.models.supervised.train_with` (losses in nats per comparison), ``comparisons``,
        ``ties``, ``prompts_cut`` and ``responses_cut`` (training texts that did not fit).

    Raises:
        InputError: there is no comparison.
    """
    if not comparisons:
        raise InputError("A preference model needs at least one comparison to train on.")
    metrics = train_scorer(
        pm, PreferenceTrainer, _PairCollator(pm), encode_comparisons, comparisons, eval_comparisons, keep_best, options
    )
    pm.rows |= TrainingRows.of([*comparisons, *(eval_comparisons or ())], pm.around)
    metrics.update(comparisons=len(comparisons), ties=sum(c.tie for c in comparisons))
    return metrics


def train_scorer(
    pm: PreferenceModel,
    trainer_type: type[SupervisedTrainer],
    collate: Callable[[Sequence[dict[str, Any]]], dict[str, Tensor]],
    encode: Callable[[PreferenceModel, Any], list[dict[str, Any]]],
    examples: Sequence[Any],
    eval_examples: Sequence[Any] | None,
    keep_best: bool,
    options: dict[str, Any],
) -> dict[str, Any]:
    """Train ``pm`` in place on one kind of judgement, from shift 0 and temperature 1.

    Args:
        pm: the model.
        trainer_type: defines the loss.
        collate: encoded examples to a batch.
        encode: judgements to encoded examples.
        examples: the judgements to learn.
        eval_examples: held-out ones.
        keep_best: with held-out ones, end with the weights of the smallest evaluation loss.
        options: fields of :class:`prefgym.models.supervised.TrainingOptions`; without ``learning_rate`` it is
            :func:`prefgym.models.learning_rate.usual_learning_rate`, of a small model 3e-4.

    Returns:
        The metrics of :func:`prefgym.models.supervised.train_with`, and how many training texts did not fit.
    """
    size, adapter = sum(p.numel() for p in pm.model.parameters()), options.get("lora_rank") is not None
    rate = usual_learning_rate(size, adapter, small=3e-4)
    settings = TrainingOptions(**{"learning_rate": rate, **options})
    pm.shift, pm.temperature, pm.cuts = 0.0, 1.0, Cuts()
    pm.model.requires_grad_(True)
    train = encode(pm, examples)
    cut = {"prompts_cut": pm.cuts.prompts, "responses_cut": pm.cuts.responses}
    held_out = encode(pm, eval_examples) if eval_examples else None
    learned = low_rank(pm.model, settings.lora, seed=settings.seed, name=pm.name, whole=[head_of(pm.model)])
    with learned, plain_attention(pm.model, wanted=settings.bf16):
        trainer = trainer_type(
            model=pm.scorer,
            args=settings.arguments(len(train), pm.model.device, evaluate=held_out is not None),
            data_collator=collate,
            train_dataset=train,
            eval_dataset=held_out,
            keep_best=keep_best and held_out is not None,
        )
        return {**train_with(trainer, settings), **cut}


def encode_comparisons(pm: PreferenceModel, comparisons: Sequence[Comparison]) -> list[dict[str, Any]]:
    """Return the encoded texts, margin and tie of every comparison, as :class:`PreferenceTrainer` reads them."""
    distinct = asked_and_said(comparisons, pm.chat)
    rows = pm.encode([prompt for prompt, _ in distinct.values()], [text for _, text in distinct.values()])
    encoded = dict(zip(distinct, rows, strict=True))  # a text in several comparisons is stored once
    return [
        {
            "texts": (encoded[c.prompt, c.chosen], encoded[c.prompt, c.rejected]),
            "margin": c.margin,
            "tie": c.tie,
            "group": c.prompt,
        }
        for c in comparisons
    ]


class PreferenceTrainer(SupervisedTrainer):
    """Bradley-Terry loss on pairs; ``chosen`` and ``rejected`` (B,) say which of a batch's texts a pair compares."""

    def length(self, example: dict[str, Any]) -> int:
        """Return the number of tokens of the longer text."""
        return max(len(text.input_ids) for text in example["texts"])

    def compute_loss(  # type: ignore[override]
        self, model: torch.nn.Module, inputs: dict[str, Any], return_outputs: bool = False, **kwargs: Any
    ) -> Tensor:
        """Return the mean loss of a batch."""
        margin, tie, chosen, rejected = (inputs.pop(name) for name in ("margin", "tie", "chosen", "rejected"))
        scores = model(**inputs)  # (texts,)
        return bradley_terry_loss(scores[chosen], scores[rejected], margin, tie)

    def eval_loss_sum(self, model: torch.nn.Module, inputs: dict[str, Any]) -> tuple[Tensor, int]:
        """Return the summed loss and the number of comparisons."""
        count = len(inputs["tie"])
        return self.compute_loss(model, inputs) * count, count


class _PairCollator:
    def __init__(self, pm: PreferenceModel) -> None:
        self.pm = pm

    def __call__(self, examples: Sequence[dict[str, Any]]) -> dict[str, Tensor]:
        rows: dict[tuple[int, ...], int] = {}
        texts: list[Encoded] = []
        for text in (text for example in examples for text in example["texts"]):
            if rows.setdefault(tuple(text.input_ids), len(texts)) == len(texts):
                texts.append(text)
        batch = self.pm.collate(texts, share_prompts=True)
        device = batch["input_ids"].device
        for side, name in enumerate(("chosen", "rejected")):
            places = [rows[tuple(example["texts"][side].input_ids)] for example in examples]
            batch[name] = torch.tensor(places, device=device)
        batch["margin"] = torch.tensor([float(example["margin"]) for example in examples], device=device)
        batch["tie"] = torch.tensor([bool(example["tie"]) for example in examples], device=device)
        return batch


def calibrate_temperature(pm: PreferenceModel, comparisons: Sequence[Comparison]) -> float:
    """Set and return the temperature of the smallest held-out loss, or 1 where dividing by it would not help.

    See :func:`prefgym.rewards.calibration.helpful_temperature`. Margins are ignored.

    Raises:
        InputError: there is no comparison.
    """
    if not comparisons:
        raise InputError("Calibration needs held-out comparisons.")
    lead = leads(pm, comparisons) * pm.temperature  # of the logits
    pm.temperature = helpful_temperature(lead, comparisons)
    return pm.temperature


def reference_shift(pm: PreferenceModel, prompts: Sequence[Asked], references: Sequence[str]) -> float:
    """Set and return the shift that makes the reference responses average a score of 0 (Stiennon et al. 2020).

    A response that is there several times, as one that won several comparisons, counts as often and is read once.
    """
    if not len(prompts):
        raise InputError("The reference shift needs at least one prompt with a reference response.")
    keys = [(key_of(prompt), reference) for prompt, reference in zip(prompts, references, strict=True)]
    counts, texts = Counter(keys), dict(zip(keys, zip(prompts, references, strict=True), strict=True))
    logits = pm.logits([prompt for prompt, _ in texts.values()], [text for _, text in texts.values()])
    pm.shift = float(np.average(logits, weights=[counts[key] for key in texts]))
    return pm.shift
