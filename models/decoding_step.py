"""One step of decoding: read the token just written, say what may come next.

Two forms with one result. ``DecodingStep`` reads only the columns written so far and lets rows leave that have ended.
``StaticStep`` has fixed shapes: all rows, all columns, everything that changes in a tensor. It computes more, but a GPU
can record it once as a CUDA graph and replay it without being told each kernel again, which is what decoding a small
model mostly waits for. Letters: N rows, C columns, d hidden size, V_model embedding rows.
"""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import PreTrainedModel

from .cache import RowCache, cached_forward

WARM_UP = 3  # runs before a recording, in which libraries choose their kernels


class DecodingStep:
    """Reads one token for each row still writing.

    Args:
        model: a causal language model.
        cache: holds the prompts; row i of it writes response i.
        prompt_mask: (N, P), True on real tokens, as wide as the cache's first P columns.
    """

    def __init__(self, model: PreTrainedModel, cache: RowCache, prompt_mask: Tensor) -> None:
        self.model, self.cache = model, cache
        num_rows, self.width = prompt_mask.shape
        later = prompt_mask.new_ones(num_rows, cache.num_columns - self.width, dtype=torch.bool)
        self.attended = torch.cat([prompt_mask.bool(), later], dim=1)  # (N, C)
        self.prompt_length = prompt_mask.sum(dim=-1)  # (N,)
        self.rows = torch.arange(num_rows, device=prompt_mask.device)  # which response each row of the cache writes

    def __call__(self, tokens: Tensor, step: int) -> tuple[Tensor, Tensor]:
        """Read ``tokens`` (n,), the ones of response column ``step``; next logits (n, V_model) and hidden (n, d)."""
        column = self.width + step
        self.cache.extend(column, slice(0, column + 1))
        positions = (self.prompt_length[self.rows] + step).unsqueeze(-1)
        mask = self.attended[self.rows, : column + 1]
        return cached_forward(self.model, tokens.unsqueeze(-1), mask, positions, self.cache)

    def drop(self, ended: Tensor) -> Tensor:
        """Let the rows of ``ended`` (n,) leave; (m,) which old row stands in each place now."""
        order = self.cache.keep(~ended)
        self.rows = self.rows[order]
        return order


class StaticStep(DecodingStep):
    """The same for all N rows at once in fixed shapes; on a GPU a captured graph. No row ever leaves."""

    def __init__(self, model: PreTrainedModel, cache: RowCache, prompt_mask: Tensor) -> None:
        super().__init__(model, cache, prompt_mask)
        self._columns = torch.arange(cache.num_columns, device=prompt_mask.device)
        self._tokens = torch.zeros_like(self.rows)
        self._column = torch.zeros_like(self.rows)  # the same in every row
        self._closed = torch.finfo(model.dtype).min
        self._graph: torch.cuda.CUDAGraph | None = None

    def __call__(self, tokens: Tensor, step: int) -> tuple[Tensor, Tensor]:
        """As above; what is returned is overwritten by the next call."""
        self._tokens.copy_(tokens)
        self._column.fill_(self.width + step)
        if self.rows.device.type != "cuda":
            return self._run()
        if self._graph is None:
            self._record()
        assert self._graph is not None
        self._graph.replay()
        return self._result

    def drop(self, ended: Tensor) -> Tensor:
        """Keep every row where it is."""
        return self.rows

    def _run(self) -> tuple[Tensor, Tensor]:
        seen = self.attended & (self._columns <= self._column[:, None])  # (N, C)
        # (N, 1, 1, C), added to the attention scores: a mask of this form is taken as it is, without looking into it
        mask = torch.zeros(seen.shape, dtype=self.model.dtype, device=seen.device).masked_fill(~seen, self._closed)
        positions = (self.prompt_length + self._column - self.width).unsqueeze(-1)
        self.cache.extend(self._column, slice(0, self.cache.num_columns))
        return cached_forward(self.model, self._tokens.unsqueeze(-1), mask[:, None, None], positions, self.cache)

    def _record(self) -> None:
        """Capture one run. Running it before does no harm: it writes the same token to the same column."""
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(WARM_UP):
                self._run()
        torch.cuda.current_stream().wait_stream(side)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._result = self._run()


def can_be_static(model: PreTrainedModel) -> bool:
    """Whether every layer attends to all earlier tokens, which is what ``StaticStep`` computes."""
    kinds = getattr(model.config, "layer_types", None) or ["full_attention"]
    return getattr(model.config, "sliding_window", None) is None and set(kinds) == {"full_attention"}
