"""Families whose answer is written, sorted or weighed: sentences, titles, endings, order, counts, mood and topic."""

from __future__ import annotations

import re

from .facts import SLOTS
from .grammar import Draw, compile_rule, expand, tidy
from .lexicon import HOW_QUESTIONS, VALUES
from .mentions import mentions
from .posts import Post
from .summaries import render
from .task import Family, Task, either, one_of, shuffled, wordings
from .topic import keys
from .topics import TOPICS

_SPOKEN_TO = {"my": "your", "our": "your", "me": "you"}
_OWN = re.compile(r"\b(?:my|our|me)\b", re.IGNORECASE)
_NAMED = ("who", "thing", "place", "time")  # what a post names in its own words, and once
_NUMBERS = ("none", "one", "two", "three")

_MOODS = {
    "anger": "furious, angry, upset, offended, frustrated, annoyed, resentful, betrayed, disrespected, jealous, "
    "taken advantage of, fed up",
    "sadness": "hurt, disappointed, heartbroken, sad, lonely, overlooked, miserable, hopeless, unappreciated",
    "fear": "anxious, nervous, worried, helpless, suspicious, uneasy, scared, stressed, paranoid, vulnerable, restless",
    "shame": "humiliated, embarrassed, guilty, ashamed, foolish, awkward",
    "tiredness": "exhausted, overwhelmed, stuck, numb, drained",
    "doubt": "confused, pulled both ways, shocked, bewildered, skeptical, conflicted",
}
MOOD_OF = {feeling: mood for mood, feelings in _MOODS.items() for feeling in keys(feelings)}
"""The mood that each feeling belongs to."""

_ENDINGS = compile_rule(
    (
        "In the end <who> {said sorry|owned up to everything|made up for it}, and {we laugh about <thing> now"
        "|I stopped worrying about <thing>|<thing> is a family joke}.",
        "{A year later|One rainy day} <who> {came back with a gift|wrote me a long letter|rang at my door}, and I "
        "{could let <thing> go|forgave them|felt light again}.",
        "So I {took a deep breath|slept on it|counted to ten}, {met <who> <place>|called <who>}, and {we made peace"
        "|we talked it all out|all was well again}.",
    ),
    {},
)


def _event(post: Post, draw: Draw) -> Task:
    instruction = one_of(draw, "What happened?", "Say in a few words what happened.", "What went wrong?")
    return Task(instruction, (_what_happened(post),))


def _what_happened(post: Post) -> str:
    say = post.draft.wording
    return tidy(f"{say['who']} {say['past']} {say['thing']}.")


def _tell_back(post: Post, draw: Draw) -> Task:
    """The event, told to the post's writer."""
    told = _OWN.sub(lambda match: _SPOKEN_TO[match.group().lower()], _what_happened(post))
    instruction = one_of(
        draw, "Tell the writer what happened.", "Say to the writer what happened.", "Tell what happened, using your."
    )
    return Task(instruction, (tidy(told),))


def _third_person(post: Post, draw: Draw) -> Task:
    feeling = post.draft.wording["feeling"]
    instruction = one_of(
        draw, f"Rewrite in the third person: I feel {feeling}.", "Say in a sentence how the writer feels."
    )
    return Task(instruction, (f"The writer feels {feeling}.",))


def _question(post: Post, draw: Draw) -> Task:
    ask = "How do I" if post.facts.question in HOW_QUESTIONS else "Should I"
    instruction = one_of(draw, "What does the writer ask?", "Write down the question of the writer.")
    return Task(instruction, tuple(f"{ask} {wording}?" for wording in wordings(post, "question")))


def _title(post: Post, draw: Draw) -> Task:
    who, thing = (post.draft.wording[slot] for slot in ("who", "thing"))
    instruction = one_of(draw, "Write a title for this post.", "Give this post a short title.")
    return Task(instruction, (tidy(f"{who} and {thing}"),))


