"""What is decided about a post before it is worded: topic, register, facts, and side issues.

Held-out splits contain combinations of (who, event, thing) that never occur in "train"; a stable hash of the
combination decides.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .facts import Facts
from .fillers import FILLERS
from .grammar import Draw
from .lexicon import HOW_QUESTIONS, VALUES
from .registers import REGISTERS
from .topic import Situation, Topic, keys
from .topics import TOPICS

SPLITS = ("train", "validation", "test")
_HELD_OUT_PERCENT = {"validation": 5, "test": 5}

_REGISTERS = tuple(REGISTERS)
_FEELINGS, _TIMES = tuple(VALUES["feeling"]), tuple(VALUES["time"])
_NICKNAMES = tuple(FILLERS["nickname"])
_GROUPS = frozenset(
    (
        "homeowners_association",
        "book_club",
        "study_group",
        "moving_company",
        "airline",
        "credit_union",
        "insurance_company",
    )
)
_LEISURE = keys(
    "library, gym, pool, beach, lake, woods, dog park, farmers market, mall, coffee shop, museum, zoo, "
    "church, bowling alley, playground, flea market, community center, balcony, porch, backyard, roof, brewery, pub, "
    "movie theater, barn, pet store"
)
_SEASONS = ("last_spring", "last_summer", "last_fall", "last_winter")
_LONG_PAST = tuple(key for key in _TIMES if key.startswith("in_") or key in _SEASONS)


def stable_hash(*parts: object) -> int:
    """A 64-bit integer that depends only on the parts, not on the process."""
    text = "|".join(map(str, parts))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def split_of(who: str, event: str, thing: str) -> str:
    """The split that a combination of facts belongs to."""
    bucket = stable_hash("combination", who, event, thing) % 100
    for split, percent in _HELD_OUT_PERCENT.items():
        if bucket < percent:
            return split
        bucket -= percent
    return "train"


@dataclass(frozen=True)
class Draft:
    """A post before it is worded.

    asides: name ("who2", "thing2", "place2", "time2", "question2") -> (slot, key) of what may be mentioned beside the
        point.
    wording: the phrase chosen for each slot and each aside; "past", "participle" and "gerund" are those of the event.
    """

    topic: Topic
    situation: Situation
    register: str
    facts: Facts
    asides: Mapping[str, tuple[str, str]]
    wording: Mapping[str, str]


def pick(options: Sequence[str], draw: Draw) -> str:
    """One of the options, each as likely as the others."""
    return options[int(draw() * len(options))]


def pick_other(options: Sequence[str], taken: str, draw: Draw) -> str:
    """One of the options that is not `taken`; there must be another one."""
    while (choice := pick(options, draw)) == taken:
        pass
    return choice


def draft(split: str, draw: Draw) -> Draft:
    """A draft whose combination of (who, event, thing) belongs to `split`."""
    while True:
        topic = TOPICS[int(draw() * len(TOPICS))]
        situation = topic.situations[int(draw() * len(topic.situations))]
        who, event = pick(situation.who_keys, draw), pick(situation.event_keys, draw)
        thing = pick(situation.thing_keys, draw)
        if split_of(who, event, thing) == split:
            break
    place, time = pick(topic.places_of(situation), draw), pick(_TIMES, draw)
    facts = Facts(who, event, thing, place, time, pick(_FEELINGS, draw), pick(situation.question_keys, draw))
    asides = _asides(topic, situation, facts, draw)
    return Draft(topic, situation, pick(_REGISTERS, draw), facts, asides, _wording(facts, asides, draw))


def _asides(topic: Topic, situation: Situation, facts: Facts, draw: Draw) -> dict[str, tuple[str, str]]:
    advisable = [key for key in situation.question_keys if key not in HOW_QUESTIONS]
    return {
        "who2": ("who", pick_other(topic.bystander_keys, facts.who, draw)),
        "thing2": ("thing", pick_other(topic.thing_keys, facts.thing, draw)),
        "place2": ("place", pick_other(_LEISURE, facts.place, draw)),
        "time2": ("time", pick_other(_LONG_PAST, facts.time, draw)),
        "question2": ("question", pick_other(advisable, facts.question, draw)),
    }


def _wording(facts: Facts, asides: Mapping[str, tuple[str, str]], draw: Draw) -> dict[str, str]:
    """A phrase for every fact and aside: the plain wording at least five times out of six."""
    wording = {}
    for name, slot, key in (
        *((slot, slot, key) for slot, key in facts.pairs()),
        *((name, slot, key) for name, (slot, key) in asides.items()),
    ):
        value = VALUES[slot][key]
        which = 0 if draw() < 2 / 3 else int(draw() * len(value.phrases))
        wording[name] = value.phrases[which]
        if slot == "who":
            wording[f"named_{name}"] = value.phrases[which] + (
                f", {pick(_NICKNAMES, draw)}," if key not in _GROUPS else ""
            )
        if slot == "event":
            wording["past"], wording["participle"], wording["gerund"] = value.inflections[which]
    return wording
