"""What a figure of the lecture is: a measurement, a picture, a table and what was found; its words stand apart."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from .workshop import Workshop

Numbers = dict[str, Any]
"""What a figure measured, as JSON."""

Rows = tuple[Sequence[str], Sequence[Sequence[str]]]
"""Header and rows of a table; a column called ``text`` holds sentences."""


class Finding(NamedTuple):
    """What the numbers say of the claim.

    agrees: ``True`` they show it, ``False`` they do not, ``None`` they do not decide.
    values: what the sentence ``found`` of the figure's words is filled with.
    """

    agrees: bool | None
    values: Mapping[str, str]


@dataclass(frozen=True)
class Figure:
    """One claim of the lecture and how it is measured; ``words`` tells it in each language.

    name: as ``--figure`` takes it.
    measure: measures with the models of a workshop; the same budget and seeds give the same numbers.
    draw: writes the picture, whose axes are named in English.
    table: header and rows, beside the picture.
    finding: what the numbers say of the claim.
    samples: a second table, of texts to read.
    """

    name: str
    measure: Callable[[Workshop], Numbers]
    draw: Callable[[Numbers, Path], None]
    table: Callable[[Numbers], Rows]
    finding: Callable[[Numbers], Finding]
    samples: Callable[[Numbers], Rows] | None = None