def _summary(post: Post, draw: Draw) -> Task:
    instruction = one_of(draw, "Summarise the post in one sentence.", "What is the story, in one sentence?")
    return Task(instruction, (render(post.draft, set(SLOTS) - {"question"}, draw),))


def _ending(post: Post, draw: Draw) -> Task:
    """The open-ended one: nothing in the post says how it ends, and many endings are as good as each other."""
    instruction = one_of(
        draw, "Make up an ending for this story.", "Invent how the story ends.", "Write a happy ending."
    )
    endings = (tidy(expand(_ENDINGS, draw, post.draft.wording)) for _ in range(8))
    return Task(instruction, tuple(dict.fromkeys(endings)))


def _among_three(post: Post, right: str, others: list[str], draw: Draw, *instructions: str) -> Task:
    """A choice of one out of three, inserted for `{}` in the instruction."""
    options = tuple(shuffled([right, *shuffled(others, draw)[:2]], draw))
    return Task(one_of(draw, *instructions).format(either(options)), (right,), options)


def _sentiment(post: Post, draw: Draw) -> Task:
    right = MOOD_OF[post.facts.feeling]
    others = [mood for mood in _MOODS if mood != right]
    return _among_three(post, right, others, draw, "What is the mood of the post, {}?", "Choose the mood: {}.")


def _topic(post: Post, draw: Draw) -> Task:
    others = [topic.name for topic in TOPICS if topic.name != post.topic]
    return _among_three(post, post.topic, others, draw, "What is the post about, {}?", "Choose the topic: {}.")


def _first(post: Post, draw: Draw) -> Task:
    ordered = _in_order(post, shuffled(_NAMED, draw)[:2])
    options = tuple(shuffled(ordered, draw))
    instruction = one_of(draw, "Which comes first in the post, {}?", "Choose what is named first: {}.")
    return Task(instruction.format(either(options)), (ordered[0],), options)


def _order(post: Post, draw: Draw) -> Task:
    ordered = _in_order(post, shuffled(_NAMED, draw)[:3])
    instruction = one_of(draw, "Put in the order of the post: {}.", "Name in the order in which they occur: {}.")
    return Task(instruction.format(", ".join(shuffled(ordered, draw))), (", ".join(ordered),))


def _in_order(post: Post, slots: list[str]) -> list[str]:
    """The facts of these slots in the post's words, as they first occur in it."""
    stated = mentions(post.text)
    slots = sorted(slots, key=lambda slot: stated.index((slot, getattr(post.facts, slot))))
    return [post.draft.wording[slot] for slot in slots]


def _count(post: Post, draw: Draw) -> Task:
    """How many out of three things, people and places occur: each number a quarter of the time."""
    stated = {*post.facts.pairs(), *post.distractors}
    values = [(slot, key) for slot in ("who", "thing", "place") for key in VALUES[slot]]
    number = int(draw() * 4)
    there = shuffled([value for value in values if value in stated], draw)[:number]
    missing = shuffled([value for value in values if value not in stated], draw)[: 3 - number]
    named = ", ".join(_said(post, slot, key) for slot, key in shuffled([*there, *missing], draw))
    instruction = one_of(draw, f"How many of these does the post mention: {named}?", f"Count what occurs: {named}.")
    return Task(instruction, (_NUMBERS[number], str(number)), _NUMBERS)


def _said(post: Post, slot: str, key: str) -> str:
    """The post's wording of its own facts, the plain one of other values."""
    return post.draft.wording[slot] if getattr(post.facts, slot) == key else VALUES[slot][key].phrases[0]


TEXT_FAMILIES: dict[str, Family] = {
    "event": _event,
    "tell_back": _tell_back,
    "third_person": _third_person,
    "question": _question,
    "title": _title,
    "summary": _summary,
    "ending": _ending,
    "sentiment": _sentiment,
    "topic": _topic,
    "first": _first,
    "order": _order,
    "count": _count,
}
"""Every family of this kind by its name."""
