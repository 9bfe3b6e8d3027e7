"""Writing without a cache: all is read again for each token. Slow, and right for whatever has a forward pass."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .head import head_input
from .paths import paths_of
from .plain import read_plainly


class RereadingReader:
    """A ``Reader`` that keeps only tokens.

    Args:
        model: a causal language model or an encoder-decoder.
        prompts: (G, P) int64, padded on the left.
        prompt_mask: (G, P).
        samples: S responses to each.
        max_new_tokens: R.
    """

    def __init__(self, model: Any, prompts: Tensor, prompt_mask: Tensor, samples: int, max_new_tokens: int) -> None:
        self.model, self.paths = model, paths_of(model, prompts.shape[1] + max_new_tokens)
        self.width, self.samples = prompts.shape[1], samples
        self.tokens, self.mask = prompts, prompt_mask.bool()

    def read_prompts(self) -> tuple[Tensor, Tensor]:
        """As :meth:`prefgym.models.reader.Reader.read_prompts`."""
        logits, hidden = self._read()
        self.tokens, self.mask, logits, hidden = (
            part.repeat_interleave(self.samples, dim=0) for part in (self.tokens, self.mask, logits, hidden)
        )
        return logits, hidden

    def read(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """As :meth:`prefgym.models.reader.Reader.read`."""
        self.tokens = torch.cat([self.tokens, tokens[:, None]], dim=1)
        self.mask = torch.cat([self.mask, torch.ones_like(tokens[:, None], dtype=torch.bool)], dim=1)
        return self._read()

    def keep(self, kept: Tensor) -> Tensor:
        """As :meth:`prefgym.models.reader.Reader.keep`."""
        order = kept.nonzero()[:, 0]
        self.tokens, self.mask = self.tokens[order], self.mask[order]
        return order

    def _read(self) -> tuple[Tensor, Tensor]:
        tokens = torch.cat([self.tokens, self.tokens[:, :1]], dim=1)  # the last column is what is to be predicted
        mask = torch.cat([self.mask, torch.ones_like(self.mask[:, :1])], dim=1)
        with head_input(self.model) as hidden:
            logits, states = read_plainly(self.model, self.paths, tokens, mask, tokens.shape[1] - self.width, hidden)
        return logits[:, -1], states[:, -1]
