"""Data in several files: a folder, a pattern (``posts/*.parquet``), or what ``save_to_disk`` of ``datasets`` wrote."""

from __future__ import annotations

import glob
import re
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import InputError
from .files import is_data_file, read_file
from .hub import FILE_SUFFIXES
from .progress import progress_bar
from .splits import canonical_split
from .text import printable

_SHARD = re.compile(r"[-_.]?\d+(-of-\d+)?$")
_ABOUT = ("dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json")
"""Files that describe a data set and hold none of it."""


class Joined(NamedTuple):
    """The rows of several files.

    lines: the line of each; none where a format has none.
    parts: the row that each file begins with, and its name.
    """

    rows: Any
    lines: list[int]
    parts: tuple[tuple[int, str], ...]


def saved_dataset(path: Path) -> Any | None:
    """The ``Dataset`` or ``DatasetDict`` in a folder that ``save_to_disk`` wrote; None for any other.

    Raises:
        InputError: it cannot be loaded.
    """
    one = (path / "dataset_info.json").is_file() and (path / "state.json").is_file()
    if not one and not (path / "dataset_dict.json").is_file():
        return None
    import datasets

    try:
        return datasets.load_from_disk(str(path))
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        raise InputError(
            f"Cannot load {printable(path)}, as save_to_disk writes it ({printable(reason)}); save it again."
        ) from None


def data_files(path: Path) -> list[Path] | None:
    """The data files in a folder, in order of their names, or those that a pattern names; None for the name of a file.

    Raises:
        InputError: there are none.
    """
    if path.is_dir():
        found = [file for file in path.rglob("*") if _is_data(file, path)]
    elif not path.exists() and glob.has_magic(str(path)):
        found = [file for name in glob.glob(str(path), recursive=True) if not (file := Path(name)).is_dir()]
    else:
        return None
    if not found:
        kind = "holds" if path.is_dir() else "names"
        raise InputError(f"{printable(path)} {kind} no data file ({', '.join(FILE_SUFFIXES)}).")
    return sorted(found)


def by_split(files: Sequence[Path], folder: Path) -> dict[str, list[Path]]:
    """Files by the split that their names begin with, or that their folder is named after; ``{}`` where none has one.

    Raises:
        InputError: only some have one.
    """
    splits: dict[str, list[Path]] = {}
    others = []
    for file in files:
        split = split_of(file, folder)
        if split is None:
            others.append(file)
        else:
            splits.setdefault(split, []).append(file)
    if splits and others:
        raise InputError(
            f"{printable(folder)} holds files of the splits {', '.join(splits)} and others, such as "
            f'{printable(others[0].name)}; name those to read, as "{printable(folder)}/*{"".join(others[0].suffixes)}".'
        )
    return splits if len(splits) > 1 else {}


def split_of(file: Path, folder: Path) -> str | None:
    """The split in a file's name (``train-00000-of-00002.parquet``), or in that of a folder below ``folder``."""
    stem = _SHARD.sub("", file.name.partition(".")[0])
    inside = file.relative_to(folder).parts[:-1] if folder in file.parents else (file.parent.name,)
    return next(filter(None, map(canonical_split, (stem, *reversed(inside)))), None)


def read_files(files: Sequence[Path]) -> Joined:
    """The rows of files, one after another.

    Raises:
        InputError: a file is empty or broken, or has other columns than the first.
    """
    pieces = [(file, *read_file(file)) for file in progress_bar("reading files", len(files), items=files, unit="file")]
    parts, first = [], 0
    for file, rows, _ in pieces:
        parts.append((first, str(file)))
        first += len(rows)
    lines = [line for _, _, some in pieces for line in some]
    return Joined(_join([rows for _, rows, _ in pieces]), lines if len(lines) == first else [], tuple(parts))


def _join(tables: list[Any]) -> Any:
    if all(hasattr(rows, "select_columns") for rows in tables):
        import datasets

        try:
            return datasets.concatenate_datasets(tables)
        except Exception:  # columns of different types
            pass
    return list(chain.from_iterable(tables))


def _is_data(file: Path, folder: Path) -> bool:
    hidden = any(part.startswith(".") for part in file.relative_to(folder).parts)
    return is_data_file(file) and not hidden and file.name not in _ABOUT and not file.is_dir()
