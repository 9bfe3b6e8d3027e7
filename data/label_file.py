"""The file that collects judgements of pairs, one JSON object per line; ``load_comparisons`` reads it as it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from ..errors import InputError
from ..paths import user_path
from .appending import AppendedFile
from .comparisons import FIRST, SECOND, TIE
from .plain_text import json_line
from .tables import read_table
from .text import find_half_character, printable, told_half
from .text_pairs import TextPair

LABELS = (FIRST, SECOND, TIE)
_COLUMNS = ("prompt", "first", "second", "label", "annotator")


@dataclass(frozen=True)
class Judgement:
    """One annotator's judgement of one pair.

    Attributes:
        pair: the two texts, in the order of their source.
        label: ``"first"``, ``"second"`` or ``"tie"``.
        annotator: who judged.
        probability: that the first is better, if the annotator gives one.
    """

    pair: TextPair
    label: str
    annotator: str
    probability: float | None = None

    def row(self) -> dict[str, Any]:
        """The judgement as a line of the file."""
        told = {} if self.probability is None else {"probability": self.probability}
        return {**asdict(self.pair), "label": self.label, "annotator": self.annotator, **told}


class LabelFile:
    """Judgements by any number of annotators, none of whom judges a pair twice.

    Existing content keeps its bytes: judgements are appended, and only those of this session can be undone. A stop at
    any moment leaves no half line, and one session at a time writes to a file (see ``AppendedFile``). Close it, or use
    it in a ``with``.
    """

    def __init__(self, path: str | Path) -> None:
        """Open the file for this session alone and read what is already there.

        Raises:
            InputError: the file's name is not a JSON Lines name, it has other content, or another session has it.
            MachineError: it cannot be read, or its folder is not writable.
        """
        self.path = user_path(path)
        if self.path.suffix != ".jsonl":
            raise InputError(f"Judgements are written as JSON Lines; give a file such as {self.path.stem}.jsonl.")
        self._file = AppendedFile(self.path)
        try:
            self.rows = self._read() if self.path.exists() and self.path.stat().st_size else []
        except BaseException:
            self.close()
            raise
        self._judged = {_key(row) for row in self.rows}
        self._before = len(self.rows)

    def __enter__(self) -> LabelFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the file for other sessions."""
        self._file.close()

    def _read(self) -> list[dict[str, Any]]:
        table = read_table(self.path)
        for name in _COLUMNS:
            if name not in table.columns:
                raise InputError(f'{self.path} holds something else: it has no column "{name}"; give another file.')
            table.texts(name, allow_empty=True)
        for index, row in enumerate(table.rows):
            if row["label"] not in LABELS:
                raise InputError(f"Label {row['label']!r} at {table.where(index)} is not one of {', '.join(LABELS)}.")
        return [dict(row) for row in table.rows]

    def __len__(self) -> int:
        return len(self.rows)

    def holds(self, pair: TextPair, annotator: str) -> bool:
        """Whether the annotator has judged these two texts, in either order."""
        return _key(Judgement(pair, TIE, annotator).row()) in self._judged

    def prompts(self, annotator: str) -> set[str]:
        """Prompts for which the annotator has judged a pair."""
        return {row["prompt"] for row in self.rows if row["annotator"] == annotator}

    def add(self, judgements: Sequence[Judgement]) -> None:
        """Append judgements, all or none.

        Raises:
            InputError: a text contains half a character, or another program changed the file.
            MachineError: the file cannot be written.
        """
        rows = [judgement.row() for judgement in judgements]
        if not rows:
            return
        for row in rows:
            found = find_half_character(row)
            if found is not None:
                raise InputError(told_half(f"The {printable(found[0][0])} of a judgement", found[1]))
        self._file.append([json_line(row).encode() for row in rows])
        self.rows += rows
        self._judged |= {_key(row) for row in rows}

    def take_back(self, judgement: Judgement) -> None:
        """Remove the last judgement of this session; a file that the session created goes with its only one.

        Raises:
            ValueError: it is not the last one of this session.
            InputError: another program changed the file.
            MachineError: the file cannot be written.
        """
        key = _key(judgement.row())
        if len(self.rows) == self._before or _key(self.rows[-1]) != key:
            raise ValueError("only the last judgement of this session can be taken back")
        self._file.take_back()
        self.rows.pop()
        self._judged.discard(key)


def _key(row: dict[str, Any]) -> tuple[str, str, frozenset[str]]:
    return row["annotator"], row["prompt"], frozenset((row["first"], row["second"]))
