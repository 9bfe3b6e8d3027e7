"""Corrupted summaries: what gold must rank below a clean one, and single-fact faults for comparisons.

Every corruption takes (post, summary, rng) and returns a text; those that ignore the summary say so.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from .facts import SLOTS, words
from .lexicon import VALUES
from .posts import Post
from .posts import post as make_post
from .summaries import oracle, render, wrong_value
from .text import sentences

Corruption = Callable[[Post, str, random.Random], str]


def keyword_list(post: Post, summary: str, rng: random.Random) -> str:
    """The post's facts as a bare list, in random order; ignores the summary."""
    forms = [VALUES[slot][key].forms[0] for slot, key in post.facts.pairs()]
    rng.shuffle(forms)
    return ", ".join(forms)


def shuffled(post: Post, summary: str, rng: random.Random) -> str:
    """The words of the summary in random order."""
    tokens = words(summary)
    rng.shuffle(tokens)
    return " ".join(tokens)


def copied_post(post: Post, summary: str, rng: random.Random) -> str:
    """The whole post; ignores the summary."""
    return post.text


def other_summary(post: Post, summary: str, rng: random.Random) -> str:
    """The complete summary of another post of the same split; ignores the summary."""
    return oracle(make_post(post.split, post.index + 1 + rng.randrange(1000)))


def repeated_sentence(post: Post, summary: str, rng: random.Random) -> str:
    """One sentence of the summary, three times, instead of the summary."""
    return " ".join([rng.choice(sentences(summary))] * 3)


def one_wrong_fact(post: Post, summary: str, rng: random.Random) -> str:
    """The summary with one fact replaced by a plausible other; if it states none, the oracle is used instead."""
    return _wrong_facts(post, summary, rng, 1)


def reworded(post: Post, summary: str, rng: random.Random) -> str:
    """The summary with one fact in another wording of the same meaning: a harmless change.

    Not a corruption, but the counterpart of ``one_wrong_fact``; the summary itself if no fact has other wordings.
    """
    others = {slot: _synonyms(post, slot) for slot in _stated_slots(post, summary)}
    slots = [slot for slot, phrases in others.items() if phrases]
    if not slots:
        return summary
    slot = rng.choice(slots)
    return _replace(summary, _said(post, slot), rng.choice(others[slot]))


def several_wrong_facts(post: Post, summary: str, rng: random.Random) -> str:
    """The same with two or more facts, up to all of them."""
    return _wrong_facts(post, summary, rng, rng.randint(2, len(SLOTS)))


def one_fact_missing(post: Post, summary: str, rng: random.Random) -> str:
    """A fluent summary with all facts but one; ignores the summary."""
    return render(post.draft, set(SLOTS) - {rng.choice(SLOTS)}, rng.random)


def distractor_added(post: Post, summary: str, rng: random.Random) -> str:
    """The summary, followed by something the post mentions beside its point."""
    beside = [name for name in ("who2", "thing2") if post.draft.asides[name] in post.distractors]
    phrase = post.draft.wording[rng.choice(beside)]
    return f"{summary} There is {phrase} to think of as well."


def empty(post: Post, summary: str, rng: random.Random) -> str:
    """Nothing."""
    return ""


CORRUPTIONS: dict[str, Corruption] = {
    function.__name__: function
    for function in (
        keyword_list,
        shuffled,
        copied_post,
        other_summary,
        repeated_sentence,
        one_wrong_fact,
        several_wrong_facts,
        one_fact_missing,
        distractor_added,
        empty,
    )
}
"""Every corruption by name."""


def _wrong_facts(post: Post, summary: str, rng: random.Random, most: int) -> str:
    stated = _stated_slots(post, summary)
    if not stated:
        summary = oracle(post)
        stated = _stated_slots(post, summary)
    for slot in rng.sample(stated, min(most, len(stated))):
        if _said(post, slot).lower() in summary.lower():  # an earlier replacement may have overlapped
            summary = _replace(summary, _said(post, slot), wrong_value(post.draft, slot, rng.random))
    return summary


def _said(post: Post, slot: str) -> str:
    return post.draft.wording["past" if slot == "event" else slot]


def _synonyms(post: Post, slot: str) -> list[str]:
    """Other wordings of a fact; an event's are verbs in several tenses and are left alone."""
    if slot == "event":
        return []
    return [phrase for phrase in VALUES[slot][getattr(post.facts, slot)].phrases if phrase != _said(post, slot)]


def _stated_slots(post: Post, summary: str) -> list[str]:
    return [slot for slot in SLOTS if _said(post, slot).lower() in summary.lower()]


def _replace(text: str, old: str, new: str) -> str:
    """`old` replaced once, wherever it is and however it is capitalized."""
    start = text.lower().index(old.lower())
    new = new[0].upper() + new[1:] if text[start].isupper() else new
    return text[:start] + new + text[start + len(old) :]
