"""Read a table of text from a local file or from the Hugging Face hub.

Nothing here knows what the columns mean, or the file formats (``files.py``, ``hub.py``).
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from ..errors import InputError, nearest
from ..paths import user_path
from .conversations import Message, messages_of
from .files import read_file
from .folders import by_split, data_files, read_files, saved_dataset
from .given import is_missing, is_source, read_given
from .hub import find_hub_dataset
from .splits import FRACTIONS, canonical_split, split_prompts
from .templates import render_conversation
from .text import find_half_character, half_character, printable, told_half

_UNREAD = ("tools", "chat_template_kwargs")
"""Columns that TRL hands to a chat template."""


@dataclass(frozen=True)
class Table:
    """Rows of one source.

    A column may be a path into nested values (``info.post``, ``summaries.0.text``). A text may be spread over several
    columns (``instruction,input``): those that are not empty are joined by a blank line.

    Attributes:
        rows: the rows, as mappings from column to value.
        source: the file or hub id, as shown in errors.
        lines: the line on which each row starts, if the file format has lines.
        hub_split: for a data set that has splits, the one that was read ("train", "validation", "test").
        hub_splits: the splits it has.
        parts: of several files, the row that each begins with, and its name.
    """

    rows: Sequence[Mapping[str, Any]]
    source: str
    lines: Sequence[int] = field(default=(), repr=False)
    hub_split: str | None = None
    hub_splits: frozenset[str] = frozenset()
    parts: Sequence[tuple[int, str]] = field(default=(), repr=False)

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """Names of all top-level columns."""
        if hasattr(self.rows, "column_names"):
            return tuple(self.rows.column_names)
        return tuple(dict.fromkeys(name for row in self.rows for name in row))

    def where(self, index: int) -> str:
        """The place of row ``index``, for an error message."""
        first, source = next((part for part in reversed(self.parts) if part[0] <= index), (0, self.source))
        place = f"line {self.lines[index]}" if self.lines else f"row {index - first + 1}"
        return f"{place} of {printable(source)}"

    def has(self, column: str) -> bool:
        """Whether the table has this column, or the column that this path starts with."""
        return column in self.columns or column.partition(".")[0] in self.columns

    def require(self, column: str, hint: str = "") -> None:
        """Raise an ``InputError`` that names the nearest column if ``column`` is missing; ``hint`` ends it."""
        if not self.has(column):
            shown = printable(", ".join(map(str, self.columns[:12]))) + (", ..." if len(self.columns) > 12 else "")
            message = f'No column "{printable(column)}" in {printable(self.source)}; its columns are {shown}.'
            raise InputError(message + nearest(column, self.columns) + (f" {hint}" if hint else ""))

    def column(self, name: str, hint: str = "", *, optional: bool = False) -> list[Any]:
        """Every row's value in a column; None where it is missing: null, NaN, or with ``optional`` not there.

        Raises:
            InputError: no such column, or a row that lacks it.
        """
        self.require(name, hint)
        if hasattr(self.rows, "select_columns") and name in self.columns:
            values = list(self.rows[name])  # type: ignore[call-overload]
        else:
            values = [self._value(index, row, name, optional) for index, row in enumerate(self.rows)]
        return [value if isinstance(value, str) or not is_missing(value) else None for value in values]

    def cells(self, name: str, hint: str = "") -> list[Any]:
        """Every row's value in a column, or the texts of several as one."""
        if "," not in name or name in self.columns:
            return self.column(name, hint)
        parts = [self.column(part.strip(), hint) for part in name.split(",")]
        return [_join(cells) for cells in zip(*parts, strict=True)]

    def texts(self, name: str, *, allow_empty: bool = False, hint: str = "") -> list[str]:
        """Every row's text in a column, or in several; conversations are rendered as text.

        Raises:
            InputError: no such column, or a row whose value is missing, empty or not text.
        """
        return [self.as_text(value, index, name, allow_empty) for index, value in enumerate(self.cells(name, hint))]

    def messages(self, value: Any, index: int, name: str) -> list[Message] | None:
        """``value``, found in row ``index`` and column ``name``, as a conversation; None where it is none."""
        found = None if isinstance(value, str) else messages_of(value, self._place(index, name))
        for column in _UNREAD if found else ():
            if column in self.columns:
                warnings.warn(
                    f'The column "{column}" of {printable(self.source)} is not given to chat templates; render it into '
                    "the messages if the model should read it.",
                    stacklevel=2,
                )
        return found

    def as_text(self, value: Any, index: int, name: str, allow_empty: bool = False) -> str:
        """``value``, found in row ``index`` and column ``name``, as text."""
        if not isinstance(value, str):
            messages = self.messages(value, index, name)
            if messages is None:
                kind = "null" if value is None else type(value).__name__
                raise InputError(f"{self._place(index, name)} holds {kind}, not text.")
            value = render_conversation(messages)
        half = None if value.isascii() else half_character(value)
        if half is not None:
            raise InputError(told_half(f'{_upper(self.where(index))}: column "{printable(name)}"', half))
        if not allow_empty and not value.strip():
            raise InputError(f'Empty {name} at {self.where(index)}; remove the row or fill in column "{name}".')
        return value

    def check_characters(self) -> None:
        """Raise an ``InputError`` if any value in any row contains half a character; values from files never do."""
        for index, row in enumerate(self.rows):
            try:
                found = find_half_character(row)
            except RecursionError:
                raise InputError(f"The value at {self.where(index)} is nested too deeply.") from None
            if found is not None:
                way = printable(".".join(map(str, found[0])))
                raise InputError(told_half(f'{_upper(self.where(index))}: column "{way}"', found[1]))

    def rows_of_split(self, split: str | None, groups: Sequence[str], seed: int = 0) -> list[int]:
        """Indices of the rows of one split, all rows of a group in the same split; ``None`` gives all rows.

        The source's own splits are used: those of a hub data set, or a column named ``split``. A missing split is taken
        from the train rows by a stable hash of the group, 10 % each for validation and test.

        Raises:
            InputError: an unknown split, or one without rows.
        """
        if split is None:
            return list(range(len(self)))
        if split not in FRACTIONS and split not in self.hub_splits:
            raise InputError(f'Unknown split "{split}"; use train, validation or test.{nearest(split, FRACTIONS)}')
        marks: list[str | None] = [self.hub_split or "train"] * len(self)
        if not self.hub_splits and "split" in self.columns:
            named = [canonical_split(value) for value in self.column("split")]
            marks = named if any(named) else marks
        own = self.hub_splits | {mark for mark in marks if mark}
        source = split if split in own else "train"
        rows = [index for index, mark in enumerate(marks) if mark == source]
        missing = {name: FRACTIONS[name] for name in FRACTIONS if name not in own}
        if source == "train" and missing and rows:
            fractions = {"train": 1 - sum(missing.values()), **missing}
            assigned = split_prompts([groups[index] for index in rows], fractions, seed)
            rows = [index for index, name in zip(rows, assigned, strict=True) if name == split]
        if not rows:
            raise InputError(f"{self.source} has no {split} rows.")
        return rows

    def _place(self, index: int, name: str) -> str:
        return f'Column "{printable(name)}" at {self.where(index)}'

    def _value(self, index: int, row: Mapping[str, Any], name: str, optional: bool) -> Any:
        if name in row:
            return row[name]
        value: Any = row
        for part in name.split("."):
            try:
                value = value[int(part)] if isinstance(value, list) else value[part]
            except (KeyError, IndexError, ValueError, TypeError):
                if optional:
                    return None
                near = nearest(part, value if isinstance(value, Mapping) else ())
                raise InputError(f'No column "{name}" at {self.where(index)}.{near}') from None
        return value


