"""Simulated people who compare two summaries of a post from the embedded world.

Annotator a, shown one text first and another second, prefers the first with probability

    σ((u_a(first) - u_a(second) + position_bias) / noise),    u_a(text) = gold_a(text) + length_bias · words(text)

where gold_a is the gold preference with the annotator's own weights: every weight of gold times exp(disagreement · z),
z standard normal, drawn once for each annotator. So people differ in what they value (disagreement), make random errors
(noise), and are a little too fond of longer texts (length bias) and of the one they read first (position bias).

A comparison records which text won and who judged, not which text was shown first. A preference model reads only the
texts. The best possible predictor of the labels from the texts, biases included, therefore predicts
`Annotators.probability`: the mean over annotators and both orders. Its accuracy, the mean of max(p, 1 - p), is the
ceiling of a preference model (`Annotators.ceiling`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from ..data.comparisons import Comparison
from ..data.world import Post
from . import gold

Array = NDArray[np.float64]

_SLOTS = tuple(gold.WEIGHTS)
_GOLD_WEIGHTS = np.array(
    [*gold.WEIGHTS.values(), -gold.INVENTED, -gold.DISTRACTING, -gold.DISFLUENCY, -gold.REPETITION, -1.0]
)


@dataclass(frozen=True)
class Annotators:
    """A pool of people. The defaults make two of them agree on about 75 % of the pairs that are collected.

    Attributes:
        noise: scale of the logistic noise, in gold points, above 0.
        length_bias: gold points that each further word is worth to an annotator.
        position_bias: gold points that being shown first is worth.
        disagreement: standard deviation of the logarithm of an annotator's weights.
        size: number of people, at least 2.
        seed: for drawing their weights.
    """

    noise: float = 1.1
    length_bias: float = 0.02
    position_bias: float = 0.2
    disagreement: float = 0.4
    size: int = 40
    seed: int = 0

    @cached_property
    def weights(self) -> Array:
        """(size, 12) each annotator's weight of each feature of a text, in the order of `features`."""
        z = np.random.default_rng(self.seed).standard_normal((self.size, len(_GOLD_WEIGHTS)))
        return _GOLD_WEIGHTS * np.exp(self.disagreement * z)

    def utilities(self, scores: Sequence[gold.GoldScore]) -> Array:
        """(N, size) the utility of each of N texts to each annotator, in gold points."""
        lengths = np.array([score.length for score in scores], dtype=np.float64)[:, None]  # (N, 1)
        own_gold = np.maximum(gold.EMPTY, gold.BASE + features(scores) @ self.weights.T)
        return np.where(lengths == 0, gold.EMPTY, own_gold) + self.length_bias * lengths

    def first_preferred(self, first: Array, second: Array) -> Array:
        """Probability that the text shown first is preferred, from `utilities` of both texts, elementwise."""
        lead = (first - second + self.position_bias) / self.noise
        return 0.5 * (1 + np.tanh(0.5 * lead))  # σ(lead), without overflow

    def probability(self, first: Sequence[gold.GoldScore], second: Sequence[gold.GoldScore]) -> Array:
        """(N,) probability that ``first`` wins, whoever judges and whichever is shown first."""
        return self._by_annotator(first, second).mean(1)

    def agreement(self, first: Sequence[gold.GoldScore], second: Sequence[gold.GoldScore]) -> float:
        """Expected share of pairs on which two different annotators, each shown a random order, agree."""
        return expected_agreement(self._by_annotator(first, second))

    def ceiling(self, first: Sequence[gold.GoldScore], second: Sequence[gold.GoldScore]) -> float:
        """Expected accuracy of the best possible predictor of these annotators' labels."""
        p = self.probability(first, second)
        return float(np.maximum(p, 1 - p).mean())

    def _by_annotator(self, first: Sequence[gold.GoldScore], second: Sequence[gold.GoldScore]) -> Array:
        """(N, size) probability that ``first`` wins by each annotator, mean over both orders."""
        a, b = self.utilities(first), self.utilities(second)
        return 0.5 * (self.first_preferred(a, b) + 1 - self.first_preferred(b, a))


