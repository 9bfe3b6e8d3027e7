"""Summaries that no policy wrote, for comparison: the lead sentence, another post's reference, the oracle."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...data import world
from ...errors import InputError

_FIRST_SENTENCE = re.compile(r".+?(?:[.!?…]+[\"'”’)\]]*(?=\s|$)|$)", re.MULTILINE)
_HEADER = re.compile(r"^POST:\s*|\A### Instruction:\n(?:(?:.*\n)*### Input:\n)?", re.MULTILINE)


def lead_sentence(text: str) -> str:
    """The first sentence of a post; after the ``POST:`` header, if a text has one as in the Reddit corpora.

    For an instruction, the first sentence of its input, or of the instruction if it has none.

    >>> lead_sentence("My dog ate my shoe. It was new!")
    'My dog ate my shoe.'
    >>> lead_sentence("TITLE: Help\\n\\nPOST: It rains. Why?")
    'It rains.'
    """
    header = _HEADER.search(text)
    body = (text[header.end() :] if header else text).strip()
    first = _FIRST_SENTENCE.match(body)
    return first.group().strip() if first else ""


def random_references(references: Sequence[str], seed: int = 0) -> list[str]:
    """For every prompt another one's reference, each used once; a single prompt gets its own.

    References are shifted along a random cycle, so no prompt gets its own.
    """
    order = np.random.default_rng(seed).permutation(len(references))
    result = [""] * len(references)
    for position, giver in zip(np.roll(order, 1), order, strict=True):
        result[position] = references[giver]
    return result


def oracle_summaries(rows: Sequence[Mapping[str, Any]]) -> list[str] | None:
    """The best summary of each post of the embedded world, from its hidden facts; ``None`` for any other text."""
    if not all("post_index" in row and "facts" in row for row in rows):
        return None
    return [_oracle_of(row) for row in rows]


def _oracle_of(row: Mapping[str, Any]) -> str:
    for split in (
        "test",
        "validation",
        "train",
    ):  # a row does not record its split; the same index is another post in another split
        made = world.post(split, row["post_index"])
        if made.text == row["prompt"]:
            return world.oracle(made)
    raise InputError(
        f"Post {row['post_index']} is not from this version of the embedded world, so it has no oracle summary."
    )
