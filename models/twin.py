"""A small twin of a model: the same code and the same kinds of layers, with few of them, narrow, and random weights.

What a model attends to, and how it counts positions, does not depend on its size. So a twin shows in milliseconds how
long texts are read by a model whose own forward passes take seconds.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel

from .shrinking import scales, shrink

MOST_PARAMETERS = 40_000_000
SPREAD = (3.0, 12.0)
"""Between these, in nats, lies the mean distance of the most likely from the least likely token."""

GAINS = (1.5, 0.7, 0.3)
"""Of matrices: the first that fits. In some models large ones drown what is read, or make more of every rounding."""
MOST_ROUNDING = 2e-5
"""In nats: by how much log-probs of a twin in fp32 may be off those in fp64."""


class NoTwin(Exception):
    """No twin can be made from a configuration; the text says why."""


def make_twin(model: PreTrainedModel, seed: int = 0) -> PreTrainedModel:
    """Return a small model in fp32 on the CPU with the layers of ``model``; see :func:`twin_of`."""
    return twin_of(type(model), model.config, kinds(model), seed)


def twin_of(
    kind: type[PreTrainedModel], config: PreTrainedConfig, wanted: set[Any] | None = None, seed: int = 0
) -> PreTrainedModel:
    """Return a small random model of a class in fp32 on the CPU, dropout off.

    Args:
        kind: the class.
        config: of the large model; it is not changed.
        wanted: :func:`kinds` of layers it must have; None asks for no more than two layers.
        seed: of the weights.

    Raises:
        NoTwin: none could be built or run.
    """
    reasons: list[str] = []
    for scale in scales(config):
        try:
            with torch.device("meta"):
                shape = kind(shrink(config, scale))
            if sum(p.numel() for p in shape.parameters()) > MOST_PARAMETERS:
                raise NoTwin("it stays too large")
            missing = (wanted or set()) - kinds(shape)
            if missing:
                raise NoTwin(f"{min(map(str, missing))} is not in a small one")
            return _build(kind, shrink(config, scale), seed)
        except Exception as error:  # a configuration may fail in any way
            reasons.append(str(error) if isinstance(error, NoTwin) else f"{type(error).__name__}: {error}")
    raise NoTwin(reasons[0])


def kinds(model: nn.Module) -> set[Any]:
    """The kinds of modules in a model: class, and what a module says of itself in words and truth values.

    An adapted layer (of ``peft``) is of the kind that it was before.
    """
    layers = [module for module in model.modules() if isinstance(getattr(module, "base_layer", None), nn.Module)]
    added = {id(part) for layer in layers for part in set(layer.modules()) - set(layer.base_layer.modules())}  # type: ignore[operator, union-attr]
    return {(type(module).__name__, *_told(module)) for module in model.modules() if id(module) not in added}


# What a module says of itself that is no part of how it was built: how it runs now, and where it came from.
NO_KIND = ("training", "gradient_checkpointing", "name_or_path")


def _told(module: nn.Module) -> Iterator[tuple[str, Any]]:
    for name, value in sorted(vars(module).items()):
        told = bool | str | int | None if "window" in name or "chunk" in name else bool | str
        if isinstance(value, told) and name not in NO_KIND and not name.startswith("_"):
            yield name, value


def _build(kind: type[PreTrainedModel], config: PreTrainedConfig, seed: int) -> PreTrainedModel:
    """The twin with the first gain at which what came before a token shows, and rounding does not.

    Else that with which it shows most.
    """
    found: list[tuple[float, PreTrainedModel]] = []
    for gain in GAINS:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = kind(config).float().eval()
            randomise(model, gain)
        contexts = _scaled(model)
        found.append((contexts, model))
        if contexts >= 1 and _rounding(model) <= MOST_ROUNDING:
            return model
    contexts, model = max(found, key=lambda each: each[0])
    if contexts <= 0:
        raise NoTwin("its tokens stay equally likely")
    return model


def randomise(model: nn.Module, gain: float = GAINS[0]) -> None:
    """Give every parameter random values, so large that distributions differ, and with no zeros that hide a fault."""
    for name, parameter in model.named_parameters():
        with torch.no_grad():
            if parameter.dim() > 1:
                parameter.normal_(0, gain / max(parameter.shape[1:]) ** 0.5 if "emb" not in name else 1.0)
            else:
                parameter.add_(torch.randn_like(parameter) * 0.1)


def _scaled(model: PreTrainedModel) -> float:
    """Scale the head until tokens are as unlike as ``SPREAD`` says; return how unlike contexts are, 0 if they stay so.

    That is the mean distance in nats of the contexts in which a token is most and least likely.
    """
    for _ in range(9):
        log_probs = _read(model)
        spread = float((log_probs.amax(-1) - log_probs.amin(-1)).mean())
        if SPREAD[0] <= spread <= SPREAD[1]:
            break
        _scale_head(model, sum(SPREAD) / 2 / max(spread, 1e-3))
    return 0.0 if spread < 1 else float((log_probs.amax(-2) - log_probs.amin(-2)).mean())


def _rounding(model: PreTrainedModel) -> float:
    """By how much log-probs are off those in fp64; 0 for a model that computes in fp32 only."""
    try:
        return float((_read(copy.deepcopy(model).double()) - _read(model)).abs().max())
    except (RuntimeError, TypeError):
        return 0.0


def _read(model: Any) -> Tensor:
    """Log-probs (1, 12, V_model) over some tokens in turn."""
    rows: Any = model.get_input_embeddings().weight
    ids = (torch.arange(4, 16) % rows.shape[0])[None]
    options = {"decoder_input_ids": ids} if model.config.is_encoder_decoder else {"use_cache": False}
    with torch.no_grad():
        logits: Tensor = model(input_ids=ids, **options).logits
    if not torch.isfinite(logits).all():
        raise NoTwin("it computes NaN")
    return (logits if logits.dtype == torch.float64 else logits.float()).log_softmax(-1)


def _scale_head(model: PreTrainedModel, factor: float) -> None:
    head: Any = model.get_output_embeddings()
    if head is None:
        raise NoTwin("it has no head over tokens")
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.mul_(factor)
