"""How much memory a piece of work takes: bytes of the tensors that are alive at once, whatever device they are on.

Counted are whole storages, so that a view adds nothing and a tensor that autograd keeps for the backward pass counts
until that is done. What a kernel allocates inside itself is not seen. The same work always counts the same.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class TensorMemory(TorchDispatchMode):
    """While open, count the bytes of tensors that are made.

    Args:
        apart: shapes that are not counted, either way round: those of weights, whose gradients are known anyway.

    Attributes:
        alive: bytes of those that still exist.
        peak: the most that existed at once.

    >>> with TensorMemory() as memory:
    ...     made = torch.zeros(10) + 1.0  # two of 40 bytes, of which one stays
    >>> memory.peak, memory.alive
    (80, 40)
    """

    def __init__(self, apart: Iterable[torch.Size] = ()) -> None:
        super().__init__()
        self._apart = {shape for given in apart for shape in (tuple(given), tuple(given)[::-1])}
        self.alive = self.peak = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation and count the storages that it made."""
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        made = [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        if made:
            given = {_key(leaf) for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)}
            for tensor in made:
                self._count(tensor, given)
        return result

    def _count(self, tensor: Tensor, given: set[int]) -> None:
        key = _key(tensor)
        if key in self._known or key in given or tuple(tensor.shape) in self._apart:
            return
        storage = tensor.untyped_storage()
        self._known.add(key)
        self.alive += storage.nbytes()
        self.peak = max(self.peak, self.alive)
        weakref.finalize(storage, self._freed, key, storage.nbytes())

    def _freed(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.alive -= size


def _key(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata
