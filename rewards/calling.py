"""Calling a user's code: whatever it raises or returns, the run ends with a sentence that names it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

_LONGEST = 200
LARGEST = 1e30
"""Scores beyond this overflow in the single precision that learners use."""


def called(function: Callable[..., Any], **given: Any) -> list[Any]:
    """A function's result, as a list of values; its changes to PyTorch's global state are undone.

    Bytes and mappings can be turned into lists too, but nobody means their bytes or keys: they count as one value.
    """
    before = torch.get_default_dtype()
    try:
        values = function(**given)
        return [values] if isinstance(values, bytes | bytearray | memoryview | Mapping) else list(values)
    finally:
        torch.set_default_dtype(before)


def is_stop(error: BaseException) -> bool:
    """Whether an error is not the code's fault: the user's own Ctrl-C, or a machine out of memory."""
    return isinstance(error, KeyboardInterrupt | MemoryError)


def told(error: BaseException, *, named: bool = True) -> str:
    """An error in one line, ``KeyError: 'a'``; only its message if not ``named``."""
    said = _safely(str, error)
    return f"{type(error).__name__}: {said}" if named else said


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
    except BaseException as error:  # None, a list, a tensor of several elements, a __float__ that raises
        if is_stop(error):
            raise
        return None
    return found if abs(found) <= LARGEST else None  # nor is NaN


def _safely(text_of: Callable[[Any], str], value: Any) -> str:
    try:
        text = " ".join(text_of(value).split())
    except BaseException as error:
        if is_stop(error):
            raise
        return f"a {type(value).__name__} that cannot be shown"
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
