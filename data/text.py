"""What a text must be to be tokenised and written: complete Unicode characters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

DEEPEST = 100
"""How deeply data may be nested; code that walks a value must not run out of stack."""


def half_character(text: str) -> str | None:
    r"""The first half character in a text, as an escape; None if all are whole.

    Characters beyond U+FFFF are pairs in UTF-16. A program that cuts a text inside one leaves half a pair, which no
    encoding can write and no tokenizer reads.

    >>> half_character("whole 😀"), half_character("cut \ud83d")
    (None, '\\ud83d')
    """
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        return f"\\u{ord(text[error.start]):04x}"
    return None


def printable(text: object) -> str:
    r"""A name for an error message: what no terminal can show is escaped.

    >>> printable("r\ud83dw\x1b[1m")
    'r\\ud83dw\\x1b[1m'
    """
    whole = str(text).encode("utf-8", "backslashreplace").decode("utf-8")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in whole)


def told_half(name: str, half: str) -> str:
    """What is wrong with a text, and what to do: the end of an error."""
    return f"{name} holds half a character ({half}), as cut texts do; remove it or write the whole one."


def texts_within(value: Any) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Every text in a JSON value, names of keys included, with the path to it.

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
    """The path to the first text in a value with half a character, and that half.

    The path to a key's name is that to its object.
    """
    for way, text in texts_within(value):
        half = half_character(text)
        if half is not None:
            return way, half
    return None
