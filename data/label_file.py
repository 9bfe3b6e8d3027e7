"""The file in which judgements of pairs are collected, a JSON object a line; ``load_comparisons`` reads it as it is."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..files import write_text
from ..paths import user_path
from .comparisons import FIRST, SECOND, TIE
from .tables import read_table
from .text_pairs import TextPair

LABELS = (FIRST, SECOND, TIE)
_COLUMNS = ("prompt", "first", "second", "label", "annotator")


@dataclass(frozen=True)
class Judgement:
    """What one annotator says of one pair.

    Attributes:
        pair: the two texts, in the order of their source.
        label: ``"first"``, ``"second"`` or ``"tie"``.
        annotator: who judged.
        probability: that the first is better, of an annotator that says so.
    """

    pair: TextPair
    label: str
    annotator: str
    probability: float | None = None

    def row(self) -> dict[str, Any]:
        """The judgement as a line of the file holds it."""
        told = {} if self.probability is None else {"probability": self.probability}
        return {**asdict(self.pair), "label": self.label, "annotator": self.annotator, **told}


class LabelFile:
    """Judgements by any number of annotators, none of whom judges a pair twice.

    Every change writes a new file that takes the old one's name, so a stop loses nothing and leaves no half line. It
    knows of one writer: two sessions at once need a file each.
    """

    def __init__(self, path: str | Path) -> None:
        """Read what is there already.

        Raises:
            InputError: the file's name is not that of JSON Lines, or it holds something else.
        """
        self.path = user_path(path)
        if self.path.suffix != ".jsonl":
            raise InputError(f"Judgements are written as JSON Lines; give a file such as {self.path.stem}.jsonl.")
        self.rows = self._read() if self.path.exists() else []
        self._judged = {_key(row) for row in self.rows}

    def _read(self) -> list[dict[str, Any]]:
        table = read_table(self.path)
        for name in _COLUMNS:
            if name not in table.columns:
                raise InputError(f'{self.path} holds something else: it has no column "{name}"; give another file.')
            table.texts(name, allow_empty=True)
        for index, row in enumerate(table.rows):
            if row["label"] not in LABELS:
                raise InputError(f"Label {row['label']!r} at {table.where(index)} is none of {', '.join(LABELS)}.")
        return [dict(row) for row in table.rows]

    def __len__(self) -> int:
        return len(self.rows)

    def holds(self, pair: TextPair, annotator: str) -> bool:
        """Whether the annotator has judged these two texts, in whatever order."""
        return _key(Judgement(pair, TIE, annotator).row()) in self._judged

    def prompts(self, annotator: str) -> set[str]:
        """Prompts of which the annotator has judged a pair."""
        return {row["prompt"] for row in self.rows if row["annotator"] == annotator}

    def add(self, judgements: Sequence[Judgement]) -> None:
        """Append judgements, all or none."""
        rows = [judgement.row() for judgement in judgements]
        self._write([*self.rows, *rows])

    def take_back(self, judgement: Judgement) -> None:
        """Remove a judgement; a file without any is removed too."""
        self._write([row for row in self.rows if _key(row) != _key(judgement.row())])

    def _write(self, rows: list[dict[str, Any]]) -> None:
        try:
            if rows:
                write_text(self.path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
            else:
                self.path.unlink(missing_ok=True)
        except OSError as error:
            raise InputError(f"{self.path} cannot be written: {error.strerror}.") from None
        self.rows, self._judged = rows, {_key(row) for row in rows}


def _key(row: dict[str, Any]) -> tuple[str, str, frozenset[str]]:
    return row["annotator"], row["prompt"], frozenset((row["first"], row["second"]))
