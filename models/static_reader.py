"""Reading one token of every row in steps of fixed shape, which a GPU can record and replay.

The usual reader attends only to the columns written so far and drops rows that have ended. This one has all rows and
all columns at every step, and keeps everything that changes in tensors. It computes more, but as a CUDA graph a step is
launched as a whole instead of kernel by kernel, which dominates the time of decoding a small model. Notation: N rows, C
columns.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .attention import additive_mask
from .cache import cached_forward
from .reader import DecoderReader

WARM_UP = 3  # runs before a recording, in which libraries choose their kernels


class StaticReader(DecoderReader):
    """A ``Reader`` with fixed shapes: no row ever leaves. The result of ``read`` is overwritten by the next call."""

    def __init__(self, model: Any, prompts: Tensor, prompt_mask: Tensor, samples: int, max_new_tokens: int) -> None:
        super().__init__(model, prompts, prompt_mask, samples, max_new_tokens)
        self.attended = self.attended[:, : self.cache.num_columns]  # (N, C)
        self._columns = torch.arange(self.cache.num_columns, device=prompts.device)
        self._tokens, self._at = torch.zeros_like(self.rows), torch.zeros_like(self.rows)
        self._graph: torch.cuda.CUDAGraph | None = None

    def read(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """As :meth:`Reader.read`, for all N rows."""
        self._tokens.copy_(tokens)
        self._at.fill_(self.column)
        self.column += 1
        if tokens.device.type != "cuda":
            return self._run()
        if self._graph is None:
            self._record()
        assert self._graph is not None
        self._graph.replay()
        return self._result

    def keep(self, kept: Tensor) -> Tensor:
        """Keep every row where it is."""
        return self.rows

    def _run(self) -> tuple[Tensor, Tensor]:
        seen = self.attended & (self._columns <= self._at[:, None])  # (N, C)
        mask = additive_mask(seen[:, None], self.model.dtype)  # (N, 1, 1, C)
        positions = (self.prompt_length + self._at - self.width + self.first).unsqueeze(-1)
        self.cache.extend(self._at, slice(0, self.cache.num_columns))
        return cached_forward(self.model, self._tokens.unsqueeze(-1), mask, positions, self.cache)

    def _record(self) -> None:
        """Capture one run. Running it earlier is harmless: it writes the same token to the same column."""
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(WARM_UP):
                self._run()
        torch.cuda.current_stream().wait_stream(side)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._result = self._run()
