"""A small twin of a model: the same code and the same kinds of layers, with few of them, narrow, and random weights.

What a model attends to, and how it counts positions, does not depend on its size. So a twin shows in milliseconds how
long texts are read by a model whose own forward passes take seconds.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel

VOCABULARY = 96
"""Tokens of a twin; ids of special tokens above it are moved below."""
MOST_PARAMETERS = 40_000_000
LAYERS = (2, 3, 4, 6, 8, 12)
"""Numbers of layers to try until every kind of layer is there."""
_LAYERS = re.compile(r"(^|_)(n_layers?|num_(\w+_)?layers|layers|num_blocks|depth)$")
_HEADS = re.compile(r"(^|_)(n_heads?|num_(\w+_)?heads|attention_heads|heads)$")
_WIDTHS = {
    r"(^|_)(hidden_size|d_model|n_embd|embed_dim|hidden_dim|model_dim|embedding_size|word_embed_proj_dim|dim)$": 64,
    r"(intermediate|ffn|inner|d_ff|feed_forward|mlp_dim|lru_width)\w*$": 64,
    r"(head_dim|d_kv|head_size|head_qk_dim|v_head_dim)$": 16,
    r"rope_head_dim$": 16,
    r"nope_head_dim$": 16,
    r"lora_rank$": 16,
    r"(state_size|d_state)$": 8,
    r"(num|n)_(\w+_)?(local_)?experts$": 4,
    r"experts_per_tok(en)?$|top_?k$": 2,
}


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
    reason: Exception | None = None
    for narrow in (True, False):
        for layers in LAYERS:
            try:
                small = shrink(config, layers, narrow)
                with torch.device("meta"):
                    shape = kind(small)
                if sum(p.numel() for p in shape.parameters()) > MOST_PARAMETERS:
                    reason = reason or NoTwin("it stays too large")
                    break
                if wanted is not None and not wanted <= kinds(shape):
                    reason = reason or NoTwin("not every kind of layer is in a small one")
                    continue
                return _build(kind, shrink(config, layers, narrow), seed)
            except Exception as error:  # a configuration may fail in any way
                reason = reason if isinstance(reason, Exception) and not isinstance(reason, NoTwin) else error
    raise NoTwin(f"{type(reason).__name__}: {reason}")


def _build(kind: type[PreTrainedModel], config: PreTrainedConfig, seed: int) -> PreTrainedModel:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = kind(config).float().eval()
        randomise(model)
    ids = torch.arange(4, 8)[None]
    options = {"decoder_input_ids": ids} if model.config.is_encoder_decoder else {}
    with torch.no_grad():
        logits = model(input_ids=ids, **options).logits
    if not torch.isfinite(logits).all():
        raise NoTwin("it computes NaN")
    return model


def randomise(model: nn.Module) -> None:
    """Give every parameter random values, so large that distributions differ, and with no zeros that hide a fault."""
    for name, parameter in model.named_parameters():
        with torch.no_grad():
            if parameter.dim() > 1:
                parameter.normal_(0, 1.5 / parameter[0].numel() ** 0.5 if "emb" not in name else 1.0)
            else:
                parameter.add_(torch.randn_like(parameter) * 0.1)


def kinds(model: nn.Module) -> set[Any]:
    """The kinds of modules in a model: class, and what a module says of itself in words and truth values."""
    return {(type(module).__name__, *_told(module)) for module in model.modules()}


def _told(module: nn.Module) -> Iterator[tuple[str, Any]]:
    for name, value in sorted(vars(module).items()):
        windowed = "window" in name or "chunk" in name
        if name != "training" and not name.startswith("_") and (isinstance(value, bool | str) or windowed):
            if isinstance(value, bool | str | int | None):
                yield name, value


def shrink(config: PreTrainedConfig, layers: int, narrow: bool) -> PreTrainedConfig:
    """Return a copy of a configuration with few layers and tokens, and if ``narrow`` also with small widths."""
    small = copy.deepcopy(config)
    _shrink(small, layers, narrow)
    return small


def _shrink(config: Any, layers: int, narrow: bool) -> None:
    given = {name: value for name, value in vars(config).items() if not name.startswith("_")}
    for name, value in given.items():
        if isinstance(value, PreTrainedConfig):
            _shrink(value, layers, narrow)
    counts = {value for name, value in given.items() if _LAYERS.search(name) and type(value) is int}
    heads = {name: value for name, value in given.items() if _HEADS.search(name) and type(value) is int}
    for name, value in given.items():
        if type(value) is int and _LAYERS.search(name):
            _put(config, name, min(value, layers))
        elif isinstance(value, list | tuple) and len(value) in counts and len(value) > layers:
            _put(config, name, type(value)(value[:layers]))
        elif type(value) is int and "vocab" in name and value > VOCABULARY:
            _put(config, name, VOCABULARY)
        elif name.endswith("token_id") and isinstance(value, int) and value >= VOCABULARY:
            _put(config, name, value % VOCABULARY)
        elif name.endswith("token_id") and isinstance(value, list):
            _put(config, name, [each % VOCABULARY for each in value])
        elif narrow and type(value) is int:
            for pattern, width in _WIDTHS.items():
                if re.search(pattern, name) and value > width:
                    _put(config, name, width)
                    break
    if narrow and heads:
        most = max(heads.values())
        for name, value in heads.items():
            _put(config, name, value if value <= 1 else max(4 * value // most, 1))


def _put(config: Any, name: str, value: Any) -> None:
    try:
        setattr(config, name, value)
    except (AttributeError, NotImplementedError, ValueError, TypeError):
        pass
