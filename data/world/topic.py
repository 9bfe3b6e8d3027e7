"""A topic: who may do what to what, where, and which questions make sense then."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from .troubles import QUESTIONS


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

    @cached_property
    def who_keys(self) -> tuple[str, ...]:
        return keys(self.who)

    @cached_property
    def event_keys(self) -> tuple[str, ...]:
        return keys(self.events)

    @cached_property
    def thing_keys(self) -> tuple[str, ...]:
        return keys(self.things)

    @cached_property
    def question_keys(self) -> tuple[str, ...]:
        """The questions of this kind of trouble and the situation's own."""
        return keys(f"{QUESTIONS[self.kind]}, {self.questions}".lower())


@dataclass(frozen=True)
class Topic:
    """`who`, `things` and `places` are also what may be mentioned beside the point; `background` sets the scene."""

    name: str
    who: str
    things: str
    places: str
    situations: tuple[Situation, ...]
    background: tuple[str, ...]

    @cached_property
    def who_keys(self) -> tuple[str, ...]:
        return keys(self.who)

    @cached_property
    def thing_keys(self) -> tuple[str, ...]:
        return keys(self.things)

    @cached_property
    def place_keys(self) -> tuple[str, ...]:
        return keys(self.places)
