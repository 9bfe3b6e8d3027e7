"""Comparisons of people's summaries with spoilt ones: what everybody would prefer, to begin a preference model with.

A few hundred ratings are too few to teach a small model what it is to be wrong. Before them it learns from summaries of
other dialogues than those that were rated, spoilt by rule (as in Kryscinski et al. 2020, "Evaluating the Factual
Consistency of Abstractive Text Summarization", section 3): other names, another dialogue's sentence or summary, half of
it, words repeated or in disorder.

How a text looks is no fault: people rate summaries in lower case, with spaces before full stops, and lines copied from
the dialogue as high as others. So both sides of a comparison are given a look, each drawn on its own: it then says
nothing about which is better.

Askell et al. 2021 ("A General Language Assistant as a Laboratory for Alignment", section 4) call training on such
comparisons preference model pretraining.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence

NAME = re.compile(r"#Person\d#|\b[A-Z][a-z]+\b")
PEOPLE = (
    "Adam",
    "Anna",
    "Ben",
    "Betty",
    "Carol",
    "Chris",
    "David",
    "Diana",
    "Emma",
    "Eric",
    "Fiona",
    "Frank",
    "George",
    "Grace",
    "Helen",
    "Henry",
    "Ian",
    "Ivy",
    "Jack",
    "Kate",
    "Liam",
    "Mia",
    "Noah",
    "Olivia",
    "Paul",
    "Rose",
    "Sam",
    "Tina",
    "Victor",
    "Wendy",
)
Row = Mapping[str, str]
LOOKS = (*["plain"] * 4, "spaced", "spaced", "lower", "lower", "lines")
"""Looks as often as they are drawn."""


def comparisons(
    rows: Sequence[Row], seed: int = 0, names: bool = True, looks: Sequence[str] = LOOKS
) -> list[dict[str, str]]:
    """A comparison for each row: ``dialogue``, ``better``, ``worse`` and the ``kind`` of fault; rows that allow none
    are left out.

    Args:
        rows: with ``dialogue`` and ``summary``.
        seed: of the choices.
        names: give the anonymous persons of a dialogue names, as people in other data have.
        looks: from which the look of each side is drawn, see :func:`looking`; a look may be there several times.
    """
    draw = random.Random(seed)
    named = [_named(row, draw) if names else row for row in rows]
    found = []
    for place, row in enumerate(named):
        good, bad = draw.choice(looks), draw.choice(looks)
        ours, theirs = (_said(one, bad, draw) for one in (row, named[(place + 1) % len(named)]))
        kinds = sorted(SPOIL)
        draw.shuffle(kinds)
        for kind in kinds:
            worse = SPOIL[kind](ours, theirs, draw)
            if worse and worse != ours["summary"]:
                better = looking(_said(row, good, draw)["summary"], good)
                found.append(
                    {"dialogue": row["dialogue"], "better": better, "worse": looking(worse, bad), "kind": kind}
                )
                break
    return found


def looking(text: str, look: str) -> str:
    """The text with ``spaced`` punctuation, in ``lower`` case too, or (any other look) as it is.

    >>> looking("Tim's late, isn't he?", "lower")
    "tim ' s late , isn ' t he ?"
    """
    if look not in ("spaced", "lower"):
        return text
    spaced = " ".join(re.sub(r"([.,!?;:'])", r" \1 ", text).split())
    return spaced.lower() if look == "lower" else spaced


def _said(row: Row, look: str, draw: random.Random) -> Row:
    """The row with up to three lines of its dialogue as summary, if that is the look."""
    if look != "lines":
        return row
    lines = row["dialogue"].splitlines()
    start = draw.randrange(max(1, len(lines) - 2))
    return {**row, "summary": " ".join(lines[start : start + 3])}


def _named(row: Row, draw: random.Random) -> dict[str, str]:
    """The same row with names in the place of #Person1# and the like."""
    people = iter(draw.sample(PEOPLE, len(PEOPLE)))
    given = {anonymous: next(people) for anonymous in sorted(set(re.findall(r"#Person\d#", row["dialogue"])))}
    return {
        key: re.sub(r"#Person\d#", lambda found: given.get(found.group(), found.group()), row[key])
        for key in ("dialogue", "summary")
    }


def other_names(row: Row, other: Row, draw: random.Random) -> str | None:
    """Two names exchanged, or one replaced by another of the dialogue."""
    known = list(dict.fromkeys(NAME.findall(row["dialogue"])))
    used = [name for name in dict.fromkeys(NAME.findall(row["summary"])) if name in known]
    if not used or len(known) < 2:
        return None
    first = draw.choice(used)
    second = draw.choice([name for name in (used if len(used) > 1 else known) if name != first])
    exchanged = {first: second, second: first}
    return NAME.sub(lambda found: exchanged.get(found.group(), found.group()), row["summary"])


def half(row: Row, other: Row, draw: random.Random) -> str | None:
    """Its first third to two thirds, ended by a full stop."""
    words = row["summary"].split()
    return " ".join(words[: int(len(words) * draw.uniform(0.3, 0.6))]) + "." if len(words) > 8 else None


def a_sentence_more(row: Row, other: Row, draw: random.Random) -> str | None:
    """With a sentence of another dialogue's summary behind it."""
    return f"{row['summary'].rstrip()} {draw.choice(re.split(r'(?<=[.!?]) +', other['summary'].strip()))}"


def two_halves(row: Row, other: Row, draw: random.Random) -> str | None:
    """Its first half, and the second half of another dialogue's summary."""
    ours, theirs = row["summary"].split(), other["summary"].split()
    return " ".join(ours[: len(ours) // 2] + theirs[len(theirs) // 2 :]) if min(len(ours), len(theirs)) > 6 else None


def broken(row: Row, other: Row, draw: random.Random) -> str | None:
    """A few words repeated, every third one missing, or some in disorder."""
    words = row["summary"].split()
    if len(words) < 8:
        return None
    start = draw.randrange(len(words) - 4)
    middle = words[start : start + 6]
    draw.shuffle(middle)
    ways = [
        [*words[: start + 4], *words[start:]],
        [word for place, word in enumerate(words) if place % 3 != start % 3],
        [*words[:start], *middle, *words[start + 6 :]],
    ]
    return " ".join(draw.choice(ways))


def another(row: Row, other: Row, draw: random.Random) -> str | None:
    """Another dialogue's summary."""
    return other["summary"]


SPOIL: dict[str, Callable[[Row, Row, random.Random], str | None]] = {
    "other names": other_names,
    "half": half,
    "a sentence more": a_sentence_more,
    "two halves": two_halves,
    "broken": broken,
    "another summary": another,
}
