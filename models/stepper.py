"""Next-token logits for observations that grow by one token at a time.

One concept serves the policy and the reference: given the full observation, answer with a cache of what was read
before. Notation: B rows, L columns, d hidden size, V_model embedding rows.
"""

from __future__ import annotations

from typing import Literal, overload

import torch
from torch import Tensor
from transformers import EncoderDecoderCache, PreTrainedModel

from ..errors import InputError
from .cache import KeyValues, RowCache, cached_forward, caching
from .encoder_decoder import decode, encode, is_encoder_decoder, start_tokens
from .head import head_input
from .padding import first_real_column, position_ids
from .paths import Paths, paths_of
from .plain import read_plainly


class Stepper:
    """Answers ``next_logits(tokens, attention_mask)`` exactly as a full forward pass would, but reads only what is new.

    Every row is compared with its cached tokens. A row that agrees in all columns before its last token (it grew by one
    token, or is asked again, or tries another last token) costs one token; any other row (reset, another prompt) is
    re-read. So rows may be reset at different times, each writing at its own column of one cache of fixed size: B rows
    times L columns, allocated once and freed when B or L changes.

    Parameters changed in place by an optimiser, by ``load_state_dict`` or by assignment are noticed, and everything is
    re-read; after a change made through ``parameter.data`` call :meth:`reset`. Models whose attention does not see all
    earlier tokens (sliding windows, recurrent states) are read in full each time: the same result, slower.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self.model = model
        self.reset()

    def reset(self) -> None:
        """Forget everything read, and free its memory."""
        self._cache: RowCache | None = None
        self._tokens = self._mask = self._logits = self._hidden = torch.empty(0)
        self._version: tuple[int, int] = (0, 0)

    @overload
    def next_logits(self, tokens: Tensor, attention_mask: Tensor) -> Tensor: ...

    @overload
    def next_logits(
        self, tokens: Tensor, attention_mask: Tensor, *, with_hidden: Literal[True]
    ) -> tuple[Tensor, Tensor]: ...

    @torch.no_grad()
    def next_logits(
        self, tokens: Tensor, attention_mask: Tensor, *, with_hidden: bool = False
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Return the logits of each row's next token.

        Args:
            tokens: (B, L) int64; each row a run of real tokens with padding on either side.
            attention_mask: (B, L), True on real tokens; at least one in each row.
            with_hidden: also return the hidden states behind the logits.

        Returns:
            logits (B, V_model), or (logits, hidden (B, d)). Do not change them in place: they answer the same
            observation when it comes again.
        """
        mask = attention_mask.bool()
        stale = self._stale_rows(tokens, mask)
        if stale is not None:
            self._tokens = torch.empty(0)  # after an interrupted read nothing counts as read
            with caching(self.model):
                self._logits, self._hidden = self._read(tokens, mask, stale)
            self._tokens, self._mask = tokens.clone(), mask.clone()
        return (self._logits, self._hidden) if with_hidden else self._logits

    def _stale_rows(self, tokens: Tensor, mask: Tensor) -> Tensor | None:
        """Return which rows must be re-read, (B,) bool; None if nothing at all is new."""
        version = _version(self.model)
        if tokens.shape != self._tokens.shape or version != self._version:
            self.reset()
            self._version = version
            return torch.ones(len(tokens), dtype=torch.bool, device=tokens.device)
        agrees = (mask == self._mask) & ((tokens == self._tokens) | ~mask)  # (B, L)
        if agrees.all():
            return None
        columns = torch.arange(tokens.shape[1], device=tokens.device)
        return ~(agrees | (columns >= _last_column(mask).unsqueeze(-1))).all(dim=-1)

    def _read(self, tokens: Tensor, mask: Tensor, stale: Tensor) -> tuple[Tensor, Tensor]:
        paths = paths_of(self.model, tokens.shape[1])
        if not paths.steps:
            return self._read_in_full(tokens, mask, paths)
        first = paths.positions or 0
        if self._cache is None:
            self._cache = RowCache(*tokens.shape)
        last = _last_column(mask)  # (B,)
        if stale.any():
            self._read_before(tokens[stale], mask[stale], last[stale], stale.nonzero(), first)
        window = slice(first_real_column(mask), int(last.max()) + 1)
        self._cache.extend(last, window)
        token = tokens.gather(-1, last.unsqueeze(-1))  # (B, 1)
        positions = position_ids(mask).gather(-1, last.unsqueeze(-1)) + first
        return cached_forward(self.model, token, mask[:, window], positions, self._cache)

    def _read_before(self, tokens: Tensor, mask: Tensor, last: Tensor, rows: Tensor, first: int) -> None:
        """Put all columns before each row's last token into the cache; rows (n, 1) int64 of the cache."""
        assert self._cache is not None
        columns = torch.arange(tokens.shape[1], device=tokens.device)
        mask = mask & (columns < last.unsqueeze(-1))
        if not mask.any():
            return
        start, stop = first_real_column(mask), int(last.max())
        mask = mask[:, start:stop]
        self._cache.begin(rows, start, stop)
        cached_forward(self.model, tokens[:, start:stop], mask, position_ids(mask) + first, self._cache)

    def _read_in_full(self, tokens: Tensor, mask: Tensor, paths: Paths) -> tuple[Tensor, Tensor]:
        """Read every row's whole text on the plain path; its last token counts as a response of one."""
        end = _last_column(mask) + 1  # (B,)
        room = torch.cat([tokens, tokens[:, :1]], dim=1), torch.cat([mask, torch.zeros_like(mask[:, :1])], dim=1)
        columns = (torch.arange(tokens.shape[1] + 1, device=tokens.device) + end.unsqueeze(-1) + 1) % (
            tokens.shape[1] + 1
        )
        tokens, mask = (part.gather(-1, columns) for part in room)  # what is to be predicted stands in the last column
        mask[:, -1] = True
        start = first_real_column(mask)
        with head_input(self.model) as hidden:
            logits, states = read_plainly(self.model, paths, tokens[:, start:], mask[:, start:], 1, hidden)
        return logits[:, 0], states[:, 0]


