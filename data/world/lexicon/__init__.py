"""The vocabulary of facts: `VALUES[slot][key]` is a `Value` with every wording that states it."""

from __future__ import annotations

import re

from ..facts import Value, words
from .events import EVENTS
from .feelings import FEELINGS
from .places import PLACES
from .questions import HOW, SHOULD
from .things import THINGS
from .times import TIMES
from .who import WHO

_FUNCTION_WORDS = re.compile(r"^(?:(?:in|at|on|behind|by|my|our|their|the|a|an) )+")


def _key(form: str) -> str:
    return form.replace(" ", "_")


def _lines(block: str) -> list[list[str]]:
    return [[part.strip() for part in line.split("|")] for line in block.strip().splitlines()]


def _form(phrase: str, bare: bool) -> str:
    """The wording to look for: the phrase in lower case, and if `bare` without what stands before its noun."""
    lower = " ".join(words(phrase))
    return _FUNCTION_WORDS.sub("", lower) if bare else lower


def _table(block: str, *, bare: bool) -> dict[str, Value]:
    values = {}
    for phrases in _lines(block):
        forms = tuple(_form(phrase, bare) for phrase in phrases)
        values[_key(forms[0])] = Value(_key(forms[0]), forms, tuple(phrases))
    return values


def _events(block: str) -> dict[str, Value]:
    values = {}
    for wordings in _lines(block):
        inflections = tuple((past, participle, gerund) for past, participle, gerund in (w.split("/") for w in wordings))
        forms = tuple(dict.fromkeys(form for inflection in inflections for form in inflection))
        key = _key(forms[0])
        values[key] = Value(key, forms, tuple(inflection[0] for inflection in inflections), inflections)
    return values


_SHOULD = _table(SHOULD, bare=False)
_HOW = _table(HOW, bare=False)

HOW_QUESTIONS = frozenset(_HOW)
"""The questions that are asked with "how do I"; all others are asked with "should I"."""

VALUES: dict[str, dict[str, Value]] = {
    "who": _table(WHO, bare=True),
    "event": _events(EVENTS),
    "thing": _table(THINGS, bare=True),
    "place": _table(PLACES, bare=True),
    "time": _table(TIMES, bare=False),
    "feeling": _table(FEELINGS, bare=False),
    "question": {**_SHOULD, **_HOW},
}
