"""Summaries: the complete one (`oracle`), the author's own (`write_reference`), and any set of slots (`render`).

References fall short systematically. Most leave out the question, others tell the background instead of the point, so
that the most likely summary of most posts has a fault: imitating references, however well, does not fix that.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from .drafts import Draft, pick_other, stable_hash
from .facts import SLOTS, words
from .grammar import Choice, Draw, compile_rule, expand, tidy
from .lexicon import HOW_QUESTIONS, VALUES

if TYPE_CHECKING:
    from .posts import Post

MAX_ORACLE_WORDS = 32

FAULTS = ("none", "detail", "no_question", "middle", "wrong_fact", "ramble")
"""Names of what is wrong with a reference: nothing; place, time or feeling left out; the question left out; the middle
of the story told instead of the point; one fact wrong; rambling, with things beside the point and no question."""

_FEEL_FIRST = "I feel <feeling> because <who> <past> <thing> <place> <time>. [question]"
_TIME_FIRST = "<time> <who> <past> <thing> <place> and I feel <feeling>. [question]"
_WHO_FIRST = "<who> <past> <thing> <place> <time>{ and|, and now} I feel <feeling>. [question]"
_QUESTION_FIRST = "[ask] {now that|after} <who> <past> <thing> <place> <time>? I feel <feeling>."
# Few begin with the person: that beginning belongs to the summaries that leave out the question.
_COMPLETE = (*[_FEEL_FIRST] * 3, *[_TIME_FIRST] * 3, _WHO_FIRST, _QUESTION_FIRST)
_ASK = {"should": ("should I <question>", "is it right to <question>"), "how": ("how do I <question>",)}
_QUESTION = {
    "should": (
        "should I <question>?",
        "should I <question>?",
        "is it right to <question>?",
        "I wonder if I should <question>.",
    ),
    "how": (
        "how do I <question>?",
        "how do I <question>?",
        "what is the best way to <question>?",
        "I wonder how to <question>.",
    ),
}

_NO_QUESTION = (
    *["<who> <past> <thing> and I feel <feeling>."] * 5,
    "<who> <past> <thing>, and now I feel <feeling>.",
    "<who> <past> <thing> <time> and I feel <feeling>.",
    "<who> <past> <thing> <place> and I feel <feeling>.",
    "I feel <feeling> because <who> <past> <thing>.",
)
# What is told instead of, or besides, the point; each line needs the asides that it names.
_MIDDLE = {
    "who2": (
        "<who> and I were <place> <time> with <who2>, and I feel <feeling>.",
        "There is trouble with <who> and <who2>, and I feel <feeling>.",
        "<who2> is part of my life, and <who> and I were <place> <time>.",
    ),
    "thing2": (
        "<who> and I were <place> <time>, and then there is <thing2>.",
        "I feel <feeling> because of <who>, and there is <thing2> to think of as well.",
    ),
    "question2": ("<who2> says I should <question2>, and I feel <feeling> about <who>.",),
}
_RAMBLE = {
    "who2": (
        "It is a long story with <who2> in it, but <who> <past> <thing> <place> <time>, "
        "and I think about that a lot and I feel <feeling>.",
        "There is a lot more to say, and <who2> was around too, but <who> <past> <thing> <place> <time>, "
        "and in the end I feel <feeling>.",
    ),
    "thing2": (
        "It is a long story with <thing2> in it, but <who> <past> <thing> <place> <time>, "
        "and I think about that a lot and I feel <feeling>.",
    ),
}

_FAULT_WEIGHTS: dict[str, tuple[float, ...]] = {  # in the order of FAULTS
    "casual": (27, 3, 42, 13, 8, 8),
    "plain": (34, 4, 41, 8, 8, 6),
    "formal": (36, 4, 42, 7, 8, 4),
    "anxious": (25, 3, 27, 28, 8, 10),
    "angry": (28, 3, 48, 10, 7, 5),
    "wry": (26, 2, 22, 36, 8, 7),
}
_TOPIC_FACTOR: dict[str, dict[str, float]] = {
    "family": {"middle": 1.6},
    "dating": {"middle": 1.4, "none": 0.9},
    "work": {"none": 1.1},
    "money": {"no_question": 1.2},
    "travel": {"ramble": 1.8},
    "pets": {"no_question": 1.3, "none": 0.9},
    "friends": {"wrong_fact": 1.3},
}


def _compiled(templates: tuple[str, ...], **rules: tuple[str, ...]) -> Choice:
    return compile_rule(templates, rules)


_KINDS = ("should", "how")
_COMPLETE_BY_KIND = {kind: _compiled(_COMPLETE, question=_QUESTION[kind], ask=_ASK[kind]) for kind in _KINDS}
_QUESTION_BY_KIND = {kind: _compiled(_QUESTION[kind]) for kind in _KINDS}
_INCOMPLETE = _compiled(_NO_QUESTION)
_BESIDE = {
    fault: {aside: _compiled(templates) for aside, templates in table.items()}
    for fault, table in (("middle", _MIDDLE), ("ramble", _RAMBLE))
}


def _kind(question: str) -> str:
    return "how" if question in HOW_QUESTIONS else "should"


def complete(draft: Draft, draw: Draw, **other: str) -> str:
    """A summary with every fact; `other` replaces the wording of some."""
    return tidy(expand(_COMPLETE_BY_KIND[_kind(draft.facts.question)], draw, {**draft.wording, **other}))


def oracle(post: Post) -> str:
    """A complete, fluent summary of at most 32 words in the post's own words; always the same for the same post."""
    draw = random.Random(stable_hash("oracle", post.split, post.index)).random
    while len(words(text := complete(post.draft, draw))) > MAX_ORACLE_WORDS:
        pass
    return text


