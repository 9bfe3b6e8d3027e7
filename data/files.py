"""Read local data files of any format.

JSON Lines and CSV are read here rather than by a library, so that an error names the exact line. ``json_text.py`` says
what is refused in JSON, ``parquet.py`` reads Parquet.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

from ..errors import InputError, MachineError, nearest
from ..paths import check_regular, read_bytes
from .hub import FILE_SUFFIXES
from .json_text import parse_json
from .parquet import read_parquet
from .presets import EMBEDDED_INSTRUCTIONS, PRESETS
from .progress import progress_bar
from .text import printable

_PACKED = ".gz"
_ROW_KEYS = ("data", "examples", "rows", "instances")
Rows: TypeAlias = Any  # a list of dicts, or a datasets.Dataset


def read_file(path: Path) -> tuple[Rows, list[int]]:
    """The rows of a file and the line on which each starts (empty if the format has no lines).

    Raises:
        InputError: missing, empty or broken file, or one of unknown format.
        MachineError: it cannot be read.
    """
    _check_file(path)
    if format_of(path) == ".parquet":
        return read_parquet(path), []
    if format_of(path) in (".csv", ".tsv"):
        return _read_csv(path)
    return _read_json(path)


def format_of(path: Path) -> str:
    """The ending of a file's name that says its format, without the ``.gz`` of a compressed one.

    >>> format_of(Path("posts.JSONL.gz")), format_of(Path("posts.parquet"))
    ('.jsonl', '.parquet')
    """
    return os.path.splitext(path.name.lower().removesuffix(_PACKED))[1]


def is_data_file(path: Path) -> bool:
    """Whether a file has the name of one that can be read; Parquet, which is compressed inside, not as ``.gz``."""
    packed = path.name.lower().endswith(_PACKED)
    return format_of(path) in FILE_SUFFIXES and not (packed and format_of(path) == ".parquet")


def read_json(path: Path) -> Any:
    """The value in a JSON file; of a duplicate name in an object, the last counts.

    Raises:
        InputError: missing, empty or broken file.
        MachineError: it cannot be read.
    """
    _check_file(path)
    return parse_json(path, _read_text(path), repeated=True)


def read_records(path: Path) -> list[tuple[int, list[str]]]:
    """The records of a CSV file without a header, each with the line it starts on; lines without a value are left out.

    Raises:
        InputError: missing, empty or broken file.
        MachineError: it cannot be read.
    """
    _check_file(path)
    return [(number, cells) for number, cells in _records(path, ",") if cells]


def read_object(path: Path) -> dict[str, Any] | None:
    """The single JSON object in a file; None where it contains rows, or is broken or of another format.

    Raises:
        InputError: missing or empty file, or one of unknown format.
        MachineError: it cannot be read.
    """
    _check_file(path)
    text = _read_text(path) if format_of(path) == ".json" else ""
    if not text.lstrip().startswith("{"):
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):  # JSON Lines, or broken: read_file says where
        return None
    return parse_json(path, text) if isinstance(value, dict) else None


def _check_file(path: Path) -> None:
    """Raise an ``InputError`` unless ``path`` is a data file with something in it."""
    name = printable(path)
    if not path.exists():
        if os.path.islink(path):
            raise InputError(f"{name} is a link to a file that does not exist; give the file.")
        try:
            names = os.listdir(path.parent)
        except OSError:
            names = []
        near = nearest(path.name, [*names, *PRESETS, EMBEDDED_INSTRUCTIONS])
        raise InputError(f"No file {name}, and it is not a hub id (owner/name) or preset.{near}")
    if path.is_dir():
        raise InputError(f"{name} is a folder, not a data file; name one file in it ({', '.join(FILE_SUFFIXES)}).")
    if not is_data_file(path):
        endings = ", ".join(FILE_SUFFIXES)
        raise InputError(
            f"Cannot tell the format of {name}; its name must end in one of {endings} (all but the last also with .gz)."
        )
    check_regular(path)
    if path.stat().st_size == 0:
        raise InputError(f"{name} is empty.")


_MARKS = {b"\x1f\x8b": "is compressed with gzip; unpack it", b"\xff\xfe": "is UTF-16", b"\xfe\xff": "is UTF-16"}
"""First bytes of files often given instead of text."""


def _read_text(path: Path) -> str:
    content = read_bytes(path)
    if path.name.lower().endswith(_PACKED):
        content = _unpacked(path, content)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        what = _MARKS.get(content[:2])
        line = content[: error.start].count(b"\n") + 1
        told = f"is not UTF-8 text (line {line})" if what is None else what
        step = "" if "unpack" in told else "; convert it to UTF-8"
        raise InputError(f"{printable(path)} {told}{step}.") from None


def _unpacked(path: Path, content: bytes) -> bytes:
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:  # no gzip, cut short, damaged
        reason = (str(error) or type(error).__name__).rstrip(".")
        raise InputError(f"Cannot unpack {printable(path)} as gzip: {printable(reason)}.") from None
    except MemoryError:
        raise MachineError(f"{printable(path)} does not fit into memory; give a smaller file.") from None


def _read_json(path: Path) -> tuple[Rows, list[int]]:
    text = _read_text(path)
    if not text.strip():
        raise InputError(f"{printable(path)} is empty.")
    if _is_json_lines(text, by_name=format_of(path) in _LINE_SUFFIXES):
        return _read_json_lines(path, text)
    value = parse_json(path, text)
    if isinstance(value, dict):
        key = _row_key(value)
        if key is None:
            raise InputError(
                f"{printable(path)} holds one JSON object without rows; give an array of objects, "
                f'one object per line, or an object with the rows under "{_ROW_KEYS[0]}" or "{_ROW_KEYS[1]}".'
            )
        value = value[key]
    if not isinstance(value, list):
        raise InputError(
            f"{printable(path)} holds a single JSON value; give an array of objects or one object per line."
        )
    for index, row in enumerate(value):
        if not isinstance(row, dict):
            raise InputError(
                f"Row {index + 1} of {printable(path)} is {json_kind(row)}, not an object with named columns."
            )
    return value, []


_LINE_SUFFIXES = (".jsonl", ".ndjson")


def _is_json_lines(text: str, by_name: bool = False) -> bool:
    """Whether the text is one object per line: it starts with ``{``, and not with an object over several lines."""
    start = text.lstrip()
    if not start.startswith("{"):
        return False
    line, _, rest = start.partition("\n")
    try:
        first = json.loads(line)
    except (ValueError, RecursionError):
        # Broken on its first line, or an object over several lines: in the first case the next line opens an object.
        return by_name or rest.startswith("{")
    return _row_key(first) is None or bool(rest.strip())


def _row_key(value: dict[str, Any]) -> str | None:
    """The key of an object that holds the rows: one of ``_ROW_KEYS``, in any letter case, with a list of objects."""
    keys = [key for key, rows in value.items() if isinstance(rows, list) and all(isinstance(row, dict) for row in rows)]
    return next((key for key in keys if key.lower() in _ROW_KEYS), None)


def _read_json_lines(path: Path, text: str) -> tuple[Rows, list[int]]:
    rows: list[dict[str, Any]] = []
    numbers: list[int] = []
    total = text.count("\n") + 1
    lines = progress_bar(_reading(path), total, items=_lines(text), unit="line")
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        row = parse_json(path, line, number)
        if not isinstance(row, dict):
            raise InputError(
                f"Line {number} of {printable(path)} is {json_kind(row)}, not an object with named columns."
            )
        rows.append(row)
        numbers.append(number)
    return rows, numbers


def _lines(text: str) -> Iterator[str]:
    """The lines one by one; unlike ``splitlines()``, not split at U+2028."""
    start = 0
    while (end := text.find("\n", start)) >= 0:
        yield text[start:end]
        start = end + 1
    yield text[start:]


def _reading(path: Path) -> str:
    return f"reading {printable(path.name)}"


def json_kind(value: Any) -> str:
    """What a parsed JSON value is, for an error message."""
    names = {type(None): "null", list: "an array", str: "a string", dict: "an object", bool: "a boolean"}
    return names.get(type(value), "a number")


def _read_csv(path: Path) -> tuple[Rows, list[int]]:
    rows: list[dict[str, Any]] = []
    numbers: list[int] = []
    for number, cells in _records(path, "\t" if format_of(path) == ".tsv" else ","):
        if not cells:
            continue
        if not numbers:
            header = [cell.strip() for cell in cells]
            if len(set(header)) < len(header) or "" in header:
                names = printable(", ".join(header))
                raise InputError(f"The first line of {printable(path)} must name every column once, got {names}.")
        elif len(cells) != len(header):
            raise InputError(f"Line {number} of {printable(path)} has {len(cells)} values for {len(header)} columns.")
        else:
            rows.append(dict(zip(header, cells, strict=True)))
        numbers.append(number)
    return rows, numbers[1:]


def _records(path: Path, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """CSV records with the line each starts on (a quoted value may hold line breaks)."""
    text = _read_text(path)
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise InputError(
            f"Line {line} of {printable(path)} holds a NUL character, as UTF-16 does; convert it to UTF-8 text."
        )
    csv.field_size_limit(2**31 - 1)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    with progress_bar(_reading(path), text.count("\n") + 1, unit="line") as bar:
        while True:
            start = reader.line_num + 1
            try:
                cells = next(reader, None)
            except csv.Error as error:
                raise InputError(f"Broken CSV at line {start} of {printable(path)}: {error}.") from None
            if cells is None:
                return
            bar.update(reader.line_num + 1 - start)
            yield start, cells
