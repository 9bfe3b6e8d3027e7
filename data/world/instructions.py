"""Instructions about posts, each with its answer from the post's hidden facts.

A *family* is a function from a post to an instruction and its accepted answers. A new one is a line of `FAMILIES`;
nothing else knows their names.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import NamedTuple

from .drafts import stable_hash
from .facts import SLOTS
from .grammar import Draw, tidy
from .lexicon import HOW_QUESTIONS, VALUES
from .posts import Post
from .summaries import render, wrong_value


class Task(NamedTuple):
    """An instruction about a post, and every answer that is right: the one in the post's own words first."""

    instruction: str
    answers: tuple[str, ...]


Family = Callable[[Post, Draw], Task]
"""``(post, draw) -> task``; `draw()` is uniform in [0, 1) and the only source of chance."""


def task(post: Post, family: str) -> Task:
    """The task that a family makes of a post; always the same one. KeyError for an unknown family."""
    return FAMILIES[family](post, random.Random(stable_hash("instruction", family, post.split, post.index)).random)


def _one_of(draw: Draw, *options: str) -> str:
    return options[int(draw() * len(options))]


def _wordings(post: Post, slot: str) -> tuple[str, ...]:
    """How the post words the fact, then every other wording that means the same."""
    own = post.draft.wording[slot]
    return tuple(dict.fromkeys((own, *VALUES[slot][getattr(post.facts, slot)].phrases)))


def _fact(slot: str, *instructions: str) -> Family:
    """The family that asks for one fact."""
    return lambda post, draw: Task(_one_of(draw, *instructions), _wordings(post, slot))


def _event(post: Post, draw: Draw) -> Task:
    say = post.draft.wording
    answer = tidy(f"{say['who']} {say['past']} {say['thing']}.")
    return Task(_one_of(draw, "What happened?", "Say in a few words what happened.", "What went wrong?"), (answer,))


def _question(post: Post, draw: Draw) -> Task:
    ask = "How do I" if post.facts.question in HOW_QUESTIONS else "Should I"
    instruction = _one_of(draw, "What does the writer ask?", "Write down the question of the writer.")
    return Task(instruction, tuple(f"{ask} {wording}?" for wording in _wordings(post, "question")))


def _title(post: Post, draw: Draw) -> Task:
    who, thing = (post.draft.wording[slot] for slot in ("who", "thing"))
    instruction = _one_of(draw, "Write a title for this post.", "Give this post a short title.")
    return Task(instruction, (tidy(f"{who} and {thing}"),))


def _summary(post: Post, draw: Draw) -> Task:
    instruction = _one_of(draw, "Summarise the post in one sentence.", "What is the story, in one sentence?")
    return Task(instruction, (render(post.draft, set(SLOTS) - {"question"}, draw),))


def _place_or_not(post: Post, draw: Draw) -> Task:
    """A question to be answered by yes or no, each half of the time."""
    right = draw() < 0.5
    place = post.draft.wording["place"] if right else wrong_value(post.draft, "place", draw)
    return Task(f"Did it happen {place}? Answer yes or no.", ("yes" if right else "no",))


FAMILIES: dict[str, Family] = {
    "who": _fact("who", "Who is the post about?", "Who caused the trouble?", "Whom does the writer complain about?"),
    "thing": _fact("thing", "What is the trouble over?", "Name the thing that the trouble is over."),
    "where": _fact("place", "Where did it happen?", "Name the place where it happened."),
    "when": _fact("time", "When did it happen?", "Say when it happened."),
    "feeling": _fact("feeling", "How does the writer feel?", "Name the feeling of the writer."),
    "event": _event,
    "question": _question,
    "title": _title,
    "summary": _summary,
    "yes_no": _place_or_not,
}
"""Every family by its name."""