def expected_agreement(p: Array) -> float:
    """Expected share of N pairs on which two different annotators agree.

    Args:
        p: (N, A) how likely each of A annotators is to prefer one given text; a cast vote is 0, 1 or one half.
    """
    size = p.shape[1]
    both = (p.sum(1) ** 2 - (p**2).sum(1)) / (size * (size - 1))  # mean of p_a p_b over a ≠ b
    return float((1 - 2 * p.mean(1) + 2 * both).mean())


def features(scores: Sequence[gold.GoldScore]) -> Array:
    """(N, 12) what annotators weigh: facts covered (0 or 1 for each slot), then the penalised amounts."""
    rows = [
        [float(slot in score.covered) for slot in _SLOTS]
        + [score.invented, score.distracting, 1 - score.fluency, score.repetition, score.length_cost]
        for score in scores
    ]
    return np.array(rows, dtype=np.float64).reshape(-1, len(_GOLD_WEIGHTS))


@dataclass(frozen=True)
class Simulated:
    """Comparisons, and what is known about them because they are simulated.

    Attributes:
        comparisons: the labels, with the annotator's number.
        probabilities: (N,) how likely each chosen text was to win, with annotator and order unknown.
        agreement: expected share of these pairs on which two different annotators agree; NaN without a pair.
    """

    comparisons: list[Comparison]
    probabilities: Array
    agreement: float = math.nan

    @property
    def ceiling(self) -> float:
        """Expected accuracy on these pairs of the best possible predictor: the mean of max(p, 1 - p)."""
        return float(np.maximum(self.probabilities, 1 - self.probabilities).mean())


def simulate_comparisons(
    posts: Iterable[Post],
    candidates: Iterable[Sequence[str]],
    *,
    seed: int,
    pairs_per_post: int | None = None,
    annotators: Annotators | None = None,
) -> Simulated:
    """Let annotators compare candidate summaries of each post: one random annotator and order for each pair.

    Args:
        posts: the posts.
        candidates: for each post its candidate summaries; equal texts count once.
        seed: decides pairs, orders, annotators and noise; same seed, same comparisons.
        pairs_per_post: how many of a post's pairs are drawn, without replacement; None takes all.
        annotators: who judges; by default the default pool.
    """
    annotators = annotators or Annotators()
    rng = np.random.default_rng(seed)
    scores: list[gold.GoldScore] = []
    pairs: list[tuple[str, str, str, int, int]] = []  # prompt, both texts, rows of both in `scores`
    for post, texts in zip(posts, candidates, strict=True):
        distinct = list(dict.fromkeys(texts))
        possible = list(combinations(range(len(distinct)), 2))
        drawn = rng.permutation(len(possible))[:pairs_per_post]
        row = len(scores)
        scores += [gold.gold_score(post.facts.as_dict(), post.distractors, text) for text in distinct]
        for number in drawn:
            i, j = possible[number]
            pairs.append((post.text, distinct[i], distinct[j], row + i, row + j))
    if not pairs:
        return Simulated([], np.zeros(0))
    return _judge(pairs, scores, annotators, rng)


def _judge(
    pairs: Sequence[tuple[str, str, str, int, int]],
    scores: Sequence[gold.GoldScore],
    annotators: Annotators,
    rng: np.random.Generator,
) -> Simulated:
    utilities = annotators.utilities(scores)  # (texts, annotators)
    rows = np.array([pair[3:] for pair in pairs])
    a, b = utilities[rows[:, 0]], utilities[rows[:, 1]]  # (N, annotators)
    a_first, b_first = annotators.first_preferred(a, b), annotators.first_preferred(b, a)
    count = np.arange(len(pairs))
    judge = rng.integers(annotators.size, size=len(pairs))
    in_order = rng.random(len(pairs)) < 0.5
    a_wins = rng.random(len(pairs)) < np.where(in_order, a_first[count, judge], 1 - b_first[count, judge])
    by_annotator = 0.5 * (a_first + 1 - b_first)
    p_a = by_annotator.mean(1)
    comparisons = [
        Comparison(prompt, *((first, second) if wins else (second, first)), annotator=str(who))
        for (prompt, first, second, _, _), wins, who in zip(pairs, a_wins, judge, strict=True)
    ]
    return Simulated(comparisons, np.where(a_wins, p_a, 1 - p_a), expected_agreement(by_annotator))
