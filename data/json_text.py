"""Parse JSON strictly: what Python's parser silently accepts, or crashes on, is an error that names its line.

Refused are half characters (``"\\ud83d"``), duplicate names in one object, numbers of thousands of digits and values
nested too deeply.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import InputError
from .text import DEEPEST, find_half_character, printable, told_half

_HALF = re.compile(r"\\u[dD][89a-fA-F]")
"""The only way valid UTF-8 can contain half a character; whole ones may be written like this too."""


class _RepeatedNameError(ValueError):
    """A name occurs twice in an object."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise _RepeatedNameError(next(name for name in names if names.count(name) > 1))
    return found


_STRICT, _LAST_COUNTS = json.JSONDecoder(object_pairs_hook=_object), json.JSONDecoder()


def parse_json(path: Path, text: str, line: int | None = None, *, repeated: bool = False) -> Any:
    """The value of a text.

    Args:
        path: its file, for errors.
        text: the JSON.
        line: its line in the file; None: it is the whole file.
        repeated: allow duplicate names in an object, where the last counts, as programs usually read it.

    Raises:
        InputError: it is not JSON, or contains what is refused.
    """
    try:
        value = (_LAST_COUNTS if repeated else _STRICT).decode(text)
        check_value(path, text, value, line)
    except InputError:
        raise
    except json.JSONDecodeError as error:
        at = (line or 1) + error.lineno - 1
        raise InputError(
            f"Broken JSON at line {at} of {printable(path)}: {error.msg} (column {error.colno})."
        ) from None
    except _RepeatedNameError as error:
        name = printable(error)
        raise InputError(
            f'"{name}" occurs twice in one object at {_where(path, line)}; keep the one that is meant.'
        ) from None
    except RecursionError:
        raise InputError(f"Broken JSON in {_where(path, line)}: nested too deeply.") from None
    except ValueError:  # int() refuses to read more than a few thousand digits
        place = _where(path, line)
        raise InputError(f"A number in {place} has too many digits; shorten it or make it a text.") from None
    return value


def check_value(path: Path, text: str, value: Any, line: int | None = None) -> None:
    """Raise an ``InputError`` where a parsed value holds half a character, ``RecursionError`` where it is too deep.

    Values are walked only if the text shows a sign of either.
    """
    if not _HALF.search(text) and text.count("[") + text.count("{") <= DEEPEST:
        return
    found = find_half_character(value)
    if found is None:
        return
    way: Sequence[str | int] = found[0]
    if line is not None:
        place, kind = f"Line {line} of {printable(path)}", "column"
    else:
        place, kind, way = _place(path, value, way)
    name = printable(".".join(map(str, way)))
    raise InputError(told_half(f'{place}: {kind} "{name}"' if name else f"{place}: the name of a {kind}", found[1]))


def _place(path: Path, value: Any, way: Sequence[str | int]) -> tuple[str, str, Sequence[str | int]]:
    """Where something is in a file with one value: in a row, if it has rows, or else under a key."""
    for level, step in enumerate(way[:2]):
        value = value[step]
        if isinstance(step, int) and isinstance(value, dict):
            return f"Row {step + 1} of {printable(path)}", "column", way[level + 1 :]
    return printable(path), "key", way


def _where(path: Path, line: int | None) -> str:
    return printable(path) if line is None else f"line {line} of {printable(path)}"
