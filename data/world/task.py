"""Tasks, families of tasks, and what families share: wordings of a fact, and wrong values to choose from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

from .grammar import Draw
from .lexicon import VALUES
from .posts import Post
from .summaries import plausible

T = TypeVar("T")


class Task(NamedTuple):
    """An instruction about a post, and every answer that is right: the one in the post's own words first.

    options: to choose an answer from, the first answer among them; named in the instruction or not.
        Empty where an answer has to be written.
    """

    instruction: str
    answers: tuple[str, ...]
    options: tuple[str, ...] = ()


Family = Callable[[Post, Draw], Task]
"""``(post, draw) -> task``; `draw()` is uniform in [0, 1) and the only source of chance."""


def one_of(draw: Draw, *options: str) -> str:
    """One of the options, each as likely as the others."""
    return options[int(draw() * len(options))]


def shuffled(values: Sequence[T], draw: Draw) -> list[T]:
    """The values in random order."""
    return [value for _, value in sorted(((draw(), value) for value in values), key=lambda pair: pair[0])]


def either(options: Sequence[str]) -> str:
    """The options as a sentence names them.

    >>> either(["work", "school", "travel"])
    'work, school or travel'
    """
    return f"{', '.join(options[:-1])} or {options[-1]}"


def wordings(post: Post, slot: str) -> tuple[str, ...]:
    """How the post words the fact, then every other wording that means the same."""
    own = post.draft.wording[slot]
    return tuple(dict.fromkeys((own, *VALUES[slot][getattr(post.facts, slot)].phrases)))


def wrong_ones(post: Post, slot: str, count: int, draw: Draw) -> list[str]:
    """Wordings of other values: those that the post mentions beside the point, then those that would have made sense.

    So it is not enough to look for what occurs in the post.
    """
    own = getattr(post.facts, slot)
    beside = [key for name, key in post.distractors if name == slot]
    keys = (*beside, *shuffled(plausible(post.draft, slot), draw), *shuffled(tuple(VALUES[slot]), draw))
    others = [key for key in dict.fromkeys(keys) if key != own]
    return [VALUES[slot][key].phrases[0] for key in others[:count]]


def choices(post: Post, slot: str, count: int, draw: Draw) -> tuple[str, ...]:
    """The fact as the post words it among wrong ones, `count` in all, in random order."""
    return tuple(shuffled([post.draft.wording[slot], *wrong_ones(post, slot, count - 1, draw)], draw))
