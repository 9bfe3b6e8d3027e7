"""Finding which values of the vocabulary a text states, and blanking them.

A longer wording hides the shorter ones inside it ("vet bill" does not mention the vet): at each word the longest
wording that starts there is taken, and the search continues after it.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterator

from .facts import words
from .lexicon import VALUES

_TOKEN = re.compile(r"[a-zA-Z0-9]+(?:['-][a-zA-Z0-9]+)*")


def _index() -> dict[str, list[tuple[tuple[str, ...], str, str]]]:
    """First word -> (all words, slot, key) of each wording, the longest first."""
    index: dict[str, list[tuple[tuple[str, ...], str, str]]] = {}
    for slot, table in VALUES.items():
        for key, value in table.items():
            for form in value.forms:
                parts = tuple(words(form))
                index.setdefault(parts[0], []).append((parts, slot, key))
    for entries in index.values():
        entries.sort(key=lambda entry: -len(entry[0]))
    return index


_INDEX = _index()


def _spans(tokens: list[str]) -> Iterator[tuple[int, int, str, str]]:
    """Each mention as (first word, one past the last word, slot, key), in reading order."""
    position, count = 0, len(tokens)
    while position < count:
        for parts, slot, key in _INDEX.get(tokens[position], ()):
            end = position + len(parts)
            if end <= count and tuple(tokens[position:end]) == parts:
                yield position, end, slot, key
                position = end
                break
        else:
            position += 1


def mentions(text: str) -> list[tuple[str, str]]:
    """Every (slot, key) the text states, in reading order, repetitions included.

    >>> mentions("My roommate broke my laptop last Tuesday.")
    [('who', 'roommate'), ('event', 'broke'), ('thing', 'laptop'), ('time', 'last_tuesday')]
    """
    return [(slot, key) for _, _, slot, key in _spans(words(text))]


def blank_values(text: str, only: Container[tuple[str, str]] | None = None) -> str:
    """The text with each stated value (of `only`, if given) replaced by its slot name in angle brackets.

    >>> blank_values("My roommate broke my laptop!")
    'My <who> <event> my <thing>!'
    """
    tokens = list(_TOKEN.finditer(text))
    pieces, done = [], 0
    for first, end, slot, key in _spans([token.group().lower() for token in tokens]):
        if only is None or (slot, key) in only:
            pieces += [text[done : tokens[first].start()], f"<{slot}>"]
            done = tokens[end - 1].end()
    return "".join(pieces) + text[done:]
