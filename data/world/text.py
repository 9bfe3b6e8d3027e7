"""Sentences of a text."""

from __future__ import annotations

import re

_END = re.compile(r"(?<=[.?!])\s+")


def sentences(text: str) -> list[str]:
    """The text split after full stops, question marks and exclamation marks."""
    return [part for part in _END.split(text.strip()) if part]


def lead_sentence(text: str) -> str:
    """The first sentence: the summary that costs nothing to write."""
    return sentences(text)[0] if text.strip() else ""
