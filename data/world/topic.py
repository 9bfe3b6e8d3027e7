"""A topic: who may do what to what, where, and which questions make sense then."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from .troubles import QUESTIONS

_ONLINE = frozenset(("video_call", "group_chat", "social_media"))
_TALK = frozenset(("secret", "lie", "cancel", "credit", "idea", "refuse", "denial", "owed", "charge", "scorn"))
"""Kinds of trouble made of words alone, which may happen online."""


def keys(listing: str) -> tuple[str, ...]:
    """The keys of a comma-separated list of wordings, each once: "vet bill, dog" -> ("vet_bill", "dog")."""
    return tuple(dict.fromkeys(name.strip().replace(" ", "_") for name in listing.split(",") if name.strip()))


@dataclass(frozen=True)
class Situation:
    """Every `who` may do every event to every thing, and every question then makes sense."""

    kind: str
    who: str
    events: str
    things: str
    questions: str = ""
    places: str = ""

    @cached_property
    def who_keys(self) -> tuple[str, ...]:
        """Who may do it."""
        return keys(self.who)

    @cached_property
    def event_keys(self) -> tuple[str, ...]:
        """What may be done."""
        return keys(self.events)

    @cached_property
    def thing_keys(self) -> tuple[str, ...]:
        """The things concerned."""
        return keys(self.things)

    @cached_property
    def place_keys(self) -> tuple[str, ...]:
        """The places listed."""
        return keys(self.places)

    @cached_property
    def question_keys(self) -> tuple[str, ...]:
        """The questions of this kind of trouble and the situation's own."""
        return keys(f"{QUESTIONS[self.kind]}, {self.questions}".lower())


@dataclass(frozen=True)
class Topic:
    """A setting: `bystanders`, `things` and `places` may be mentioned beside the point, `background` sets the scene."""

    name: str
    bystanders: str
    things: str
    places: str
    situations: tuple[Situation, ...]
    background: tuple[str, ...]

    @cached_property
    def bystander_keys(self) -> tuple[str, ...]:
        """Who may stand by."""
        return keys(self.bystanders)

    @cached_property
    def thing_keys(self) -> tuple[str, ...]:
        """The things concerned."""
        return keys(self.things)

    def places_of(self, situation: Situation) -> tuple[str, ...]:
        """Where the situation may occur: its own places, or those of the topic that fit its kind."""
        return self._places[situation]

    @cached_property
    def real_place_keys(self) -> tuple[str, ...]:
        """The places where one can be in person."""
        return tuple(place for place in self.place_keys if place not in _ONLINE)

    @cached_property
    def _places(self) -> dict[Situation, tuple[str, ...]]:
        return {
            situation: situation.place_keys or (self.place_keys if situation.kind in _TALK else self.real_place_keys)
            for situation in self.situations
        }

    @cached_property
    def place_keys(self) -> tuple[str, ...]:
        """The places listed."""
        return keys(self.places)