class EncoderDecoderStepper(Stepper):
    """The same for an encoder-decoder: what the encoder read of a prompt, and the decoder of a response, is kept.

    A transformers decoder takes one position for all rows, so rows with responses of equal length are read together:
    one forward pass per length.

    Args:
        model: an encoder-decoder.
        max_prompt_tokens: P; responses begin in this column.
    """

    def __init__(self, model: PreTrainedModel, max_prompt_tokens: int) -> None:
        super().__init__(model)
        self.max_prompt_tokens = max_prompt_tokens

    def reset(self) -> None:
        """Forget everything read, and free its memory."""
        super().reset()
        self._states = self._prompt_mask = torch.empty(0)
        self._own = self._cross = KeyValues(0, 0)  # of the decoder's own tokens, and of the encoder's states

    def _read(self, tokens: Tensor, mask: Tensor, stale: Tensor) -> tuple[Tensor, Tensor]:
        count, split = len(tokens), self.max_prompt_tokens
        paths = paths_of(self.model, tokens.shape[1])
        if not paths.steps:
            return self._read_in_full(tokens, mask, paths)
        lengths = mask[:, split:].sum(dim=1)  # (B,) of the responses
        known = lengths.masked_fill(stale, 0)  # (B,) how many tokens the decoder has read, including its start token
        self._encode(tokens[:, :split], mask[:, :split], known == 0)
        given = torch.cat([start_tokens(self.model, count, tokens.device), tokens[:, split:]], dim=1)  # (B, 1 + R)
        if self._own.num_rows != count:
            self._own, self._cross = KeyValues(count, given.shape[1]), KeyValues(count, split)
        parts: list[tuple[Tensor, Tensor, Tensor]] = []
        for begin, length in torch.stack([known, lengths], dim=1).unique(dim=0).tolist():
            rows = ((known == begin) & (lengths == length)).nonzero()[:, 0]
            parts.append((rows, *self._decode(rows, given[rows, begin : length + 1], begin)))
        rows, logits, hidden = (torch.cat(column) for column in zip(*parts, strict=True))
        order = rows.argsort()
        return logits[order], hidden[order]

    def _read_in_full(self, tokens: Tensor, mask: Tensor, paths: Paths) -> tuple[Tensor, Tensor]:
        """Read every row's prompt and response again; the next token stands in the column after them."""
        split = self.max_prompt_tokens
        lengths = mask[:, split:].sum(dim=1)  # (B,) of the responses
        tokens = torch.cat([tokens, tokens[:, :1]], dim=1)
        mask = torch.cat([mask, torch.zeros_like(mask[:, :1])], dim=1)
        rows = torch.arange(len(tokens), device=tokens.device)
        mask[rows, split + lengths] = True
        with head_input(self.model) as hidden:
            both = read_plainly(self.model, paths, tokens, mask, tokens.shape[1] - split, hidden)
        logits, states = (part[rows, lengths] for part in both)
        return logits, states

    def _decode(self, rows: Tensor, given: Tensor, begin: int) -> tuple[Tensor, Tensor]:
        """Read the decoder's columns of rows (n,) from ``begin`` on; gives logits and hidden state of the last.

        Args:
            rows: which rows.
            given: (n, q) int64 their tokens there.
            begin: 0 reads the encoder's states too; else what came before ``begin`` has been read.
        """
        own = self._own.lend(rows, begin)
        cross = self._cross.lend(rows, self.max_prompt_tokens if begin else 0)
        options = {"past_key_values": EncoderDecoderCache(own, cross), "use_cache": True}
        with head_input(self.model) as hidden:
            logits = decode(self.model, self._states[rows], self._prompt_mask[rows], given, **options)
        self._own.keep(rows, own, begin)
        if begin == 0:
            self._cross.keep(rows, cross, 0)
        return logits[:, -1], hidden[0][:, -1]

    def _encode(self, prompts: Tensor, mask: Tensor, changed: Tensor) -> None:
        """Re-read the prompts of rows (B,) bool; those without a response may differ in their last token."""
        if not changed.any():
            return
        states, moved_mask = encode(self.model, prompts[changed], mask[changed])
        if len(self._states) != len(prompts):
            self._states = states.new_zeros(len(prompts), *states.shape[1:])
            self._prompt_mask = torch.zeros_like(mask, dtype=torch.long)
        self._states[changed], self._prompt_mask[changed] = states, moved_mask


def make_stepper(model: PreTrainedModel, max_prompt_tokens: int | None) -> Stepper:
    """Return the stepper for a model. A decoder reads the whole row as one text, wherever its prompt ends.

    Raises:
        InputError: an encoder-decoder without ``max_prompt_tokens``, the column where responses begin.
    """
    if not is_encoder_decoder(model):
        return Stepper(model)
    if max_prompt_tokens is None:
        raise InputError("Where an encoder's prompt ends in an observation is not known; give max_prompt_tokens.")
    return EncoderDecoderStepper(model, max_prompt_tokens)


def _last_column(mask: Tensor) -> Tensor:
    """Return the column of each row's last real token: (B, L) bool -> (B,) int64."""
    columns = torch.arange(mask.shape[1], device=mask.device)
    return (columns * mask).max(dim=-1).values


def _version(model: PreTrainedModel) -> tuple[int, int]:
    """A fingerprint that changes when parameters are changed in place or replaced."""
    parameters = list(model.parameters())
    return sum(parameter._version for parameter in parameters), sum(parameter.data_ptr() for parameter in parameters)
