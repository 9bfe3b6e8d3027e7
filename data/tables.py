"""Read a table of text from a local file or from the Hugging Face hub.

Local JSON, JSON Lines and CSV are parsed here, so that an error names the exact line; Parquet and hub ids go through
``datasets``. No dataset script is ever run. Nothing here knows what the columns mean.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from ..errors import InputError, nearest
from .templates import is_conversation, render_conversation

_SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet")
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_ROW_KEYS = ("data", "examples", "rows", "instances")


@dataclass(frozen=True)
class Table:
    """Rows of one source.

    A column may be a path into nested values: ``info.post``, ``summaries.0.text``.

    Attributes:
        rows: the rows, as mappings from column to value.
        source: the file or hub id, as errors name it.
        lines: the line on which each row starts, where the file format has lines.
    """

    rows: Sequence[Mapping[str, Any]]
    source: str
    lines: Sequence[int] = field(default=(), repr=False)

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """Names of all top-level columns."""
        if hasattr(self.rows, "column_names"):
            return tuple(self.rows.column_names)
        return tuple(dict.fromkeys(name for row in self.rows for name in row))

    def where(self, index: int) -> str:
        """Where row ``index`` stands, for an error message."""
        place = f"line {self.lines[index]}" if self.lines else f"row {index + 1}"
        return f"{place} of {self.source}"

    def has(self, column: str) -> bool:
        """Whether the table has this column, or the column that this path starts in."""
        return column in self.columns or column.partition(".")[0] in self.columns

    def require(self, column: str, hint: str = "") -> None:
        """Raise an ``InputError`` that names the nearest column if ``column`` is missing; ``hint`` ends it."""
        if not self.has(column):
            shown = ", ".join(self.columns[:12]) + (", ..." if len(self.columns) > 12 else "")
            message = f'No column "{column}" in {self.source}; its columns are {shown}.'
            raise InputError(message + nearest(column, self.columns) + (f" {hint}" if hint else ""))

    def column(self, name: str, hint: str = "") -> list[Any]:
        """Every row's value in a column.

        Raises:
            InputError: no such column, or a row that lacks it.
        """
        self.require(name, hint)
        if hasattr(self.rows, "select_columns") and name in self.columns:
            return list(self.rows[name])  # type: ignore[call-overload]
        return [self._value(index, row, name) for index, row in enumerate(self.rows)]

    def texts(self, name: str, *, allow_empty: bool = False, hint: str = "") -> list[str]:
        """Every row's text in a column; conversations are rendered as text.

        Raises:
            InputError: no such column, or a row whose value is missing, empty or not text.
        """
        return [self.as_text(value, index, name, allow_empty) for index, value in enumerate(self.column(name, hint))]

    def as_text(self, value: Any, index: int, name: str, allow_empty: bool = False) -> str:
        """``value``, found in row ``index`` and column ``name``, as text."""
        if is_conversation(value):
            value = render_conversation(value)
        if not isinstance(value, str):
            kind = "null" if value is None else type(value).__name__
            raise InputError(f'Column "{name}" at {self.where(index)} holds {kind}, not text.')
        if not allow_empty and not value.strip():
            raise InputError(f'Empty {name} at {self.where(index)}; remove the row or fill in column "{name}".')
        return value

    def _value(self, index: int, row: Mapping[str, Any], name: str) -> Any:
        if name in row:
            return row[name]
        value: Any = row
        for part in name.split("."):
            if isinstance(value, Mapping) and part in value:
                value = value[part]
            elif (
                isinstance(value, Sequence) and not isinstance(value, str) and part.isdigit() and int(part) < len(value)
            ):
                value = value[int(part)]
            else:
                options = value if isinstance(value, Mapping) else ()
                raise InputError(f'No column "{name}" at {self.where(index)}.{nearest(part, options)}')
        return value


def read_table(
    source: str | Path,
    *,
    split: str | None = None,
    config: str | None = None,
    revision: str | None = None,
    limit: int | None = None,
) -> Table:
    """Read a local file (``.jsonl``, ``.json``, ``.csv``, ``.tsv``, ``.parquet``) or a hub id ``owner/name``.

    A JSON file holds an array of objects, an object with such an array under ``data``, ``examples``, ``rows`` or
    ``instances``, or one object per line.

    Args:
        source: the path or hub id.
        split: split of a hub data set ("train" by default); a local file is read whole.
        config: config of a hub data set.
        revision: branch or commit of a hub data set, such as ``refs/convert/parquet``.
        limit: read at most this many rows.

    Raises:
        InputError: missing, empty or broken file, or a hub data set that cannot be loaded.
    """
    if is_hub_id(source):
        return _read_hub(str(source), split or "train", config, revision, limit)
    path = Path(source).expanduser()
    check_file(path)
    if path.suffix.lower() == ".parquet":
        table = _read_parquet(path)
    elif path.suffix.lower() in (".csv", ".tsv"):
        table = _read_csv(path)
    else:
        table = _read_json(path)
    if not len(table):
        raise InputError(f"{path} holds no rows.")
    if limit is not None and limit < len(table):
        rows = table.rows.select(range(limit)) if hasattr(table.rows, "select") else table.rows[:limit]
        table = Table(rows, table.source, table.lines[:limit])
    return table


def is_hub_id(source: str | Path) -> bool:
    """Whether ``source`` is a hub id rather than a path: ``owner/name`` that is no local path or data file."""
    text = str(source)
    return bool(
        isinstance(source, str)
        and _HUB_ID.fullmatch(text)
        and not text.lower().endswith(_SUFFIXES)
        and not Path(text).exists()
    )


def check_file(path: Path) -> None:
    """Raise an ``InputError`` unless ``path`` is a data file with something in it."""
    if path.is_dir():
        raise InputError(f"{path} is a folder, not a data file; name one file in it ({', '.join(_SUFFIXES)}).")
    if not path.exists():
        names = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        raise InputError(f"No file {path}.{nearest(path.name, names)}")
    if path.suffix.lower() not in _SUFFIXES:
        raise InputError(f"Cannot tell the format of {path}; its name must end in one of {', '.join(_SUFFIXES)}.")
    if path.stat().st_size == 0:
        raise InputError(f"{path} is empty.")


def _read_text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        raise InputError(f"{path} is not UTF-8 text (line {line}); convert it to UTF-8.") from None
    except OSError as error:
        raise InputError(f"Cannot read {path}: {error.strerror}.") from None


def _read_json(path: Path) -> Table:
    text = _read_text(path)
    if not text.strip():
        raise InputError(f"{path} is empty.")
    if _is_json_lines(text):
        return _read_json_lines(path, text)
    value = _parse_json(path, text, first_line=1)
    if isinstance(value, dict):
        keys = {key.lower(): key for key, rows in value.items() if isinstance(rows, list)}
        key = next((keys[name] for name in _ROW_KEYS if name in keys), None)
        if key is None:
            raise InputError(
                f"{path} holds one JSON object without rows; give an array of objects, "
                f'one object per line, or an object with the rows under "{_ROW_KEYS[0]}" or "{_ROW_KEYS[1]}".'
            )
        value = value[key]
    if not isinstance(value, list):
        raise InputError(f"{path} holds a single JSON value; give an array of objects or one object per line.")
    for index, row in enumerate(value):
        if not isinstance(row, dict):
            raise InputError(f"Row {index + 1} of {path} is {_json_kind(row)}, not an object with named columns.")
    return Table(value, str(path))


def _is_json_lines(text: str) -> bool:
    """Whether the text is one object per line: it starts with ``{``, and not with an object over several lines."""
    start = text.lstrip()
    if not start.startswith("{"):
        return False
    lines = start.split("\n", 1)
    try:
        first = json.loads(lines[0])
    except json.JSONDecodeError:
        # Broken on its first line, or an object over several lines: the next line of the first kind opens an object.
        return len(lines) > 1 and lines[1].startswith("{")
    wrapped = any(key.lower() in _ROW_KEYS and isinstance(rows, list) for key, rows in first.items())
    return not wrapped or (len(lines) > 1 and bool(lines[1].strip()))


def _read_json_lines(path: Path, text: str) -> Table:
    rows, numbers = [], []
    for number, line in enumerate(text.split("\n"), start=1):  # not splitlines(): it also splits at U+2028
        if not line.strip():
            continue
        row = _parse_json(path, line, first_line=number)
        if not isinstance(row, dict):
            raise InputError(f"Line {number} of {path} is {_json_kind(row)}, not an object with named columns.")
        rows.append(row)
        numbers.append(number)
    return Table(rows, str(path), numbers)


def _parse_json(path: Path, text: str, first_line: int) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        line = first_line + error.lineno - 1
        raise InputError(f"Broken JSON at line {line} of {path}: {error.msg} (column {error.colno}).") from None
    except RecursionError:
        raise InputError(f"Broken JSON in {path}: nested too deeply.") from None


def _json_kind(value: Any) -> str:
    return (
        "null" if value is None else {list: "an array", str: "a string", bool: "a boolean"}.get(type(value), "a number")
    )


def _read_csv(path: Path) -> Table:
    text = _read_text(path)
    csv.field_size_limit(2**31 - 1)
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter="\t" if path.suffix.lower() == ".tsv" else ",", strict=True
    )
    rows, numbers = [], []
    for number, cells in _numbered(reader, path):
        if not cells:
            continue
        if not numbers:
            header = [cell.strip() for cell in cells]
            if len(set(header)) < len(header) or "" in header:
                raise InputError(f"The first line of {path} must name every column once, got {', '.join(header)}.")
        elif len(cells) != len(header):
            raise InputError(f"Line {number} of {path} has {len(cells)} values for {len(header)} columns.")
        else:
            rows.append(dict(zip(header, cells, strict=True)))
        numbers.append(number)
    return Table(rows, str(path), numbers[1:])


def _numbered(reader: Any, path: Path) -> Iterator[tuple[int, list[str]]]:
    """CSV records with the line each starts on (a quoted value may hold line breaks)."""
    while True:
        start = reader.line_num + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise InputError(f"Broken CSV at line {start} of {path}: {error}.") from None
        if cells is None:
            return
        yield start, cells


def _read_parquet(path: Path) -> Table:
    import pyarrow.parquet
    from datasets import Dataset

    try:
        return Table(Dataset(pyarrow.parquet.read_table(path)), str(path))
    except Exception as error:
        raise InputError(f"Cannot read {path} as Parquet: {_first_line(error)}") from None


def hub_splits(source: str, config: str | None = None, revision: str | None = None) -> list[str]:
    """The splits of a hub data set.

    Raises:
        InputError: the hub cannot be reached, or has no such data set.
    """
    import datasets

    try:
        return list(datasets.get_dataset_split_names(source, config, revision=revision))
    except Exception as error:
        raise _hub_error(source, error) from None


def _read_hub(source: str, split: str, config: str | None, revision: str | None, limit: int | None) -> Table:
    import datasets

    try:
        rows = datasets.load_dataset(source, config, split=split, revision=revision)
    except Exception as error:
        raise _hub_error(source, error) from None
    return Table(rows if limit is None else rows.select(range(min(limit, len(rows)))), source)


def _hub_error(source: str, error: Exception) -> InputError:
    reason = _first_line(error)
    if "script" in reason:
        reason += ' Dataset scripts are not run: try the revision "refs/convert/parquet", or download a data file.'
    else:
        reason += " Check the name and the connection, or give a local file."
    return InputError(f'Cannot load "{source}" from the Hugging Face hub, and there is no such file: {reason}')


def _first_line(error: Exception) -> str:
    line = (str(error).strip().splitlines() or [type(error).__name__])[0].strip()
    return line if line.endswith((".", "!", "?")) else line + "."
