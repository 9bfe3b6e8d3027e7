"""Data handed over in Python, taken for what they are: lists, dicts, pandas, Polars, Arrow, ``datasets``.

No library is imported to recognise its objects: whoever hands one over has imported it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

from ..errors import InputError, nearest
from ..numbers import plain
from .parquet import rows_of_arrow
from .splits import FRACTIONS, canonical_split
from .text import printable

_HAVE = (
    "a list of texts or dicts, a dict of columns, a DataFrame, an Arrow table, or a Dataset or DatasetDict of datasets"
)


class Given(NamedTuple):
    """The rows of an object.

    rows: a list of dicts, or a ``datasets.Dataset``.
    split: which of its splits they are; None where it has none.
    splits: the splits it has.
    """

    rows: Any
    split: str | None = None
    splits: frozenset[str] = frozenset()


def is_source(data: Any) -> bool:
    """Whether data are named (a file, a folder, a hub id) rather than handed over."""
    return isinstance(data, str | os.PathLike)


def has_splits(data: Any) -> bool:
    """Whether an object holds several tables, each under the name of a split."""
    if _is(data, "datasets", "DatasetDict", "IterableDatasetDict"):
        return True
    named = isinstance(data, Mapping) and bool(data) and all(map(canonical_split, data))
    return named and all(map(_is_table, data.values()))


def read_given(data: Any, what: str, split: str | None = None, limit: int | None = None, exact: bool = True) -> Given:
    """The rows of an object, or of one of its splits.

    A value that is missing (None, NaN, ``pandas.NA``) is None, and what NumPy holds is Python's.

    Args:
        data: the object.
        what: what messages call it, such as ``"the prompts given"``.
        split: of an object that has splits. None takes "train", or the only one.
        limit: at most this many rows.
        exact: whether a split is all that stands under its name, and an error where none does; else one that is missing
            is to be taken from "train", as of a data set of the hub.

    Raises:
        InputError: it is no table, has columns of different lengths or no such split, or is a stream without a limit.
    """
    if has_splits(data):
        name, own = _split_of(data, what, split, exact)
        meant = own.get(name, name)
        splits = frozenset({*(FRACTIONS if exact else own.values()), meant})
        return Given(_rows(data[name], what, limit), meant, splits)
    return Given(_rows(data, what, limit))


def is_missing(value: Any) -> bool:
    """Whether a value says that there is none: None, NaN, ``pandas.NA`` or NaT.

    >>> is_missing(None), is_missing(float("nan")), is_missing("nan"), is_missing(0)
    (True, True, False, False)
    """
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    value = plain(value)
    return isinstance(value, float) and value != value


def _split_of(data: Mapping[Any, Any], what: str, split: str | None, exact: bool) -> tuple[Any, dict[Any, str]]:
    """The name of the split to read, and what each name means."""
    own: dict[Any, str] = {}
    for name in sorted(data, key=lambda name: name not in FRACTIONS):  # "validation" before "dev"
        meant = canonical_split(name)
        if meant is not None and meant not in own.values():
            own[name] = meant
    names = {meant: name for name, meant in own.items()}
    others = () if exact and split else (names.get("train"), *(data if len(data) == 1 else ()))
    for name in (split, names.get(split or "train"), *others):
        if name is not None and name in data:
            return name, own
    listed = ", ".join(printable(name) for name in data) or "none"
    raise InputError(
        f"{_upper(what)} have no split {split or 'train'}, only {listed}; hand over one of them, "
        f"as data[...].{nearest(split or 'train', map(str, data))}"
    )


def _rows(data: Any, what: str, limit: int | None) -> Any:
    if _is(data, "datasets", "Dataset"):
        rows = data.with_format(None)  # whatever way its values are shown
        return rows if limit is None else rows.select(range(min(limit, len(rows))))
    if _is(data, "datasets", "IterableDataset"):
        if limit is None:
            raise InputError(
                f"{_upper(what)} are an IterableDataset, which may have no end; take as many rows as you want from it, "
                "as list(data.take(1000))."
            )
        return [_row(row) for row in data.take(limit)]
    if _is(data, "pyarrow", "Table", "RecordBatch"):
        return _rows(rows_of_arrow(data, what), what, limit)
    if _is(data, "pandas", "DataFrame"):
        _check_names(list(data.columns), what)
        return [_row(row) for row in (data if limit is None else data.head(limit)).to_dict("records")]
    if _is(data, "polars", "LazyFrame"):
        data = data.collect()
    if _is(data, "polars", "DataFrame"):
        return [_row(row) for row in islice(data.iter_rows(named=True), limit)]
    if isinstance(data, Mapping):
        return _of_columns(data, what)[:limit]
    return _of_list(data, what, limit)


def _of_columns(data: Mapping[Any, Any], what: str) -> list[dict[str, Any]]:
    """The rows of a dict of columns."""
    for name, column in data.items():
        if not _is_column(column):
            raise InputError(
                f'{_upper(what)} are a dict whose "{printable(name)}" is {_kind(column)}, not a column (a list); '
                "give a list of such dicts, or a dict of columns."
            )
    columns = {name: list(column) for name, column in data.items()}
    lengths = {len(column) for column in columns.values()}
    if len(lengths) > 1:
        told = ", ".join(f"{printable(name)} has {len(column)}" for name, column in columns.items())
        raise InputError(f"{_upper(what)} have columns of different lengths: {told}.")
    return [_row(dict(zip(columns, values, strict=True))) for values in zip(*columns.values(), strict=True)]


def _of_list(data: Any, what: str, limit: int | None) -> list[dict[str, Any]]:
    """The rows of a list of texts, of conversations or of rows."""
    if isinstance(data, str | bytes | set | frozenset) or not isinstance(data, Iterable) or _has_axes(data):
        raise InputError(f"{_upper(what)} are {_kind(data)}; give {_HAVE}.")
    rows = []
    for number, row in enumerate(islice(data, limit), start=1):
        value = plain(row)
        if isinstance(value, Mapping):
            rows.append(_row(value))
        elif isinstance(value, str) or _is_conversation(value):
            rows.append({"prompt": value})
        else:
            raise InputError(f"Row {number} of {what} is {_kind(value)}, neither a text nor a dict of columns.")
    return rows


def _row(row: Mapping[Any, Any]) -> dict[str, Any]:
    return {name: _python(value) for name, value in row.items()}


def _python(value: Any) -> Any:
    """A cell as Python has it: no NumPy scalar, no NaN, and lists where pandas holds arrays of objects."""
    value = None if is_missing(value) else plain(value)
    if str(getattr(value, "dtype", "")) == "object" and hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list):
        return [_python(item) for item in value]
    return value


def _is_table(value: Any) -> bool:
    """Whether a value under the name of a split is a table: a list of texts is, and a list of dicts."""
    table = _is(value, "datasets", "Dataset", "IterableDataset") or _is(value, "pyarrow", "Table", "RecordBatch")
    return table or _is(value, "pandas", "DataFrame") or _is(value, "polars", "DataFrame", "LazyFrame")


def _is_column(value: Any) -> bool:
    sized = hasattr(value, "__len__") and hasattr(value, "__iter__")
    return sized and not isinstance(value, str | bytes | Mapping | set | frozenset) and not _has_axes(value)


def _has_axes(value: Any) -> bool:
    """Whether it is an array with more, or fewer, than one axis."""
    return hasattr(value, "shape") and len(value.shape) != 1


def _is_conversation(value: Any) -> bool:
    return isinstance(value, Sequence) and bool(value) and all(isinstance(item, Mapping) for item in value)


def _check_names(names: list[Any], what: str) -> None:
    for number, name in enumerate(names):
        if names.index(name) != number:
            raise InputError(f'{_upper(what)} have the column "{printable(name)}" twice; rename one.')


def _is(value: Any, library: str, *names: str) -> bool:
    """Whether a value is of a library's class with one of these names."""
    return any(kind.__name__ in names and kind.__module__.partition(".")[0] == library for kind in type(value).__mro__)


def _kind(value: Any) -> str:
    name = type(value).__name__
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"


def _upper(text: str) -> str:
    return text[0].upper() + text[1:]
