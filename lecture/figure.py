"""A figure of the lecture: a measurement, a picture, a table and a finding; its words are kept separately."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from .workshop import Workshop

Numbers = dict[str, Any]
"""A figure's measurements, as JSON."""

Rows = tuple[Sequence[str], Sequence[Sequence[str]]]
"""Header and rows of a table; a column called ``text`` has sentences."""


class Finding(NamedTuple):
    """What the numbers say about the claim.

    agrees: ``True`` they support it, ``False`` they contradict it, ``None`` they leave it undecided.
    values: fill in the sentence ``found`` of the figure's words.
    """

    agrees: bool | None
    values: Mapping[str, str]


@dataclass(frozen=True)
class Figure:
    """One claim of the lecture and how it is measured; ``words`` has its text in each language.

    name: as given to ``--figure``.
    measure: measures with the models of a workshop; the same budget and seeds give the same numbers.
    draw: writes the picture, with axis labels in English.
    table: header and rows, shown with the picture.
    finding: what the numbers say about the claim.
    samples: a second table, of texts to read.
    """

    name: str
    measure: Callable[[Workshop], Numbers]
    draw: Callable[[Numbers, Path], None]
    table: Callable[[Numbers], Rows]
    finding: Callable[[Numbers], Finding]
    samples: Callable[[Numbers], Rows] | None = None
