"""A hash of everything that a result depends on: weights, prompts, settings, and a user's functions."""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
import re
from collections.abc import Iterator, Mapping, Sequence, Set
from functools import partial
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from torch import Tensor, nn

from ...models.folder import checksum
from ...rewards.importing import code_of

VERSIONS = [version(name) for name in ("prefgym", "torch", "transformers")]
DEEP = 12
"""Nesting depth of objects; anything deeper is ignored."""

ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
"""An object's memory address, which differs between processes."""


def fingerprint(*things: Any) -> str:
    """Equal for equal content, across processes too, with the same versions of the packages.

    Models and tensors count by their values. A function counts by its source file, what that imports, its name and its
    closure; installed packages, and anything behind a network, cannot be seen. An object of a class counts by the class
    and its attributes of these kinds.

    >>> fingerprint({"a": 1}) == fingerprint({"a": 1}), fingerprint(1) == fingerprint(1.0)
    (True, False)
    """
    digest = hashlib.sha256()
    for word in _words([VERSIONS, *things], set()):
        digest.update(f"{len(word)}:".encode())
        digest.update(word)
    return digest.hexdigest()


def _words(thing: Any, seen: set[int]) -> Iterator[bytes]:
    """The content of a thing, word by word; ``seen`` are the objects around it."""
    yield type(thing).__name__.encode()
    if thing is None or isinstance(thing, str | bytes | int | float | Path | np.generic):
        yield thing if isinstance(thing, bytes) else str(thing).encode("utf-8", "surrogatepass")
    elif isinstance(thing, Tensor | np.ndarray):
        values = thing.detach().cpu().numpy() if isinstance(thing, Tensor) else thing
        yield f"{values.dtype}{values.shape}".encode()
        yield np.ascontiguousarray(values).tobytes()
    elif isinstance(thing, nn.Module):
        yield checksum(thing).encode()
    elif id(thing) in seen or len(seen) > DEEP:
        yield b"..."
    else:
        inside = seen | {id(thing)}
        for part in _parts_of(thing):
            yield from _words(part, inside)


def _parts_of(thing: Any) -> Iterator[Any]:
    if isinstance(thing, Mapping):
        yield from ((str(key), value) for key, value in thing.items())
    elif isinstance(thing, Set):
        yield from sorted(map(str, thing))
    elif isinstance(thing, Sequence):
        yield len(thing)
        yield from thing
    elif dataclasses.is_dataclass(thing) and not isinstance(thing, type):
        yield from (getattr(thing, field.name) for field in dataclasses.fields(thing))
    elif isinstance(thing, partial):
        yield from (thing.func, thing.args, thing.keywords)
    elif inspect.isroutine(thing) or isinstance(thing, type):
        yield from _code(thing)
    elif isinstance(thing, ModuleType):
        yield thing.__name__
    elif hasattr(thing, "checksum"):  # our own model; its other attributes are counters or caches
        yield from (thing.checksum(), *(getattr(thing, name, None) for name in ("shift", "temperature", "max_length")))
        yield str(thing.model.device)
        yield repr(sorted(thing.tokenizer.get_vocab().items()))
    elif hasattr(thing, "__dict__"):
        yield from (type(thing), dict(vars(thing)))
    else:
        yield ADDRESS.sub("", repr(thing))


def _code(function: Any) -> Iterator[Any]:
    """Where a function or a class comes from, and its closure."""
    yield f"{getattr(function, '__module__', '')}.{getattr(function, '__qualname__', '')}"
    yield code_of(function)
    plain = inspect.unwrap(function)
    if inspect.ismethod(function):
        yield function.__self__
    for cell in getattr(plain, "__closure__", None) or ():
        try:
            yield cell.cell_contents
        except ValueError:  # not bound yet
            continue
    yield getattr(plain, "__defaults__", None)
    yield getattr(plain, "__kwdefaults__", None)
