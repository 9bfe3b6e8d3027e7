"""Families whose answer is one fact or two: a plain question, a choice of two, yes or no, a gap to fill.

Each way of asking goes with each fact. A model that knows a way from some facts, and the fact from other ways, has seen
everything that their combination needs; `instructions.UNSEEN` holds such combinations out.
"""

from __future__ import annotations

from itertools import product

from .grammar import Draw, tidy
from .posts import Post
from .summaries import wrong_value
from .task import Family, Task, choices, either, one_of, shuffled, wordings, wrong_ones

_QUESTION = {
    "who": "Who caused the trouble?",
    "thing": "What is the trouble over?",
    "place": "Where did it happen?",
    "time": "When did it happen?",
    "feeling": "How does the writer feel?",
}
_CLAUSE = {
    "who": "who caused the trouble",
    "thing": "what the trouble is over",
    "place": "where it happened",
    "time": "when it happened",
    "feeling": "how the writer feels",
}
_NOUN = {
    "who": "the person at fault",
    "thing": "the thing that the trouble is over",
    "place": "the place where it happened",
    "time": "the time when it happened",
    "feeling": "the feeling of the writer",
}
_TO_VERIFY = {
    "who": "did {} cause the trouble?",
    "thing": "is the trouble over {}?",
    "place": "did it happen {}?",
    "time": "did it happen {}?",
    "feeling": "does the writer feel {}?",
}
_WITH_GAP = {
    "who": "___ {past} {thing}.",
    "event": "{who} ___ {thing}.",
    "thing": "{who} {past} ___.",
    "feeling": "The writer feels ___.",
}


def _ask(slot: str) -> Family:
    def family(post: Post, draw: Draw) -> Task:
        instruction = one_of(draw, _QUESTION[slot], f"Say {_CLAUSE[slot]}.", f"Name {_NOUN[slot]}.")
        return Task(instruction, wordings(post, slot), choices(post, slot, 4, draw))

    return family


def _choose(slot: str) -> Family:
    """A choice between the fact and another value, both named in the instruction."""

    def family(post: Post, draw: Draw) -> Task:
        options = choices(post, slot, 2, draw)
        named = either(options)
        question = f"{_QUESTION[slot][:-1]}, {named}?"
        instruction = one_of(draw, question, f"Say {_CLAUSE[slot]}: {named}.", f"Choose {_NOUN[slot]}: {named}.")
        return Task(instruction, (post.draft.wording[slot],), options)

    return family


def _yes_no(slot: str) -> Family:
    """Whether a value is the fact, which it is half of the time."""

    def family(post: Post, draw: Draw) -> Task:
        right = draw() < 0.5
        value = post.draft.wording[slot] if right else wrong_value(post.draft, slot, draw)
        question = _TO_VERIFY[slot].format(value)
        instruction = one_of(
            draw, f"{tidy(question)} Answer yes or no.", f"Yes or no: {question}", f"Answer yes or no: {question}"
        )
        return Task(instruction, ("yes" if right else "no",), ("yes", "no"))

    return family


def _gap(slot: str) -> Family:
    def family(post: Post, draw: Draw) -> Task:
        sentence = tidy(_WITH_GAP[slot].format(**post.draft.wording))
        instruction = one_of(
            draw,
            f"Fill in the blank: {sentence}",
            f"Complete the sentence: {sentence}",
            f"What belongs in the blank? {sentence}",
        )
        return Task(instruction, wordings(post, slot), choices(post, slot, 4, draw))

    return family


def _two(first: str, second: str) -> Family:
    """Two facts in the order asked for; wrong options have one or both wrong."""

    def family(post: Post, draw: Draw) -> Task:
        instruction = one_of(
            draw,
            f"{_QUESTION[first]} {_QUESTION[second]}",
            f"Say {_CLAUSE[first]} and {_CLAUSE[second]}.",
            f"Name {_NOUN[first]} and {_NOUN[second]}.",
        )
        answers = product(wordings(post, first), wordings(post, second))
        given = ([post.draft.wording[slot], *wrong_ones(post, slot, 1, draw)] for slot in (first, second))
        options = shuffled([", ".join(pair) for pair in product(*given)], draw)
        return Task(instruction, tuple(", ".join(pair) for pair in answers), tuple(options))

    return family


FACT_FAMILIES: dict[str, Family] = {
    "who": _ask("who"),
    "thing": _ask("thing"),
    "where": _ask("place"),
    "when": _ask("time"),
    "feeling": _ask("feeling"),
    "choose_who": _choose("who"),
    "choose_thing": _choose("thing"),
    "choose_place": _choose("place"),
    "choose_time": _choose("time"),
    "choose_feeling": _choose("feeling"),
    "yes_no_who": _yes_no("who"),
    "yes_no_thing": _yes_no("thing"),
    "yes_no_place": _yes_no("place"),
    "yes_no_time": _yes_no("time"),
    "yes_no_feeling": _yes_no("feeling"),
    "gap_who": _gap("who"),
    "gap_event": _gap("event"),
    "gap_thing": _gap("thing"),
    "gap_feeling": _gap("feeling"),
    "who_thing": _two("who", "thing"),
    "who_feeling": _two("who", "feeling"),
    "who_where": _two("who", "place"),
    "thing_where": _two("thing", "place"),
    "where_when": _two("place", "time"),
    "when_feeling": _two("time", "feeling"),
}
"""Every family of this kind by its name."""
