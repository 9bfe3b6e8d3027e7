"""Numbers as users give them: Python's own, NumPy's, or a tensor of one value."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


def plain(value: Any) -> Any:
    """The Python value in a NumPy scalar, an array or a tensor without axes; anything else as it is.

    Only Python's values can be saved as JSON or YAML, and only they say reliably whether they are whole.

    >>> import numpy as np
    >>> plain(np.int64(4)), plain(np.array(0.5)), plain(np.True_), plain([1])
    (4, 0.5, True, [1])
    """
    return value.item() if getattr(value, "shape", None) == () and hasattr(value, "item") else value


def is_number(value: Any) -> bool:
    """Whether a Python value is a finite number; ``True`` and ``False`` are none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond any float
        return False


def is_whole(value: Any) -> bool:
    """Whether a Python value is a whole number of Python's own type; ``True`` and ``False`` are none."""
    return isinstance(value, int) and not isinstance(value, bool)


def takes_numbers(function: Callable[P, T]) -> Callable[P, T]:
    """A function whose arguments may be NumPy's or a tensor's numbers: it gets :func:`plain` values."""

    @functools.wraps(function)
    def called(*args: P.args, **kwargs: P.kwargs) -> T:
        return function(*map(plain, args), **{name: plain(value) for name, value in kwargs.items()})

    return called
