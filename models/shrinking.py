"""Configurations of a few narrow layers that keep what their large models are made of.

Sizes shrink together, so that what is equal or a product stays so: numbers of heads are divided by one factor, sizes of
a head by another, widths by both. Windows, limits of positions and whatever else shows at length stay as they are.
What a number is, its name says: ``hidden_size`` is a width, ``num_key_value_heads`` a number of heads.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from transformers import PreTrainedConfig

VOCABULARY = 96
"""Tokens of a twin; ids of special tokens above it are moved below."""
LAYERS = (2, 3, 4, 6, 8, 12, 20, 36)
"""Numbers of layers to try until every kind of layer is there."""
EXPERTS = 8
SHORT, NARROW, WIDE = 8, 16, 320
"""The least size of a head; the most states, and half the least width; the greatest width that is still narrow."""

_KEPT = re.compile(r"window|chunk|position|kernel|index_topk|every_|_per_layer$|(^|_)max_")
_LAYERS = re.compile(r"layers?(_per_stack)?$|num_blocks$|(^|_)depth$|dense_replace$|layer_(start|end)_index$")
_INDICES = re.compile(r"layers|_ids$|_idxs$|ind(ex|ic)es$")
_HEADS = re.compile(r"(?<!d_)(?<!dim_)heads?(_per_layer)?$|n_?groups$|query_groups$|o_groups$")
_HEAD = re.compile(r"head_?dim$|(^|_)d_kv$|head_size$|(^|_)d_head$|dim_head$|rotary_dim$|kv_channels$|mrope_section$")
_MAIN = re.compile(r"(^|_)(hidden_size|d_model|n_embd|embed_dim|emb_dim|embedding_dim|embedding_size)$|^dim$")
_WIDE = re.compile(
    r"hidden_size|hidden_dim|intermediate|ffn|inner|d_ff$|dff$|dim_ff$|feed_forward|mlp|_rank$|lowrank$|d_ssm|width$|proj_dim$"
)
_STATE = re.compile(r"state_size$|d_state$")
_EXPERTS = re.compile(r"(^|_)(num|n)_(\w+_)?experts$|expert_num$")
_CHOSEN = re.compile(r"experts_per_tok|moe_top_?k$|moe_k$|^top_k$|router_top_?k$|expert_group$|n_group$|topk_group$")
_TOKEN = re.compile(r"token_(id|index)$|^\w+_index$")


@dataclass(frozen=True)
class Scale:
    """How a configuration shrinks: ``layers`` of ``total`` stay; numbers and sizes of heads are divided."""

    layers: int
    heads: Fraction = Fraction(1)
    head: int = 1

    @property
    def narrow(self) -> bool:
        """Whether anything but the number of layers shrinks."""
        return self.heads * self.head > 1


def scales(config: PreTrainedConfig) -> Iterator[Scale]:
    """By what to divide, the most promising first: narrow ones of ever more layers, then wide ones."""
    values = list(_every(config))
    first = max((_period(value) for _, value in values if isinstance(value, list)), default=0)
    layers = sorted({*LAYERS, max(first, LAYERS[0])})
    for heads, head in [*_divisors(values), (Fraction(1), 1)]:
        yield from (Scale(number, heads, head) for number in layers if number >= first)


def _period(layers: list[Any]) -> int:
    """How many layers from the first hold every kind of layer that a list names."""
    if not all(isinstance(kind, str) for kind in layers):
        return 0
    return max((layers.index(kind) + 1 for kind in set(layers)), default=0)


def _every(config: Any) -> Iterator[tuple[str, Any]]:
    """Every value of a configuration and of those inside it."""
    for name, value in vars(config).items():
        if isinstance(value, PreTrainedConfig):
            yield from _every(value)
        elif not name.startswith("_"):
            yield name, value


def _divisors(values: list[tuple[str, Any]]) -> Iterator[tuple[Fraction, int]]:
    """By what numbers and sizes of heads are divided: without a remainder of any width, then with remainders."""
    whole = [(name, value) for name, value in values if type(value) is int and value > 1]
    heads = [value for name, value in whole if _HEADS.search(name)]
    most = max(heads, default=1)
    stay = next(n for n in range(min(4, most), most + 1) if all(n * v % most == 0 or n * v < most for v in heads))
    by = Fraction(most, stay if stay <= 2 * NARROW else 4)
    widths = [value for name, value in whole if _MAIN.search(name) and value >= 4 * NARROW]
    sizes = [value for name, value in whole if _HEAD.search(name)] or [min(widths, default=SHORT) // most]
    fitting = [n for n in range(max(min(sizes) // SHORT, 1), 0, -1) if all(v % (2 * n) == 0 for v in sizes)] or [1]
    for head in fitting:
        left = [value / (by * head) for value in widths]
        if all(width >= 2 * NARROW and width % 4 == 0 for width in left) and max(left, default=0) <= WIDE:
            yield by, head
            break
    yield by, fitting[0]


def shrink(config: PreTrainedConfig, scale: Scale) -> PreTrainedConfig:
    """Return a smaller copy of a configuration, in which few tokens are left."""
    small = copy.deepcopy(config)
    _shrink(small, scale)
    return small


def _shrink(config: Any, scale: Scale) -> None:
    given = {name: value for name, value in vars(config).items() if not name.startswith("_")}
    totals = {value for name, value in given.items() if type(value) is int and _counts_layers(name)}
    totals |= {getattr(config, "num_hidden_layers", None) or 1}
    total = max(totals)
    for name, value in given.items():
        if isinstance(value, PreTrainedConfig):
            _shrink(value, scale)
            continue
        if isinstance(value, list | tuple | str) and len(value) in totals and len(value) > scale.layers:
            value = value[: scale.layers * len(value) // total]
        if isinstance(value, int | list) and not isinstance(value, bool):
            value = _small(name, value, scale, total)
        if value is not given[name]:
            _put(config, name, value)
    own = getattr(vars(config).get("_heterogeneity_spec"), "per_layer_overrides", {})
    if own:
        few = {layer: told for layer, told in own.items() if layer < scale.layers}
        config.per_layer_config = {layer: _small_values(told, scale, total) for layer, told in few.items()}


def _small_values(given: dict[str, Any], scale: Scale, total: int) -> dict[str, Any]:
    return {name: _small(name, value, scale, total) if type(value) is int else value for name, value in given.items()}


def _counts_layers(name: str) -> bool:
    return bool(_LAYERS.search(name)) and not _KEPT.search(name)


def _small(name: str, value: Any, scale: Scale, total: int) -> Any:
    """A value of a smaller configuration; ``total`` is the number of layers of the large one."""
    if isinstance(value, list):
        if _INDICES.search(name) and all(type(index) is int for index in value):
            return [index for index in value if index < scale.layers] if max(value, default=0) > 1 else value
        return [_small(name, each, scale, total) if type(each) is int else each for each in value]
    if _TOKEN.search(name):
        return value % VOCABULARY
    if "vocab" in name:
        return min(value, VOCABULARY)
    if value <= 1 or _KEPT.search(name):
        return value
    if _counts_layers(name):
        return max(value * min(scale.layers, total) // total, 1)
    return _narrowed(name, value, scale) if scale.narrow else value


def _narrowed(name: str, value: int, scale: Scale) -> int:
    if _EXPERTS.search(name):
        return min(value, EXPERTS)
    if _CHOSEN.search(name):
        return 1 if name == "topk_group" else 2
    if _STATE.search(name):
        return min(value, NARROW)
    if _HEADS.search(name):
        return max(int(value / scale.heads), 1)
    if _HEAD.search(name):
        return max(value // scale.head, 1)
    if _MAIN.search(name) or _WIDE.search(name):
        return min(max(-(-value // (8 * scale.heads * scale.head)) * 8, 2 * NARROW), value)
    return value


def _put(config: Any, name: str, value: Any) -> None:
    with suppress(AttributeError, NotImplementedError, ValueError, TypeError):
        setattr(config, name, value)
