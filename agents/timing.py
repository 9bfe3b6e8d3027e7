"""Seconds that the parts of an iteration take, by name.

``with part("reference"): ...`` adds to the recording that is currently open, if any. Parts do not nest. A part waits
for GPU work at both ends, so that its seconds are its own.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch

_seconds: ContextVar[dict[str, float] | None] = ContextVar("seconds", default=None)


@contextmanager
def recording() -> Iterator[dict[str, float]]:
    """Yield a dict of seconds per part, filled while this is open."""
    token = _seconds.set({})
    try:
        seconds = _seconds.get()
        assert seconds is not None
        yield seconds
    finally:
        _seconds.reset(token)


@contextmanager
def part(name: str) -> Iterator[None]:
    """Add the seconds until this closes to the part ``name``."""
    seconds = _seconds.get()
    if seconds is None:
        yield
        return
    began = _now()
    try:
        yield
    finally:
        seconds[name] = seconds.get(name, 0.0) + _now() - began


def _now() -> float:
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return time.perf_counter()
