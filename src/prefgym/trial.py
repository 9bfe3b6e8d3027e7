"""Timing small pieces of work within a budget, and what larger ones would take.

Sizes are whatever the time grows with: tokens, rows, weights.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field


@dataclass
class Timing:
    """Seconds by size, the largest last."""

    points: list[tuple[int, float]] = field(default_factory=list)

    @property
    def size(self) -> int:
        """The largest size that was timed."""
        return self.points[-1][0]

    def at(self, size: float, least: float = 0.5) -> float:
        """Seconds for another size: on the line through the last two points.

        Of the time of the last one a share of at least ``least`` is taken to grow with the size, and so is all of it
        where there is one point only.

        >>> Timing([(10, 1.2), (20, 2.2)]).at(100)
        10.2
        >>> Timing([(20, 2.2)]).at(100)
        11.0
        """
        last, seconds = self.points[-1]
        slope = seconds / last
        if len(self.points) > 1:
            before, earlier = self.points[-2]
            slope = min(slope, max(least * slope, (seconds - earlier) / (last - before)))
        return round(max(0.0, seconds + slope * (size - last)), 9)


class Budget:
    """Seconds for parts that come one after the other: each gets its share of what is left for it and those to come.

    Args:
        seconds: for everything from now on.
        shares: of the parts, in their order.
    """

    def __init__(self, seconds: float, shares: Mapping[str, float]) -> None:
        self._ends, self._shares = time.perf_counter() + seconds, dict(shares)

    def of(self, part: str) -> float:
        """What the next part may take."""
        left = max(0.0, self._ends - time.perf_counter())
        to_come = sum(self._shares.values())
        return left * self._shares.pop(part) / to_come


FIRST = 0.6
"""The share of the time that the first size may take if a second is to be timed."""


def timed(sizes: Sequence[int], run: Callable[[int], object], seconds: float) -> Timing:
    """Time the smallest size, the next, and a larger one as often as it is expected to fit into ``seconds`` altogether.

    The next is timed unless the first took more than ``FIRST`` of the seconds: one size does not show how the time
    grows, as much of a small piece's is the same for all.
    """
    result, spent, size = Timing(), 0.0, sizes[0]
    while True:
        took = seconds_of(lambda size=size: run(size))  # type: ignore[misc]
        result.points.append((size, took))
        spent += took
        larger = [other for other in sizes if other > size]
        if len(result.points) == 1:
            fitting = larger[:1] if took <= FIRST * seconds else []
        else:
            fitting = [other for other in larger if result.at(other) <= seconds - spent]
        if not fitting:
            return result
        size = fitting[-1]


def seconds_of(run: Callable[[], object]) -> float:
    """How long a call takes, work on a GPU included."""
    import torch

    began = time.perf_counter()
    run()
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return max(time.perf_counter() - began, 1e-9)
