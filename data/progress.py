"""A progress bar for work on many rows; few rows get none."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

MANY = 10_000
"""Up to this many rows are done before anybody wonders."""


def progress_bar(
    what: str, total: int, *, items: Iterable[Any] | None = None, unit: str = "row", many: int = MANY
) -> Any:
    """A bar with the time left, on standard error, if there are more than ``many``: ``tqdm`` over ``items``.

    Without ``items`` it is a context manager whose ``update(count)`` reports progress.

    Args:
        what: a word or two on what is being done.
        total: how many there are.
        items: what to iterate over.
        unit: the name of one of them.
        many: up to this many, no bar is shown.
    """
    from tqdm import tqdm

    return tqdm(items, desc=what, total=total, unit=f" {unit}s", disable=total <= many, mininterval=0.5)
