"""Writing several responses to a prompt whose keys and values are stored, and attended to, once for all of them.

Decoding is memory-bound: at every step each row's attention reads all its keys and values, most of which belong to the
prompt. Here the samples of a prompt are neighbouring queries of one row, so that its keys and values are read from
memory once per step. Once many samples have ended, their places would be computed for nothing; the rest then continues
row by row. Notation: G prompts of P columns, S samples each, N = G * S, R response columns, m remaining rows.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .attention import additive_mask
from .cache import RowCache, RowCacheLayer, cached_forward, last_columns
from .padding import position_ids
from .paths import first_position

CROWDED = 2 / 3
"""Share of unfinished samples below which separate rows are faster (measured on a CPU)."""


class GroupedReader:
    """A ``Reader`` whose cache has one row per prompt: the prompt, then the samples' tokens, step by step.

    Right where :attr:`prefgym.models.paths.Paths.grouped` is.

    Args:
        model: a decoder.
        prompts: (G, P) int64, left padded.
        prompt_mask: (G, P).
        samples: S.
        max_new_tokens: R.
    """

    def __init__(self, model: Any, prompts: Tensor, prompt_mask: Tensor, samples: int, max_new_tokens: int) -> None:
        self.model, self.prompts, self.prompt_mask, self.samples = model, prompts, prompt_mask, samples
        count, self.width = prompts.shape
        self.places = torch.arange(count * samples, device=prompts.device)  # which sample each remaining row writes
        self.step = 0
        self.first = first_position(model, self.width + samples * (max_new_tokens - 1))
        self.prompt_length = prompt_mask.sum(dim=-1, keepdim=True)  # (G, 1)
        own = torch.eye(samples, dtype=torch.bool, device=prompts.device).repeat(1, max_new_tokens - 1)  # (S, S)
        before = prompt_mask.bool()[:, None, :].expand(-1, samples, -1)  # (G, S, P)
        self.mask = additive_mask(torch.cat([before, own.expand(count, -1, -1)], dim=-1), model.dtype)
        self.cache = RowCache(count, self.width + own.shape[1])

    def read_prompts(self) -> tuple[Tensor, Tensor]:
        """As :meth:`prefgym.models.reader.Reader.read_prompts`."""
        self.cache.begin(torch.arange(len(self.prompts), device=self.prompts.device)[:, None], 0, self.width)
        positions = position_ids(self.prompt_mask) + self.first
        logits, hidden = cached_forward(self.model, self.prompts, self.prompt_mask, positions, self.cache)
        return logits.repeat_interleave(self.samples, dim=0), hidden.repeat_interleave(self.samples, dim=0)

    def read(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """As :meth:`prefgym.models.reader.Reader.read`; abandoned places are never attended to."""
        count, samples = len(self.prompts), self.samples
        given = tokens.new_zeros(count * samples)
        given[self.places] = tokens
        begin = self.width + samples * self.step
        stop = begin + samples
        self.cache.extend(slice(begin, stop), slice(0, stop))
        positions = (self.prompt_length + self.step + self.first).expand(-1, samples)
        self.step += 1
        both = last_columns(
            self.model, given.view(count, samples), self.mask[..., :stop], positions, self.cache, samples
        )
        logits, hidden = (part.flatten(0, 1) for part in both)
        return (logits, hidden) if len(tokens) == len(given) else (logits[self.places], hidden[self.places])

    def keep(self, kept: Tensor) -> Tensor:
        """Abandon places, (n,) bool; as :meth:`RowCache.keep`."""
        order = kept.nonzero()[:, 0]
        self.places = self.places[order]
        return order

    @property
    def is_crowded(self) -> bool:
        """Whether most places are still written to."""
        return len(self.places) >= CROWDED * len(self.prompts) * self.samples

    def row_cache(self, num_columns: int) -> RowCache:
        """Return a cache of ``num_columns`` with a separate row for each of the m remaining samples, as read so far."""
        group, sample = self.places // self.samples, self.places % self.samples
        steps = torch.arange(self.step, device=self.places.device)
        own = self.width + sample[:, None] + self.samples * steps  # (m, step)
        columns = torch.cat([torch.arange(self.width, device=own.device).expand(len(own), -1), own], dim=1)
        cache = RowCache(len(self.places), num_columns)
        cache.begin(torch.arange(len(self.places), device=own.device)[:, None], 0, self.width + self.step)
        for place, layer in enumerate(self.cache.layers):
            assert isinstance(layer, RowCacheLayer)
            assert layer.keys is not None
            assert layer.values is not None
            keys, values = (states[group[:, None], :, columns].transpose(1, 2) for states in (layer.keys, layer.values))
            cache.update(keys, values, place)
        return cache
