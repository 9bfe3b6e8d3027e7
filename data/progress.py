"""A progress bar for work on many rows; on few there is none."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

MANY = 10_000
"""Up to so many rows are done before anybody wonders."""


def progress_bar(
    what: str, total: int, *, items: Iterable[Any] | None = None, unit: str = "row", many: int = MANY
) -> Any:
    """A bar with the time left, on standard error, where there are more than ``many``: ``tqdm`` over ``items``.

    Without ``items`` it is a context manager whose ``update(count)`` says how far the work has come.

    Args:
        what: what is done, in a word or two.
        total: how many there are.
        items: what to go through.
        unit: of one of them.
        many: up to so many are done without a bar.
    """
    from tqdm import tqdm

    return tqdm(items, desc=what, total=total, unit=f" {unit}s", disable=total <= many, mininterval=0.5)
