"""Reading token by token while responses are written: where :func:`prefgym.models.generation.generate` gets logits.

A reader has the caches of N = G * S rows, S samples for each of G prompts. It first reads the prompts, then repeatedly
one more token for every remaining row.

Notation: n remaining rows, P prompt columns, R response columns, d hidden size, V_model embedding rows.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor
from transformers import EncoderDecoderCache, PreTrainedModel

from .cache import RowCache, RowCacheLayer, cached_forward
from .encoder_decoder import decode, encode, is_encoder_decoder, start_tokens
from .grouped_reader import GroupedReader
from .head import head_input
from .padding import position_ids
from .paths import first_position, paths_of


class Reader(Protocol):
    """The interface for both kinds of model; logits are (n, V_model), hidden states (n, d)."""

    def read_prompts(self) -> tuple[Tensor, Tensor]:
        """Read each prompt once; gives the outputs for the first token of every row, prompt by prompt."""
        ...

    def read(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Read the next token (n,) of every remaining row."""
        ...

    def keep(self, kept: Tensor) -> Tensor:
        """Drop rows, (n,) bool; as :meth:`RowCache.keep`."""
        ...


def make_reader(
    model: PreTrainedModel, prompts: Tensor, prompt_mask: Tensor, samples_per_prompt: int, max_new_tokens: int
) -> Reader:
    """Return the reader that fits a model, for prompts (G, P) int64, left padded, and responses of R tokens."""
    kind: type[Any] = EncoderDecoderReader if is_encoder_decoder(model) else DecoderReader
    columns = prompts.shape[1] + samples_per_prompt * (max_new_tokens - 1)
    if kind is DecoderReader and samples_per_prompt > 1 and paths_of(model, columns).grouped:
        kind = SwitchingReader
    return kind(model, prompts, prompt_mask, samples_per_prompt, max_new_tokens)  # type: ignore[no-any-return]


class DecoderReader:
    """Prompts and responses are in one cache, the responses after the prompts."""

    def __init__(self, model: Any, prompts: Tensor, prompt_mask: Tensor, samples: int, max_new_tokens: int) -> None:
        self.model, self.prompts, self.mask, self.samples = model, prompts, prompt_mask, samples
        self.width = self.column = prompts.shape[1]
        count = len(prompts) * samples
        self.rows = torch.arange(count, device=prompts.device)  # which response each row of the cache writes
        self.prompt_length = prompt_mask.sum(dim=-1).repeat_interleave(samples)  # (N,)
        self.attended = torch.ones(count, self.width + max_new_tokens, dtype=torch.bool, device=prompts.device)
        self.attended[:, : self.width] = prompt_mask.repeat_interleave(samples, dim=0)
        self.cache = RowCache(count, self.width + max_new_tokens - 1)
        self.first = first_position(model, self.width + max_new_tokens)

    def read_prompts(self) -> tuple[Tensor, Tensor]:
        """As :meth:`Reader.read_prompts`."""
        self.cache.begin(self.rows.view(-1, self.samples), 0, self.width)
        logits, hidden = cached_forward(
            self.model, self.prompts, self.mask, position_ids(self.mask) + self.first, self.cache
        )
        return logits.repeat_interleave(self.samples, dim=0), hidden.repeat_interleave(self.samples, dim=0)

    def read(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """As :meth:`Reader.read`."""
        window = slice(0, self.column + 1)
        self.cache.extend(self.column, window)
        positions = (self.prompt_length[self.rows] + self.column - self.width + self.first).unsqueeze(-1)
        self.column += 1
        return cached_forward(self.model, tokens.unsqueeze(-1), self.attended[self.rows, window], positions, self.cache)

    def keep(self, kept: Tensor) -> Tensor:
        """As :meth:`Reader.keep`."""
        order = self.cache.keep(kept)
        self.rows = self.rows[order]
        return order

    def go_on(self, shared: GroupedReader) -> None:
        """Take over what another reader has read, for its remaining rows."""
        self.rows, self.column = shared.places, self.width + shared.step
        self.cache = shared.row_cache(self.cache.num_columns)


class SwitchingReader:
    """Reads the samples of a prompt together while most are being written, and then row by row."""

    def __init__(self, model: Any, prompts: Tensor, prompt_mask: Tensor, samples: int, max_new_tokens: int) -> None:
        self.by_row = DecoderReader(model, prompts, prompt_mask, samples, max_new_tokens)
        self.together: GroupedReader | None = GroupedReader(model, prompts, prompt_mask, samples, max_new_tokens)

    def read_prompts(self) -> tuple[Tensor, Tensor]:
        """As :meth:`Reader.read_prompts`."""
        assert self.together is not None
        return self.together.read_prompts()

    def read(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """As :meth:`Reader.read`."""
        return self.by_row.read(tokens) if self.together is None else self.together.read(tokens)

    def keep(self, kept: Tensor) -> Tensor:
        """As :meth:`Reader.keep`."""
        if self.together is None:
            return self.by_row.keep(kept)
        order = self.together.keep(kept)
        if not self.together.is_crowded:
            self.by_row.go_on(self.together)
            self.together = None
        return order


class EncoderDecoderReader:
    """The decoder keeps its own tokens in one cache and its projections of the encoder's states in another."""

    def __init__(self, model: Any, prompts: Tensor, prompt_mask: Tensor, samples: int, max_new_tokens: int) -> None:
        self.model, self.samples = model, samples
        self.states, self.mask = encode(model, prompts, prompt_mask)  # of G prompts
        count = len(prompts) * samples
        self.rows = torch.arange(count, device=prompts.device).view(-1, samples)
        self.own, self.cross = RowCache(count, max_new_tokens), _CrossCache(count, prompts.shape[1])
        self.cache = EncoderDecoderCache(self.own, self.cross)
        self.column = 0

    def read_prompts(self) -> tuple[Tensor, Tensor]:
        """As :meth:`Reader.read_prompts`; the samples of a prompt share the start token."""
        self.own.begin(self.rows, 0, 1)
        self.cross.begin(self.rows, 0, self.mask.shape[1])
        logits, hidden = self._forward(start_tokens(self.model, len(self.rows), self.rows.device))
        self.mask = self.mask.repeat_interleave(self.samples, dim=0)
        return logits.repeat_interleave(self.samples, dim=0), hidden.repeat_interleave(self.samples, dim=0)

    def read(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """As :meth:`Reader.read`."""
        self.column += 1
        self.own.extend(self.column, slice(0, self.column + 1))
        return self._forward(tokens.unsqueeze(-1))

    def keep(self, kept: Tensor) -> Tensor:
        """As :meth:`Reader.keep`."""
        order = self.own.keep(kept)
        self.cross.keep(kept)
        self.mask = self.mask[order]
        return order

    def _forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        states = self.states
        if len(tokens) != len(states):  # their keys and values are cached: only the shape is used
            states = states[:1].expand(len(tokens), -1, -1)
        with head_input(self.model) as hidden:
            logits = decode(self.model, states, self.mask, tokens, past_key_values=self.cache, use_cache=True)
        return logits[:, -1], hidden[0][:, -1]


class _CrossCache(RowCache):
    """Keys and values of the encoder's states, which layers read regardless of the remaining rows."""

    def keep(self, kept: Tensor) -> Tensor:
        """As :meth:`RowCache.keep`."""
        order = super().keep(kept)
        for layer in self.layers:
            assert isinstance(layer, RowCacheLayer)
            assert layer.keys is not None
            assert layer.values is not None
            layer.keys, layer.values = layer.keys[: len(order)], layer.values[: len(order)]
        return order