def render(draft: Draft, slots: Collection[str], draw: Draw) -> str:
    """A fluent summary that states exactly these slots, in the post's own words."""
    say = draft.wording
    subject = say["who"] if "who" in slots else "someone"
    if "event" in slots:
        clause = f"{subject} {say['past']} {say['thing'] if 'thing' in slots else 'something'}"
    elif "thing" in slots:
        clause = f"there was trouble with {subject} over {say['thing']}"
    else:
        clause = f"there was trouble with {subject}"
    where_when = [say[slot] for slot in ("place", "time") if slot in slots]
    feeling = [f"and I feel {say['feeling']}"] if "feeling" in slots else []
    text = " ".join([clause, *where_when, *feeling]) + "."
    if "question" in slots:
        text += " " + expand(_QUESTION_BY_KIND[_kind(draft.facts.question)], draw, say)
    return tidy(text)


def plausible(draft: Draft, slot: str) -> tuple[str, ...]:
    """The keys of the values that would have made sense here, including the true one."""
    options = {
        "who": draft.situation.who_keys,
        "event": draft.situation.event_keys,
        "thing": draft.situation.thing_keys,
        "place": draft.topic.places_of(draft.situation),
        "question": tuple(key for key in draft.situation.question_keys if _kind(key) == _kind(draft.facts.question)),
    }.get(slot)
    return options or tuple(VALUES[slot])


def wrong_value(draft: Draft, slot: str, draw: Draw) -> str:
    """The plain wording of another value that would have made sense here; for an event, its past tense."""
    own, options = getattr(draft.facts, slot), plausible(draft, slot)
    if set(options) == {own}:
        options = tuple(VALUES[slot])
    return VALUES[slot][pick_other(options, own, draw)].phrases[0]


def write_reference(draft: Draft, asides: Collection[str], draw: Draw) -> tuple[str, str]:
    """The author's own summary and its fault; `asides` names the asides that the post actually mentions."""
    fault = _draw_fault(draft, draw)
    if fault == "none":
        return complete(draft, draw), fault
    if fault == "detail":
        missing = ("place", "time", "feeling")[int(draw() * 3)]
        return render(draft, set(SLOTS) - {missing}, draw), fault
    if fault == "no_question":
        return tidy(expand(_INCOMPLETE, draw, draft.wording)), fault
    if fault == "wrong_fact":
        slot = ("who", "thing", "thing", "place", "time", "event")[int(draw() * 6)]
        return complete(draft, draw, **{"past" if slot == "event" else slot: wrong_value(draft, slot, draw)}), fault
    return _beside_the_point(fault, draft, asides, draw), fault


def _beside_the_point(fault: str, draft: Draft, asides: Collection[str], draw: Draw) -> str:
    table = _BESIDE[fault]
    usable = [name for name in table if name in asides and (name != "question2" or "who2" in asides)]
    return tidy(expand(table[usable[int(draw() * len(usable))]], draw, draft.wording))


def _draw_fault(draft: Draft, draw: Draw) -> str:
    factor: Mapping[str, float] = _TOPIC_FACTOR.get(draft.topic.name, {})
    weights = [
        weight * factor.get(fault, 1.0) for fault, weight in zip(FAULTS, _FAULT_WEIGHTS[draft.register], strict=True)
    ]
    left = draw() * sum(weights)
    for fault, weight in zip(FAULTS, weights, strict=True):
        left -= weight
        if left < 0:
            return fault
    return FAULTS[-1]
