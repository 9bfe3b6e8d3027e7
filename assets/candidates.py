"""Summaries of several qualities of the embedded world's posts, for annotators to judge."""

from __future__ import annotations

import random
from collections.abc import Sequence

from ..data.templates import SUMMARIZE
from ..data.world import Post
from ..data.world.corruptions import one_fact_missing, one_wrong_fact, several_wrong_facts
from ..data.world.drafts import stable_hash
from ..data.world.summaries import complete
from ..evaluation.policies.decode import decode
from ..evaluation.policies.responses import DecodeSettings
from ..models.distribution import Decoding
from ..models.language_model import LanguageModel


def candidates(posts: Sequence[Post], start: LanguageModel, pretrained: LanguageModel, seed: int) -> list[list[str]]:
    """Return, for every post, summaries of several qualities with single-fact corruptions among them.

    They are two samples of the start policy, the first also with a fact wrong; the reference; a careful writer's
    summary, also with a fact wrong, with several wrong (the more obvious fault, which teaches a model to look) and with
    one left out; and, for one post in eight, a pretrained model's text.
    """
    eighth = posts[::8]
    warm, cool = (_sample(start, posts, temperature, seed + i) for i, temperature in enumerate((1.0, 0.6)))
    raw = _sample(pretrained, eighth, 0.8, seed + 2)
    return [
        [
            warm[row],
            cool[row],
            SUMMARIZE.render_response(item.reference),
            *_careful(item),
            one_wrong_fact(item, warm[row], random.Random(stable_hash("slip", item.split, item.index))),
            *(raw[row // 8 : row // 8 + 1] if row % 8 == 0 else []),
        ]
        for row, item in enumerate(posts)
    ]


def _sample(lm: LanguageModel, posts: Sequence[Post], temperature: float, seed: int) -> list[str]:
    prompts = [{"prompt": item.text} for item in posts]
    return decode(lm, prompts, DecodeSettings(), Decoding(temperature=temperature), seed=seed).texts


def _careful(item: Post) -> list[str]:
    """A careful writer's summary, then the same with faults."""
    rng = random.Random(stable_hash("careful", item.split, item.index))
    whole = complete(item.draft, rng.random)
    faults = (one_wrong_fact, several_wrong_facts, one_fact_missing)
    texts = [whole, *(spoil(item, whole, rng) for spoil in faults)]
    return [SUMMARIZE.render_response(text) for text in texts]
