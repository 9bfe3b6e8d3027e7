"""A key-value cache of fixed size whose rows may be at different columns.

Column j of the cache holds the token of column j of the tensors it was filled from, so the attention mask of the
tokens is the attention mask of the cache. Nothing is concatenated while decoding, and a row that has ended is dropped
by moving one of the last rows into its place. Notation: N rows, C columns, H heads, D head size.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor
from transformers import Cache, DynamicCache, PreTrainedModel
from transformers.cache_utils import CacheLayerMixin, DynamicLayer

from .accepts import taken
from .head import head_input
from .shared_prompt import checkpoints


class RowCacheLayer(CacheLayerMixin):
    """Keys and values of one layer, each (N, H, C, D); the cache decides where to write and what to return."""

    def __init__(self, cache: RowCache) -> None:
        super().__init__()
        self.cache = cache

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Allocate; zeros, because a masked NaN would still be a NaN (0 * NaN)."""
        self.keys, self.values = (
            states.new_zeros(self.cache.num_rows, states.shape[1], self.cache.num_columns, states.shape[3])
            for states in (key_states, value_states)
        )
        self.is_initialized = True

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Write (n, H, q, D) states and return those to attend to."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        assert self.keys is not None
        assert self.values is not None
        return self.cache.write(self.keys, key_states), self.cache.write(self.values, value_states)

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Return the number of columns attended to, and 0: the mask starts where they start."""
        return self.cache.attended, 0

    def get_seq_length(self) -> int:
        """Return the number of attended columns before the query."""
        return self.cache.attended - self.cache.query_length

    def get_max_length(self) -> int:
        """Return C."""
        return self.cache.num_columns


class RowCache(Cache):
    """Cache for ``num_rows`` rows of at most ``num_columns`` tokens each; allocated at the first forward.

    Before each forward pass, call exactly one of :meth:`begin` (read texts from their first token) and :meth:`extend`
    (one more token for every row). The attention mask passed to the model covers only the attended columns.
    """

    def __init__(self, num_rows: int, num_columns: int) -> None:
        # weakly: a reference cycle would keep an unused cache in memory until Python's cycle collector runs
        super().__init__(layer_class_to_replicate=partial(RowCacheLayer, weakref.proxy(self)))  # type: ignore[arg-type]
        self.num_rows = num_rows
        self.num_columns = num_columns
        self.attended = 0
        self.query_length = 0
        self._window: slice | None = None

    def begin(self, rows: Tensor, start: int, stop: int) -> None:
        """The next forward reads columns ``start`` to ``stop`` of n texts.

        Args:
            rows: (n, S) int64, the S rows that keep a copy of each text.
            start: the first column read, no later than the first real token of any of the texts.
            stop: one past the last.
        """
        self._rows, self._columns = rows, slice(start, stop)
        self._window = None
        self.attended = self.query_length = stop - start

    def extend(self, columns: Tensor | int | slice, window: slice) -> None:
        """The next forward reads one token for each of the first n rows, or several.

        Args:
            columns: the column of the new tokens: (n,) int64, or one number for all rows; for several tokens a slice.
            window: the columns attended to, including the new ones.
        """
        self._new_columns, self._window = columns, window
        self.attended = window.stop - window.start
        self.query_length = columns.stop - columns.start if isinstance(columns, slice) else 1

    def write(self, stored: Tensor, states: Tensor) -> Tensor:
        """Store (n, H, q, D) states in (N, H, C, D) as announced; return the states to attend to."""
        if self._window is None:
            stored[self._rows, :, self._columns] = states.unsqueeze(1)  # (n, 1, H, q, D) to S rows each
            return states
        count = states.shape[0]
        if isinstance(self._new_columns, slice):
            stored[:count, :, self._new_columns] = states
        elif isinstance(self._new_columns, int):
            stored[:count, :, self._new_columns] = states[:, :, 0]
        else:
            stored[torch.arange(count, device=states.device), :, self._new_columns] = states[:, :, 0]
        return stored[:count, :, self._window]

    def keep(self, kept: Tensor) -> Tensor:
        """Drop rows: (n,) bool over the first n rows -> (m,) int64, which old row is now in each of the first m.

        Remaining rows keep their place where possible; only as many rows are copied as were dropped.
        """
        count = int(kept.sum())
        slots = torch.arange(len(kept), device=kept.device)
        order = slots[:count].clone()
        holes, movers = slots[:count][~kept[:count]], slots[count:][kept[count:]]
        order[holes] = movers
        for layer in self.layers:
            assert isinstance(layer, RowCacheLayer)
            for states in (layer.keys, layer.values):
                if states is not None:
                    states[holes] = states[movers]
        return order

    def get_mask_sizes(self, query_length: int, layer_idx: int = 0) -> tuple[int, int]:
        """As :meth:`RowCacheLayer.get_mask_sizes`; it also works before the layers exist."""
        return self.attended, 0

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """As :meth:`RowCacheLayer.get_seq_length`; it also works before the layers exist."""
        return self.attended - self.query_length


class KeyValues:
    """Keys and values (N, H, C, D) of every layer, for forward passes over some of the rows."""

    def __init__(self, num_rows: int, num_columns: int) -> None:
        self.num_rows, self.num_columns = num_rows, num_columns
        self.layers: list[tuple[Tensor, ...]] = []

    def lend(self, rows: Tensor, stop: int) -> DynamicCache:
        """Return a copy of rows (n,) int64 up to column ``stop``, to which a forward pass adds what it reads."""
        return DynamicCache(
            [(keys[rows, :, :stop], values[rows, :, :stop]) for keys, values in self.layers] if stop else None
        )

    def keep(self, rows: Tensor, cache: DynamicCache, begin: int) -> None:
        """Copy back what ``cache``, of rows (n,), contains from column ``begin`` on."""
        for place, layer in enumerate(cache.layers):
            assert isinstance(layer, DynamicLayer)
            both = [states for states in (layer.keys, layer.values) if states is not None]
            if place == len(self.layers):
                shapes = ((self.num_rows, each.shape[1], self.num_columns, each.shape[3]) for each in both)
                self.layers.append(tuple(each.new_zeros(shape) for each, shape in zip(both, shapes, strict=True)))
            for stored, states in zip(self.layers[place], both, strict=True):
                stored[rows, :, begin : states.shape[2]] = states[:, :, begin:]


def cached_forward(
    model: PreTrainedModel, tokens: Tensor, attention_mask: Tensor, positions: Tensor, cache: RowCache | None
) -> tuple[Tensor, Tensor]:
    """Run (n, q) tokens through the model and the cache; return the last column's logits (n, V_model), hidden (n, d).

    ``attention_mask`` is (n, K) over the K columns the cache attends to, or (n, 1, q, K) to be added to the scores.
    """
    logits, hidden = last_columns(model, tokens, attention_mask, positions, cache, 1)
    return logits[:, 0], hidden[:, 0]


def last_columns(
    model: PreTrainedModel,
    tokens: Tensor,
    attention_mask: Tensor,
    positions: Tensor,
    cache: RowCache | None,
    count: int,
) -> tuple[Tensor, Tensor]:
    """The same for the last ``count`` columns: logits (n, count, V_model), hidden (n, count, d)."""
    if attention_mask.dim() == 2:
        attention_mask = attention_mask.long()
    with head_input(model) as hidden:
        logits = model(
            input_ids=tokens,
            attention_mask=attention_mask,
            **taken(model, position_ids=positions, logits_to_keep=count),
            past_key_values=cache,
            use_cache=cache is not None,
        ).logits
    return logits[:, -count:], hidden[0][:, -count:]


@contextmanager
def caching(model: PreTrainedModel) -> Iterator[None]:
    """Keep the cache alive although the model checkpoints (see :func:`prefgym.models.shared_prompt.checkpoints`)."""
    training = [module for module in model.modules() if module.training] if checkpoints(model) else []
    try:
        for module in training:
            module.training = False
        yield
    finally:
        for module in training:
            module.training = True
