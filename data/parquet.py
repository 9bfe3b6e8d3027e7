"""Read Parquet files into a ``datasets.Dataset``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..errors import InputError, MachineError
from ..paths import refused
from .text import printable


def read_parquet(path: Path) -> Any:
    """The rows of a file, with all texts checked.

    Raises:
        InputError: it is broken, names a column twice, or contains a text that is not UTF-8 or a type without values.
        MachineError: it cannot be read.
    """
    import pyarrow.parquet

    name = printable(path)
    try:
        with path.open("rb") as file:
            _check_names(name, pyarrow.parquet.read_schema(file).names)
            file.seek(0)
            table = pyarrow.parquet.read_table(file)
    except InputError:
        raise
    except OSError as error:
        if error.errno is not None:  # a system error, not one of the format
            raise refused(path, error) from None
        raise _broken(name, error, "Parquet") from None
    except MemoryError:
        raise MachineError(f"{name} does not fit into memory; give a smaller file.") from None
    except Exception as error:
        raise _broken(name, error, "Parquet") from None
    return rows_of_arrow(table, name, "Parquet")


def rows_of_arrow(table: Any, name: str, form: str = "an Arrow table") -> Any:
    """The rows of an Arrow table, or of a record batch, called ``name`` in messages; raises as ``read_parquet``."""
    import pyarrow
    from datasets import Dataset

    if isinstance(table, pyarrow.RecordBatch):
        table = pyarrow.Table.from_batches([table])
    _check_names(name, table.column_names)
    _check_columns(name, table)
    try:
        rows = Dataset(table)
        if len(rows):
            rows[0]  # a type that cannot be converted to a value fails here
    except Exception as error:
        raise _broken(name, error, form) from None
    return rows


def _check_names(name: str, columns: list[str]) -> None:
    for number, column in enumerate(columns):
        if columns.index(column) != number:
            raise InputError(f'{name} names the column "{printable(column)}" twice; rename one.')


def _check_columns(name: str, table: Any) -> None:
    import pyarrow

    for number, column in enumerate(table.column_names):
        try:
            table.column(number).validate(full=True)
        except pyarrow.ArrowInvalid:
            row = _first_broken_row(table.column(number))
            raise InputError(
                f'Row {row + 1} of {name}: column "{printable(column)}" holds a text that is not UTF-8, or half a '
                "character; remove it or write the whole one."
            ) from None


def _first_broken_row(column: Any) -> int:
    for row, cell in enumerate(column):
        try:
            cell.as_py()
        except UnicodeDecodeError:
            return row
    return 0


def _broken(name: str, error: Exception, form: str) -> InputError:
    reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
    return InputError(f"Cannot read {name} as {form}: {printable(reason)}.")