def read_table(source: Any, *, split: str | None = None, limit: int | None = None, what: str = "rows") -> Table:
    """Read a local file (``.jsonl``, ``.json``, ``.csv``, ``.tsv``, ``.parquet``), or files, a hub id, a preset, data.

    A text file may be compressed (``.gz``). Several files are a folder or a pattern (``shards/*.parquet``); their names
    may begin with the split (``train-00000-of-00002.parquet``). A folder may be one that ``save_to_disk`` wrote.

    A JSON file holds an array of objects, an object with such an array under ``data``, ``examples``, ``rows`` or
    ``instances``, or one object per line. A hub id may name config and revision: ``owner/name:config@revision``.

    Args:
        source: the path, hub id or preset; or data handed over in Python, as ``given.py`` reads them.
        split: split of a hub data set, "train" if it has none of that name; of a ``DatasetDict``, which must have it;
            anything else is read in full.
        limit: read at most this many rows.
        what: what the rows of an object are, for messages.

    Raises:
        InputError: missing, empty or broken file, or a hub data set that cannot be loaded.
    """
    if not is_source(source):
        return _given_table(source, f"the {what} given", split, limit)
    hub = find_hub_dataset(source)
    if hub is not None:
        own = hub.splits()
        chosen = next((name for name in (split, "train", *own) if name in own), "train")
        rows = hub.read(own.get(chosen, chosen), limit)
        return Table(rows, str(source), hub_split=chosen, hub_splits=frozenset(own))
    path = user_path(source)
    saved = saved_dataset(path)
    if saved is not None:
        return _given_table(saved, str(path), split, limit, exact=False)
    files = data_files(path)
    if files is None:
        rows, lines = read_file(path)
        return _limited(Table(rows, str(path), lines), limit)
    splits = by_split(files, path)
    taken = next((name for name in (split, "train", *splits) if name in splits), None)
    rows, lines, parts = read_files(files if taken is None else splits[taken])
    return _limited(Table(rows, str(path), lines, taken, frozenset(splits), parts), limit)


def _limited(table: Table, limit: int | None) -> Table:
    """The first rows of a table, which has some."""
    rows = table.rows
    if not len(rows):
        raise InputError(f"{table.source} holds no rows.")
    if limit is not None and limit < len(rows):
        rows = rows.select(range(limit)) if hasattr(rows, "select") else rows[:limit]
    return replace(table, rows=rows, lines=table.lines[:limit])


def _given_table(source: Any, name: str, split: str | None, limit: int | None, exact: bool = True) -> Table:
    """Data handed over in Python, or read from where they were saved."""
    given = read_given(source, name, split, limit, exact)
    table = Table(given.rows, name, hub_split=given.split, hub_splits=given.splits)
    if not len(table):
        what = name.removeprefix("the ").removesuffix(" given")
        raise InputError(f"There are no {what} in the {type(source).__name__} given; give at least one row.")
    if isinstance(given.rows, list):  # what Arrow holds is whole
        table.check_characters()
    return table


def _upper(place: str) -> str:
    return place[0].upper() + place[1:]


def _join(cells: Sequence[Any]) -> Any:
    """The texts that are not empty, as paragraphs; anything but text is left for ``as_text`` to refuse."""
    wrong = [cell for cell in cells if not isinstance(cell, str) and cell is not None]
    return wrong[0] if wrong else "\n\n".join(cell.strip() for cell in cells if cell and cell.strip())
