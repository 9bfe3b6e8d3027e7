"""Calling a user's code: what it changes is restored; where it fails, the run ends with a sentence that names it."""

from __future__ import annotations

import inspect
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import numpy as np
import torch

from ..storage.signals import SIGNALS
from .beside import beside
from .waiting import Failure, waited_for

_LONGEST = 200
LARGEST = 1e30
"""Scores beyond this overflow in the single precision that learners use."""


Call = tuple[Callable[..., Any], Mapping[str, Iterable[Any]], Mapping[str, Any]]
"""A function, its columns, and its other arguments."""


def called(function: Callable[..., Any], /, **columns: Iterable[Any]) -> list[Any]:
    """A function's result, as a list of values; it gets lists of its own, which it may empty or edit.

    Bytes and mappings can be turned into lists too, but nobody means their bytes or keys: they count as one value.
    """
    (values,) = called_together([(function, columns, {})])
    if isinstance(values, Failure):
        raise values.error
    return values


def called_together(calls: Sequence[Call]) -> list[list[Any] | Failure]:
    """As ``called``, for several functions in turn; coroutines run at the end, all at once.

    Raises:
        KeyboardInterrupt: the user stopped a function.
    """
    results = [_attempt(function, _call, *call) for function, *call in calls]
    waiting = [place for place, result in enumerate(results) if inspect.isawaitable(result)]
    if waiting:
        with undisturbed(), ExitStack() as homes:
            for place in waiting:
                homes.enter_context(beside(calls[place][0]))
            for place, result in zip(waiting, waited_for([results[place] for place in waiting]), strict=True):
                results[place] = result
    return [
        result if isinstance(result, Failure | list) else _attempt(call[0], _listed, result)
        for call, result in zip(calls, results, strict=True)
    ]


def _attempt(function: Callable[..., Any], work: Callable[..., Any], *arguments: Any) -> Any:
    """What ``work`` gives, while a user's ``function`` is at work in it; a ``Failure`` where that raises."""
    try:
        with undisturbed(), beside(function):
            return work(function, *arguments)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # SystemExit too: sys.exit() in a reward must not look like the end of a run
        return Failure(error)


def _call(function: Callable[..., Any], columns: Mapping[str, Iterable[Any]], constants: Mapping[str, Any]) -> Any:
    values = function(**{name: list(column) for name, column in columns.items()}, **constants)
    return values if inspect.isawaitable(values) else _listed(function, values)


def _listed(function: Callable[..., Any], values: Any) -> list[Any]:
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
