"""What a text must be to be tokenised and written: Unicode characters, each of them whole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

DEEPEST = 100
"""Levels of values in values that data may have; what follows a value to its end must not run out of stack."""


def half_character(text: str) -> str | None:
    r"""The first half of a character in a text, as an escape; None where all are whole.

    Characters beyond U+FFFF are pairs in UTF-16. A program that cuts texts there leaves half a pair, which no encoding
    can write and no tokenizer reads.

    >>> half_character("whole 😀"), half_character("cut \ud83d")
    (None, '\\ud83d')
    """
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        return f"\\u{ord(text[error.start]):04x}"
    return None


def printable(text: object) -> str:
    r"""A name for an error message: what no terminal can show stands as an escape.

    >>> printable("r\ud83dw\x1b[1m")
    'r\\ud83dw\\x1b[1m'
    """
    whole = str(text).encode("utf-8", "backslashreplace").decode("utf-8")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in whole)


def told_half(name: str, half: str) -> str:
    """What is wrong with a text, and what to do: the end of an error."""
    return f"{name} holds half a character ({half}), as cut texts do; remove it or write the whole one."


def texts_within(value: Any) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Every text in a value of JSON, names of keys included, with the way to it.

    Raises:
        RecursionError: it is deeper than ``DEEPEST``.
    """
    waiting: list[tuple[tuple[str | int, ...], Any]] = [((), value)]
    while waiting:
        way, found = waiting.pop()
        if len(way) > DEEPEST:
            raise RecursionError
        if isinstance(found, str):
            yield way, found
        elif isinstance(found, Mapping):
            yield from ((way, key) for key in found if isinstance(key, str))
            waiting += reversed([((*way, key), item) for key, item in found.items()])
        elif isinstance(found, Sequence) and not isinstance(found, bytes):
            waiting += reversed([((*way, index), item) for index, item in enumerate(found)])


def find_half_character(value: Any) -> tuple[tuple[str | int, ...], str] | None:
    """The way to the first text in a value that holds half a character, and that half.

    The way to the name of a key is that to its object.
    """
    for way, text in texts_within(value):
        half = half_character(text)
        if half is not None:
            return way, half
    return None
