"""The layout of texts that a model reads after their prompts: little padding, nothing read twice.

Texts after the same prompt may share a row, one after the other, and rows of similar length are read together. A *slot*
is a position in a row. Notation: N texts of at most R columns, g rows of W slots in a chunk, T slots in all chunks.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

CALL_COST = {"cpu": 64.0}
"""What one more call of the model costs, in tokens, by kind of device; ``OTHER_CALL_COST`` elsewhere."""
OTHER_CALL_COST = 2048.0
FULL_ROWS = (1, 2, 4, 10**9)
"""Candidate row lengths, as multiples of the longest text; the cheapest is taken."""


@dataclass(frozen=True)
class Chunk:
    """Rows read in one call."""

    prompts: Tensor  # (g,) int64, the prompt of each row
    text: Tensor  # (g, W) int64, which text the slot's token is from; -1: padding
    column: Tensor  # (g, W) int64, which of its tokens

    @property
    def single(self) -> bool:
        """Whether no row has two texts: padding is then only at the end, and the order is the text's own."""
        return bool(((self.text == self.text[:, :1]) | (self.text < 0)).all())


def lay_out(
    prompt_of: Tensor, lengths: Tensor, *, columns: int = 0, pair_cost: float = 0.0, together: bool = True
) -> list[Chunk]:
    """Give every token a slot, so that reading the rows costs as little as possible.

    Longer rows with several texts have less padding, but each of their slots attends to the whole row. The cost of a
    chunk in tokens is g W (1 + pair_cost (columns + W)), and ``CALL_COST`` for the call.

    Args:
        prompt_of: (N,) int64 from 0, which prompt comes before a text.
        lengths: (N,) int64, each at least 1.
        columns: of the prompts.
        pair_cost: cost of attending from one slot to one column, relative to a token's other cost.
        together: whether texts of a prompt may share a row; False gives each its own row.

    >>> (chunk,) = lay_out(torch.tensor([0, 1, 0]), torch.tensor([2, 3, 1]))
    >>> chunk.text, chunk.column
    (tensor([[0, 0, 2],
            [1, 1, 1]]), tensor([[0, 1, 0],
            [0, 1, 2]]))
    """
    device, size, prompt = prompt_of.device, lengths.cpu().numpy(), prompt_of.cpu().numpy()
    call = CALL_COST.get(device.type, OTHER_CALL_COST)
    plans = []
    for times in FULL_ROWS if together else FULL_ROWS[:1]:
        rows = _rows(prompt, size, times * int(size.max()) if together else 0)
        chunks, cost = _chunks(_totals(rows, size), call, columns, pair_cost)
        plans.append((cost, [[rows[row] for row in chunk] for chunk in chunks]))
    _, best = min(plans, key=lambda plan: plan[0])
    return [_chunk(rows, prompt, size, device) for rows in best]


def _chunk(rows: list[list[int]], prompt: NDArray[np.int64], size: NDArray[np.int64], device: torch.device) -> Chunk:
    texts, owner = _flat(rows)
    own, totals = size[texts], _totals(rows, size)
    tokens = np.arange(own.sum())  # all of the chunk, row by row
    place = (np.repeat(owner, own), tokens - np.repeat(totals.cumsum() - totals, totals))
    text = np.full((len(rows), totals.max()), -1)
    column = np.zeros_like(text)
    text[place] = np.repeat(texts, own)
    column[place] = tokens - np.repeat(own.cumsum() - own, own)
    parts = (prompt[[row[0] for row in rows]], text, column)
    return Chunk(*(torch.from_numpy(part).to(device) for part in parts))


def _flat(rows: list[list[int]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The texts of all rows one after the other, and the row of each."""
    texts = np.fromiter(itertools.chain.from_iterable(rows), dtype=np.int64)
    return texts, np.repeat(np.arange(len(rows)), list(map(len, rows)))


def _totals(rows: list[list[int]], size: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many slots the texts of each row fill."""
    texts, owner = _flat(rows)
    totals = np.zeros(len(rows), dtype=np.int64)
    np.add.at(totals, owner, size[texts])
    return totals


def _rows(prompt: NDArray[np.int64], size: NDArray[np.int64], room: int) -> list[list[int]]:
    """Put the texts of each prompt into rows of at most ``room`` slots: first fit, longest first."""
    rows: list[list[int]] = []
    for owner in np.unique(prompt):
        texts = np.flatnonzero(prompt == owner)
        own: list[list[int]] = []
        space: list[int] = []
        for text in texts[np.argsort(-size[texts], kind="stable")].tolist():
            fits = next((row for row, left in enumerate(space) if left >= size[text]), None)
            if fits is None:
                own.append([text])
                space.append(room - int(size[text]))
            else:
                own[fits].append(text)
                space[fits] -= int(size[text])
        rows += sorted(sorted(row) for row in own)
    return rows


def _chunks(totals: NDArray[np.int64], call: float, columns: int, pair_cost: float) -> tuple[list[list[int]], float]:
    """Divide rows of these lengths into the cheapest chunks of rows of similar length; gives their cost too."""
    order = np.argsort(totals, kind="stable")
    width, count = totals[order].astype(np.float64), len(totals)
    slot = width * (1 + pair_cost * (columns + width))
    best, begin = np.zeros(count + 1), np.zeros(count + 1, dtype=np.int64)
    for end in range(1, count + 1):
        price = best[:end] + (end - np.arange(end)) * slot[end - 1] + call
        begin[end] = price.argmin()
        best[end] = price[begin[end]]
    chunks, end = [], count
    while end:
        chunks.append(sorted(order[begin[end] : end].tolist()))
        end = int(begin[end])
    return chunks[::-1], float(best[count])


@dataclass(frozen=True)
class Slots:
    """Conversion between slots and texts; every function here keeps trailing dimensions.

    Attributes:
        source: (T,) int64, which entry of a flattened (N, R) tensor is in a slot; 0 at padding.
        real: (T,) bool, False at padding.
        place: (N, R) int64, the slot of each token; 0 at padding.
        mask: (N, R) bool, True on real tokens.
    """

    source: Tensor
    real: Tensor
    place: Tensor
    mask: Tensor

    def gather(self, values: Tensor) -> Tensor:
        """(N, R, ...) -> (T, ...); values at padding are meaningless."""
        return values.flatten(0, 1).index_select(0, self.source)

    def spread(self, values: Tensor) -> Tensor:
        """(T, ...) -> (N, R, ...), 0 at padding; with gradient."""
        spread = values.index_select(0, self.place.flatten()).unflatten(0, self.place.shape)
        missing = ~self.mask.view(*self.mask.shape, *(1,) * (spread.dim() - 2))
        return spread.masked_fill(missing, 0.0)


def slots_of(chunks: list[Chunk], mask: Tensor) -> Slots:
    """The slots of chunks, for texts whose real tokens are given by ``mask`` (N, R)."""
    text = torch.cat([chunk.text.flatten() for chunk in chunks])
    column = torch.cat([chunk.column.flatten() for chunk in chunks])
    real = text >= 0
    source = (text * mask.shape[1] + column).masked_fill(~real, 0)
    place = torch.zeros(mask.numel(), dtype=torch.int64, device=mask.device)
    place[source[real]] = real.nonzero()[:, 0]
    return Slots(source, real, place.view(mask.shape), mask)


def every_slot(mask: Tensor) -> Slots:
    """Slots where nothing is packed: entry i of the flattened (N, R) tensor is slot i."""
    source = torch.arange(mask.numel(), device=mask.device)
    return Slots(source, mask.flatten(), source.view(mask.shape), mask)
