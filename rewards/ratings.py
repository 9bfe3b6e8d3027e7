"""Simulated people who rate single summaries from 1 to 7, each on their own scale.

A person a who reads a text perceives

    u = u_a(text) + noise · (G - γ),    G standard Gumbel, γ its mean

with the utility and the noise of `annotators.Annotators`: of two texts perceived by the same person, the first is
better with probability σ((u_a(first) - u_a(second)) / noise), as in a comparison (the difference of two Gumbel
variables is logistic). Rating and comparing are therefore equally hard; what a rating adds is the scale:

    rating = round(4 + offset_a + spread_a · (u - centre) / step),    clipped to 1-7

with offset_a ~ N(0, offset²) and spread_a = exp(spread · z), drawn once for each person: some are lenient, some use the
ends, and who rates is random. There is no first text, so no position bias.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ..data.templates import Template
from ..data.world import Post
from . import gold
from .annotators import Annotators

Array = NDArray[np.float64]

LOWEST, MIDDLE, HIGHEST = 1, 4, 7
CENTRE, STEP = 4.0, 1.5
"""The gold points that a person without offset rates 4, and the gold points per step of the scale."""


@dataclass(frozen=True)
class Rating:
    """A judgement of one response.

    Attributes:
        prompt: the prompt.
        response: the response.
        value: the rating, or its transformed value.
        annotator: who rated.
    """

    prompt: str
    response: str
    value: float
    annotator: str

    def render(self, template: Template) -> Rating:
        """The same with the prompt inside ``template`` and a response that begins with one space."""
        prompt, response = template.render(self.prompt), template.render_response(self.response)
        return replace(self, prompt=prompt, response=response)


@dataclass(frozen=True)
class Raters:
    """The people of ``annotators``, giving ratings.

    Attributes:
        annotators: who they are, what they value and their noise.
        offset: standard deviation of a person's leniency, in steps of the scale.
        spread: standard deviation of the logarithm of how much of the scale a person uses.
        seed: for drawing their scales.
    """

    annotators: Annotators = field(default_factory=Annotators)
    offset: float = 1.0
    spread: float = 0.4
    seed: int = 0

    @cached_property
    def scales(self) -> Array:
        """(2, size) every person's offset in steps, and spread."""
        z = np.random.default_rng(self.seed).standard_normal((2, self.annotators.size))
        return np.stack([self.offset * z[0], np.exp(self.spread * z[1])])

    def perceive(self, utilities: Array, rng: np.random.Generator) -> Array:
        """The perceived values of texts with these utilities, of any shape, noise included."""
        return utilities + self.annotators.noise * (rng.gumbel(size=utilities.shape) - np.euler_gamma)

    def rate(self, perceived: Array, person: NDArray[np.int64]) -> NDArray[np.int64]:
        """Ratings (N,) from 1 to 7 of perceived values (N,) by persons (N,)."""
        offset, spread = self.scales[:, person]
        place = MIDDLE + offset + spread * (perceived - CENTRE) / STEP
        return np.clip(np.rint(place), LOWEST, HIGHEST).astype(np.int64)


def simulate_ratings(
    posts: Iterable[Post],
    candidates: Iterable[Sequence[str]],
    *,
    seed: int,
    texts_per_post: int | None = None,
    raters: Raters | None = None,
) -> list[Rating]:
    """Let raters judge candidate summaries of each post, each by one random person.

    Args:
        posts: the posts.
        candidates: for each post its candidate summaries; equal texts count once.
        seed: decides texts, persons and noise; same seed, same ratings.
        texts_per_post: how many of a post's texts are drawn, without replacement; None takes all.
        raters: who judges; by default the default people.
    """
    raters = raters or Raters()
    rng = np.random.default_rng(seed)
    prompts: list[str] = []
    responses: list[str] = []
    scores: list[gold.GoldScore] = []
    for post, texts in zip(posts, candidates, strict=True):
        distinct = list(dict.fromkeys(texts))
        drawn = [distinct[i] for i in rng.permutation(len(distinct))[:texts_per_post]]
        prompts += [post.text] * len(drawn)
        responses += drawn
        scores += [gold.gold_score(post.facts.as_dict(), post.distractors, text) for text in drawn]
    if not scores:
        return []
    person = rng.integers(raters.annotators.size, size=len(scores))
    utilities = raters.annotators.utilities(scores)[np.arange(len(scores)), person]
    values = raters.rate(raters.perceive(utilities, rng), person)
    rows = zip(prompts, responses, values, person, strict=True)
    return [Rating(prompt, text, float(value), str(judge)) for prompt, text, value, judge in rows]


def standardised(ratings: Sequence[Rating], *, by_annotator: bool = False) -> list[Rating]:
    """The ratings with mean 0 and standard deviation 1, over all together or per annotator.

    The latter removes each person's leniency and use of the scale, as far as their ratings show it. Ratings that are
    all equal become 0.
    """
    groups: dict[str, list[int]] = defaultdict(list)
    for row, rating in enumerate(ratings):
        groups[rating.annotator if by_annotator else ""].append(row)
    values = np.array([rating.value for rating in ratings], dtype=np.float64)
    for rows in groups.values():
        centred = values[rows] - values[rows].mean()
        values[rows] = centred / (float(centred.std()) or 1.0)
    return [replace(rating, value=float(value)) for rating, value in zip(ratings, values, strict=True)]
