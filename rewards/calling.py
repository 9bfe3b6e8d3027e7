"""Calling a user's code: what it changes is restored; where it fails, the run ends with a sentence that names it."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import torch

from ..storage.signals import SIGNALS
from .beside import beside

_LONGEST = 200
LARGEST = 1e30
"""Scores beyond this overflow in the single precision that learners use."""


def called(function: Callable[..., Any], **given: Iterable[Any]) -> list[Any]:
    """A function's result, as a list of values; it gets lists of its own, which it may empty or edit.

    Bytes and mappings can be turned into lists too, but nobody means their bytes or keys: they count as one value.
    """
    with undisturbed(), beside(function):
        values = function(**{name: list(column) for name, column in given.items()})
        return [values] if isinstance(values, bytes | bytearray | memoryview | Mapping) else list(values)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Around a user's code: what it changes for the whole process is restored.

    That is the working folder, signal handlers, whether PyTorch computes gradients and its other defaults, and what
    NumPy does about overflow. Warnings and random numbers are the user's own.
    """
    before = [now() for now, _ in _PROCESS_WIDE]
    gradients = torch.is_grad_enabled()
    try:
        with torch.inference_mode(torch.is_inference_mode_enabled()), np.errstate():
            torch.set_grad_enabled(gradients)  # which entering inference_mode(False) turned on
            yield
    finally:
        for (now, put), value in zip(_PROCESS_WIDE, before, strict=True):
            if now() != value:
                put(value)


def working_folder() -> str | None:
    """The working folder; None if somebody removed it."""
    try:
        return os.getcwd()
    except OSError:
        return None


def _enter(folder: str | None) -> None:
    if folder is not None:
        with suppress(OSError):  # the code removed it: then nobody can be there
            os.chdir(folder)


def _default_device(device: torch.device) -> None:
    torch.set_default_device(None if device.type == "cpu" else device)


def _handlers() -> list[Any]:
    return [signal.getsignal(signum) for signum in SIGNALS]


def _handle(handlers: list[Any]) -> None:
    if threading.current_thread() is threading.main_thread():  # no other may change them
        for signum, handler in zip(SIGNALS, handlers, strict=True):
            if handler is not None:  # None: not set from Python, so it cannot be set back
                signal.signal(signum, handler)


_PROCESS_WIDE: tuple[tuple[Callable[[], Any], Callable[[Any], object]], ...] = (
    (working_folder, _enter),
    (_handlers, _handle),
    (torch.get_default_dtype, torch.set_default_dtype),
    (torch.get_default_device, _default_device),
    (torch.get_num_threads, torch.set_num_threads),
    (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
)
"""What is restored: how to read it, and how to set it."""


def told(error: BaseException, where: str = "") -> str:
    """An error in one line, ``KeyError for prompt 3: 'a'``; ``where`` follows its name."""
    named, said = f"{type(error).__name__}{where}", _safely(str, error)
    return f"{named}: {said}" if said else named


def shown(value: Any) -> str:
    """A value as messages show it, even if its own ``repr`` fails."""
    return _safely(repr, value)


def number(value: Any) -> float | None:
    """``value`` as a float of at most :data:`LARGEST`; None if it is not one.

    Texts and bytes are not numbers, although ``float`` reads some of them.
    """
    if isinstance(value, str | bytes | bytearray | memoryview):
        return None
    try:
        found = float(value)
    except KeyboardInterrupt:
        raise
    except BaseException:  # None, a list, a tensor of several elements, a __float__ that raises
        return None
    return found if abs(found) <= LARGEST else None  # nor is NaN


def _safely(text_of: Callable[[Any], str], value: Any) -> str:
    try:
        text = " ".join(text_of(value).split())
    except KeyboardInterrupt:
        raise
    except BaseException:
        return f"a {type(value).__name__} that cannot be shown"
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
