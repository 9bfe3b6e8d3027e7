"""Judgements of the embedded world's posts by simulated people, for a study of preference models.

The probability of every label is known, so a model's expected accuracy can be computed, which cannot exceed the
ceiling.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ..assets.candidates import candidates
from ..data.comparisons import Comparison
from ..data.templates import SUMMARIZE
from ..data.world import Post, post
from ..models.language_model import LanguageModel
from ..rewards.annotators import Annotators, Simulated, simulate_comparisons
from ..rewards.ratings import Raters, Rating, simulate_ratings

Array = NDArray[np.float64]
Judged = TypeVar("Judged", Comparison, Rating)

POSTS_FROM = 700_000
"""Training posts that no other stage reads."""
TEXTS_OF_A_COMPARISON = 2
TEXTS_OF_A_POST = 6
"""Minimum number of different texts per post, over many posts."""


@dataclass(frozen=True)
class Judgements:
    """The judgements of simulated people.

    Attributes:
        comparisons: of training posts, those of a post adjacent; prompts are templated.
        ratings: by way of asking, of the same posts and texts; empty if not requested.
        test: comparisons of held-out posts, if any.
    """

    comparisons: list[Comparison]
    ratings: dict[str, list[Rating]]
    test: Simulated

    @property
    def people(self) -> dict[str, float]:
        """The figures to compare a model's accuracy with, on the test comparisons."""
        words = np.array([len(c.chosen.split()) - len(c.rejected.split()) for c in self.test.comparisons])
        return {
            "comparisons": len(self.test.comparisons),
            "agreement": self.test.agreement,
            "ceiling": self.test.ceiling,
            "longer": float(expected_right(words.astype(np.float64), self.test.probabilities).mean()),
        }


def collect(
    comparisons: int,
    start: LanguageModel,
    pretrained: LanguageModel,
    *,
    posts_from: int = POSTS_FROM,
    pairs_per_post: int = 4,
    annotators: Annotators | None = None,
    ratings: bool = False,
    test_posts: int = 0,
    seed: int = 0,
) -> Judgements:
    """Let simulated people compare summaries of training posts, rate them, and compare those of held-out posts.

    Args:
        comparisons: minimum number wanted.
        start: writes some of the summaries.
        pretrained: writes a few bad ones.
        posts_from: the first training post.
        pairs_per_post: comparisons per training post, if it has that many.
        annotators: who judges; by default the default people.
        ratings: whether they also rate, at least twice as many texts.
        test_posts: number of held-out posts.
        seed: for samples, people and noise.
    """
    people = annotators or Annotators()
    per_post = min(pairs_per_post, math.comb(TEXTS_OF_A_POST, 2))
    if ratings:
        per_post = min(per_post, TEXTS_OF_A_POST // TEXTS_OF_A_COMPARISON)
    posts = [post("train", posts_from + index) for index in range(math.ceil(comparisons / per_post))]
    held_out = [post("validation", index) for index in range(test_posts)]
    texts = candidates(posts, start, pretrained, seed)
    made = simulate_comparisons(posts, texts, seed=seed, pairs_per_post=pairs_per_post, annotators=people)
    of_test = candidates(held_out, start, pretrained, seed) if held_out else []
    test = simulate_comparisons(held_out, of_test, seed=seed, annotators=people)
    return Judgements(
        [comparison.render(SUMMARIZE) for comparison in made.comparisons],
        _ratings(posts, texts, people, seed) if ratings else {},
        replace(test, comparisons=[comparison.render(SUMMARIZE) for comparison in test.comparisons]),
    )


def _ratings(
    posts: Sequence[Post], texts: Sequence[Sequence[str]], people: Annotators, seed: int
) -> dict[str, list[Rating]]:
    """The same texts rated by the same persons with the same noise, on their own scales and on a common one."""
    own, one = (
        [rating.render(SUMMARIZE) for rating in simulate_ratings(posts, texts, seed=seed, raters=raters)]
        for raters in (Raters(people), Raters(people, offset=0.0, spread=0.0))
    )
    return {"ratings": own, "ratings_by_person": own, "ratings_one_scale": one}


def expected_right(lead: Array, probabilities: Array) -> Array:
    """The probability that a new label agrees with the sign of each lead (N,), one half at 0."""
    return np.where(lead == 0, 0.5, np.where(lead > 0, probabilities, 1 - probabilities))


def share(judged: Sequence[Judged], n: int, seed: int) -> list[Judged]:
    """The first n judgements when prompts are in the seed's random order, those of a prompt adjacent."""
    of_prompt: dict[str, list[Judged]] = {}
    for item in judged:
        of_prompt.setdefault(item.prompt, []).append(item)
    prompts = list(of_prompt)
    order = np.random.default_rng(seed).permutation(len(prompts))
    ordered = (item for row in order for item in of_prompt[prompts[row]])
    taken = [item for item, _ in zip(ordered, range(n), strict=False)]
    if len(taken) < n:
        raise ValueError(f"{n} judgements were asked for, and there are {len(taken)}")
    return taken
