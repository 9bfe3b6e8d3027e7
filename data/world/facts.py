"""What a post is about: one value for each of seven slots, and how a value is said in words.

This module has no vocabulary; `lexicon` supplies it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import astuple, dataclass, fields

SLOTS = ("who", "event", "thing", "place", "time", "feeling", "question")
"""The slots of a post, in the order of a plain sentence."""

_WORD = re.compile(r"[a-z0-9]+(?:['-][a-z0-9]+)*")


def words(text: str) -> list[str]:
    """The lower-case words of a text, without punctuation; hyphens and apostrophes inside a word stay.

    >>> words("My mother-in-law didn't pay!")
    ['my', 'mother-in-law', "didn't", 'pay']
    """
    return _WORD.findall(text.lower())


@dataclass(frozen=True)
class Facts:
    """The canonical key of each slot's value. Keys are those of `lexicon.VALUES[slot]`."""

    who: str
    event: str
    thing: str
    place: str
    time: str
    feeling: str
    question: str

    def as_dict(self) -> dict[str, str]:
        """Slot -> key."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def from_dict(cls, values: Mapping[str, str]) -> Facts:
        """The inverse of `as_dict`; KeyError if a slot is missing."""
        return cls(**{slot: values[slot] for slot in SLOTS})

    def pairs(self) -> tuple[tuple[str, str], ...]:
        """The facts as (slot, key), in the order of `SLOTS`."""
        return tuple(zip(SLOTS, astuple(self), strict=True))


@dataclass(frozen=True)
class Value:
    """One value of a slot.

    forms: every wording that states this value, lower case and without article or preposition, the plain one first.
    phrases: the wordings as used in a sentence ("in the library", "my laptop", "broke"), the plain one first.
    inflections: for events, one (past, participle, gerund) for each phrase; empty elsewhere.
    """

    key: str
    forms: tuple[str, ...]
    phrases: tuple[str, ...]
    inflections: tuple[tuple[str, str, str], ...] = ()
