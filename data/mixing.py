"""How much of each task a model sees."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property


@dataclass(frozen=True)
class Mixture:
    """Which examples are in an epoch: all of each task, but at most ``cap``.

    Examples-proportional mixing with a limit (Raffel et al. 2020, "T5", section 3.5.2; Wei et al. 2022, "FLAN"): a task
    of n examples is seen in proportion to min(n, cap), so that large tasks do not drown out small ones. From a larger
    task each epoch takes the next ``cap`` examples of one random order, which starts again once all were seen.

    Attributes:
        tasks: the task of each example.
        cap: examples of a task in an epoch; None for all.
        seed: of the order.
    """

    tasks: Sequence[str] = field(repr=False)
    cap: int | None = None
    seed: int = 0

    def __len__(self) -> int:
        return sum(self.sizes.values())

    @cached_property
    def members(self) -> dict[str, list[int]]:
        """The examples of each task, in random order."""
        members: dict[str, list[int]] = {}
        for index, task in enumerate(self.tasks):
            members.setdefault(task, []).append(index)
        for task, examples in members.items():
            random.Random(f"{self.seed}|{task}").shuffle(examples)
        return members

    @cached_property
    def sizes(self) -> dict[str, int]:
        """How many examples of each task are in an epoch."""
        return {task: min(len(all_), self.cap or len(all_)) for task, all_ in self.members.items()}

    def epoch(self, number: int) -> list[int]:
        """The examples of epoch ``number``, counted from 0, in ascending order.

        >>> mixture = Mixture(["a", "b", "a", "a"], cap=2)
        >>> [sum(index != 1 for index in mixture.epoch(number)) for number in range(3)]
        [2, 2, 2]
        """
        drawn = []
        for task, examples in self.members.items():
            size = self.sizes[task]
            drawn += [examples[(number * size + i) % len(examples)] for i in range(size)]
        return sorted(drawn)

    def table(self) -> dict[str, dict[str, float]]:
        """For each task, the largest first: its ``examples``, those in an ``epoch``, and their ``share`` of it."""
        rows = {
            task: {"examples": len(all_), "epoch": self.sizes[task], "share": self.sizes[task] / len(self)}
            for task, all_ in self.members.items()
        }
        return dict(sorted(rows.items(), key=lambda row: (-row[1]["examples"], row[0])))
