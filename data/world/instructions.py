"""Instructions about posts, each with its answer from the post's hidden facts.

A *family* is a function from a post to an instruction, its accepted answers and, where there is a choice, the options.
A new one is a line in `FACT_FAMILIES` or `TEXT_FAMILIES`; only `UNSEEN` also knows their names.
"""

from __future__ import annotations

import random

from .drafts import stable_hash
from .fact_tasks import FACT_FAMILIES
from .posts import Post
from .task import Family, Task
from .text_tasks import TEXT_FAMILIES

__all__ = ["FAMILIES", "SEEN", "UNSEEN", "Family", "Task", "task"]

FAMILIES: dict[str, Family] = {**FACT_FAMILIES, **TEXT_FAMILIES}
"""Every family by its name."""

UNSEEN = ("where", "choose_thing", "gap_thing", "who_thing")
"""The families held out of all training by default: one for each way of asking for a fact.

None has new parts. The way is known from other facts and the fact from other ways: "Where did it happen?" from
"When did it happen?" and from "Where did it happen, at the zoo or at church?". The test is whether a model follows an
instruction that it can understand from its parts, which is all that can be asked of a small one. Families that the
embedded model hardly learns even in training, such as yes-or-no questions or those about a feeling, are not held out:
there would be nothing to transfer.
"""

SEEN = tuple(name for name in FAMILIES if name not in UNSEEN)
"""The other families."""


def task(post: Post, family: str) -> Task:
    """The task that a family makes from a post; always the same one. KeyError for an unknown family."""
    return FAMILIES[family](post, random.Random(stable_hash("instruction", family, post.split, post.index)).random)
