"""Faults planted in a family's twin: does the trial of each path that serves it see them?

A fault is planted in what reaches the model while texts are read, never in the plain forward pass that they are
compared with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from prefgym.models import examination, trial_texts
from prefgym.models.encoder_decoder import is_encoder_decoder
from prefgym.models.examination import TOLERANCE, Examination
from prefgym.models.paths import FAST
from prefgym.models.trial_texts import Texts, make_texts

ROUNDING = 1e-5
"""In nats: what is off by no more, or by no more than twice what it is off without a fault, is not changed by one."""
Change = Callable[[Tensor], Tensor]


def shifted(positions: Tensor) -> Tensor:
    """Position ids of which the last three of every second row are one too high; (n, L), (L,) or (3, n, L)."""
    changed = positions.clone()
    rows = changed.reshape(-1, changed.shape[-1])
    rows[::2, -3:] += 1
    return changed


def unmasked(mask: Tensor) -> Tensor:
    """A mask that hides nothing but later columns: (n, L), or (n, 1, q, K) to be added."""
    if mask.dim() < 4:
        return torch.ones_like(mask)
    queries, keys = mask.shape[-2:]
    seen = torch.ones(queries, keys, dtype=torch.bool).tril(keys - queries)
    return torch.zeros_like(mask).masked_fill(~seen, torch.finfo(mask.dtype).min)


FAULTS: dict[str, tuple[str, Change]] = {
    "shifted positions": ("position_ids", shifted),
    "dropped mask": ("attention_mask", unmasked),
}


@contextmanager
def planted(model: nn.Module, name: str, change: Change) -> Iterator[list[str]]:
    """Inside this, an argument of the model's forward is changed; the list yielded grows with each change."""
    changes: list[str] = []

    def hook(_module: nn.Module, arguments: tuple[Any, ...], options: dict[str, Any]) -> Any:
        given = options.get(name)
        if not isinstance(given, Tensor):
            return None
        changed = change(given)
        if not torch.equal(changed, given):
            changes.append(name)
        return arguments, {**options, name: changed}

    whole: Any = model
    places = [model, whole.get_encoder()] if is_encoder_decoder(model) else [model]
    handles = [place.register_forward_pre_hook(hook, with_kwargs=True) for place in places]
    try:
        yield changes
    finally:
        for handle in handles:
            handle.remove()


def plant(model: Any, found: Examination, texts: Texts) -> dict[str, dict[str, str]]:
    """Fault -> path -> what was said: ``seen``, ``missed``, ``no effect``, or ``not given`` to the model there."""
    told: dict[str, dict[str, str]] = {fault: {} for fault in FAULTS}
    for path, (read, before) in serving(model, found, texts).items():
        for fault, (name, change) in FAULTS.items():
            with planted(model, name, change) as changes:
                difference = _difference(read, model, found, texts)
            told[fault][path] = _verdict(difference, before) if changes else "not given"
    return told


def plant_window(model: Any, blind: Any, found: Examination, texts: Texts) -> dict[str, str]:
    """The same for a model without windows that reads texts whose truth comes from the model with them."""
    paths = serving(model, found, texts)
    return {path: _verdict(_difference(read, blind, found, texts), before) for path, (read, before) in paths.items()}


def texts_with_truth(model: nn.Module, columns: int) -> Texts:
    """Texts of up to ``columns`` columns, and what a plain forward pass of each alone says of them."""
    texts = make_texts(model, columns)
    with torch.no_grad():
        texts.truth = [trial_texts.truth(model, texts, row) for row in range(len(texts.responses))]
    return texts


def _verdict(difference: float, before: float) -> str:
    if difference > TOLERANCE:
        return "seen"
    return "no effect" if difference <= max(ROUNDING, 2 * before) else "missed"


def is_served(found: Examination) -> bool:
    """Whether at least the plain path gives what a plain forward pass of each text alone gives."""
    trial = found.trials.get(found.paths.batch)
    return trial is not None and trial.agrees


def serving(model: Any, found: Examination, texts: Texts) -> dict[str, tuple[Any, float]]:
    """The paths that serve a model and that these texts fit, plain first: how each is tried, and how far it is off."""
    trials = examination._OF_ENCODER_DECODERS if is_encoder_decoder(model) else examination._TRIALS
    used = {name: trials[name] for name in FAST if name in trials and getattr(found.paths, name)}
    every = {found.paths.batch: examination._read, **used}
    tried = {path: (read, _difference(read, model, found, texts)) for path, read in every.items()}
    return {path: both for path, both in tried.items() if both[1] <= TOLERANCE}


def _difference(read: Any, model: Any, found: Examination, texts: Texts) -> float:
    return examination._try(read, model, found.paths, texts).difference
