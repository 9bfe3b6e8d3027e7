"""Whether the embedded models are good enough for RL to have room to improve, measured on held-out posts.

Rates are fractions with 95 % intervals over posts. Gold judges and is never used in training.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data.templates import SUMMARIZE
from ..data.world import Post, oracle
from ..data.world.corruptions import CORRUPTIONS
from ..evaluation.policies.decode import decode
from ..evaluation.policies.responses import DecodeSettings
from ..evaluation.win_rate import Interval, mean_interval, win_rate
from ..models.distribution import Decoding
from ..models.language_model import LanguageModel
from ..rewards.gold import gold_score
from ..rewards.preference_model import PreferenceModel

SAMPLES = 4  # per post, for best-of-n

Array = NDArray[np.float64]


def check_start(lm: LanguageModel, posts: Sequence[Post], seed: int = 0) -> dict[str, Interval]:
    """Return how often the start policy beats the references: sampled, greedily, and as best of four under gold."""
    references = gold(posts, [post.reference for post in posts])
    sampled = np.stack([gold(posts, texts) for texts in samples(lm, posts, seed)])
    greedy = gold(posts, write(lm, posts, Decoding(greedy=True), seed))
    return {
        "sampled": win_rate(sampled[0], references),
        "greedily": win_rate(greedy, references),
        "best of four by gold": win_rate(sampled.max(axis=0), references),
    }


def check_preference(pm: PreferenceModel, lm: LanguageModel, posts: Sequence[Post], seed: int = 0) -> dict[str, Any]:
    """Return how well the preference model picks among samples of the start policy, and which faults it sees.

    Returns:
        ``best of four``: how often the sample it scores highest beats the reference. ``orders as gold does`` and
        ``orders as length does``: share of the pairs of samples of a post that it orders like gold, or like their
        number of words (pairs tied there are left out). ``sees``: by fault, how often it prefers the oracle without it.
    """
    texts = samples(lm, posts, seed)
    prompts = [SUMMARIZE.render(post.text) for post in posts]
    scores = np.stack([pm.score(prompts, column) for column in texts])  # (4, posts)
    golds = np.stack([gold(posts, column) for column in texts])
    words = np.array([[len(text.split()) for text in column] for column in texts], dtype=np.float64)
    best = golds[scores.argmax(axis=0), np.arange(len(posts))]
    clean = [oracle(post) for post in posts]
    whole = pm.score(prompts, list(map(SUMMARIZE.render_response, clean)))
    sees = {}
    for name, spoil in CORRUPTIONS.items():
        spoiled = [spoil(post, text, random.Random(i)) for i, (post, text) in enumerate(zip(posts, clean, strict=True))]
        sees[name] = win_rate(whole, pm.score(prompts, list(map(SUMMARIZE.render_response, spoiled))))
    return {
        "best of four": win_rate(best, gold(posts, [post.reference for post in posts])),
        "orders as gold does": agreement(scores, golds),
        "orders as length does": agreement(scores, words),
        "sees": sees,
    }


def agreement(scores: Array, truth: Array) -> Interval:
    """Share of pairs of a post's n texts, both (n, posts), that scores order like the truth; posts count equally."""
    right, counted = np.zeros(scores.shape[1]), np.zeros(scores.shape[1])
    for a, b in combinations(range(len(scores)), 2):
        differ = truth[a] != truth[b]
        right += differ * (0.5 + 0.5 * np.sign(scores[a] - scores[b]) * np.sign(truth[a] - truth[b]))
        counted += differ
    return mean_interval(right[counted > 0] / counted[counted > 0])


def samples(lm: LanguageModel, posts: Sequence[Post], seed: int) -> list[list[str]]:
    """Return four samples at temperature 1 for every post, each a list over posts."""
    return [write(lm, posts, Decoding(), seed + i) for i in range(SAMPLES)]


def write(lm: LanguageModel, posts: Sequence[Post], decoding: Decoding, seed: int) -> list[str]:
    """Return one summary for every post."""
    return decode(lm, [{"prompt": post.text} for post in posts], DecodeSettings(), decoding, seed=seed).texts


def gold(posts: Sequence[Post], texts: Sequence[str]) -> Array:
    """Return the gold score of each post's text, (posts,)."""
    pairs = zip(posts, texts, strict=True)
    return np.array([gold_score(post.facts.as_dict(), post.distractors, text).total for post, text in pairs])
