"""What the processes of one training do together. Today there is one, and everything comes back as it was given.

Every process holds the same policy. Each writes its share of an iteration's responses, and then all hold the whole
rollout: advantages, whitening, baselines, the adaptive KL and what is logged see every episode, and know nothing of
processes. Of a minibatch each reads its share. Losses divide by the tokens or episodes of the whole minibatch, so the
gradients and scalars of the shares add up to the whole's, and no mean is taken of means.

All processes call these functions in the same order, and get the same answer from all but ``share``, ``draws`` and
``is_first``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import nn

if TYPE_CHECKING:
    from .rollout import Rollout

Items = TypeVar("Items")
Number = TypeVar("Number", int, float)


def is_first() -> bool:
    """Whether this process is the one that writes files, TensorBoard events and the progress bar."""
    return True


def share(prompts: Items) -> Items:
    """This process's part of a sequence of prompts; the parts of all processes, in their order, are the sequence."""
    return prompts


def draws(generator: torch.Generator | None) -> torch.Generator | None:
    """What this process samples its share with: out of the generator that all hold alike, another one for each.

    Sampled with the same one, the shares would get the same random numbers for other prompts. Each process must take
    the same from the generator, so that it stays the same in all.
    """
    return generator


def whole(rollout: Rollout) -> Rollout:
    """The episodes of all processes, in their order, out of this one's."""
    return rollout


def total(number: Number) -> Number:
    """The sum of a number over processes."""
    return number


def add_up_gradients(module: nn.Module) -> None:
    """Replace each gradient in a module by its sum over processes."""


def anyone(flag: bool) -> bool:
    """Whether the flag is set in any process."""
    return flag


@contextmanager
def together() -> Iterator[None]:
    """Around a block that, where an error or a stop ends it in one process, ends so in all."""
    yield
