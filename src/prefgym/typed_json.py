"""JSON that prefgym wrote, read back into checked types: missing keys and wrong types are named, never guessed.

A kind is ``float`` (a finite number), ``int``, ``bool``, ``str``, ``dict``, ``list``, ``None``, ``object`` (anything),
several of them (``int | None``), :class:`Number`, or with their items: ``list[str]``, ``dict[str, float]``,
``{"mean": float}`` (an object with at least these keys).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from types import UnionType
from typing import Any, NoReturn, get_args, get_origin

from .errors import InputError
from .paths import is_text, read_bytes, shortened

MAX_INT = 2**63 - 1


class Number:
    """The kind of any number, NaN and infinity too."""


_NAMES: dict[Any, str] = {
    float: "a number",
    Number: "a number",
    int: "a whole number",
    bool: "true or false",
    str: "a text",
    dict: "an object",
    list: "a list",
    type(None): "null",
}


def read_object(
    file: Path, required: Mapping[str, Any], optional: Mapping[str, Any] | None = None, *, step: str
) -> dict[str, Any]:
    """The object in a JSON file, with the values of the named keys checked.

    Args:
        file: to read.
        required: the kind of each required key.
        optional: the kind of each optional key; an absent one becomes None.
        step: what the user can do about a damaged file, without a period at the end.

    Returns:
        Everything in the file, with numbers of kind ``float`` as floats.

    Raises:
        InputError: no such file, not JSON, not an object, or a key that is missing or of another kind.
        MachineError: the machine does not allow reading it.
    """
    return _object(file, _parsed(file, _text(file, step), step), required, optional, step=step)


def read_rows(
    file: Path,
    required: Mapping[str, Any],
    optional: Mapping[str, Any] | None = None,
    *,
    others: Any = object,
    step: str,
) -> list[dict[str, Any]]:
    """The objects in a file of JSON Lines; as :func:`read_object`, and the message names the line.

    All further keys have the kind ``others``.
    """
    lines = enumerate(_text(file, step).split("\n"), start=1)
    return [
        _object(file, _parsed(file, line, step, number), required, optional, others=others, step=step, line=number)
        for number, line in lines
        if line.strip()
    ]


def read_value(file: Path, kind: Any, *, step: str) -> Any:
    """The value in a JSON file, checked against a kind; as :func:`read_object`."""
    try:
        return check_kind(_parsed(file, _text(file, step), step), kind, "it")
    except InputError as error:
        _damaged(file, error, step)


def check_kind(value: Any, kind: Any, what: str) -> Any:
    """``value`` as a kind; InputError ``its "shift" is a text, not a number`` for another, with ``what`` first."""
    if isinstance(kind, Mapping):
        found = check_kind(value, dict, what)
        lacking = [key for key in kind if key not in found]
        if lacking:
            raise InputError(f'{what} has no "{lacking[0]}"')
        return found | {key: check_kind(found[key], one, f"{what}, at {shortened(key)},") for key, one in kind.items()}
    kinds = get_args(kind) if isinstance(kind, UnionType) else (kind,)
    for one in kinds:
        origin = get_origin(one) or one
        if origin is object or origin is Any:
            return value
        if origin is Number and type(value) in (int, float):
            return value
        if origin is float and type(value) in (int, float) and _is_finite(value):
            return float(value)
        if origin is int and type(value) is int and abs(value) <= MAX_INT:
            return value
        if origin is str and isinstance(value, str) and _is_whole(value):
            return value
        if origin is bool and isinstance(value, bool):
            return value
        if origin in (None, type(None)) and value is None:
            return value
        if origin in (list, dict) and isinstance(value, origin):
            return _checked_content(value, get_args(one), what)
    raise InputError(f"{what} is {_told(value)}, not {' or '.join(_name(one) for one in kinds)}")


def _checked_content(value: Any, kinds: tuple[Any, ...], what: str) -> Any:
    if not kinds:
        return value
    if isinstance(value, dict):
        return {key: check_kind(item, kinds[1], f"{what}, at {shortened(key)},") for key, item in value.items()}
    return [check_kind(item, kinds[0], f"{what}, at {place},") for place, item in enumerate(value)]


def _object(
    file: Path,
    value: Any,
    required: Mapping[str, Any],
    optional: Mapping[str, Any] | None,
    *,
    others: Any = object,
    step: str,
    line: int | None = None,
) -> dict[str, Any]:
    whole = "it" if line is None else f"line {line}"
    kinds = {**required, **(optional or {})}
    try:
        found: dict[str, Any] = check_kind(value, dict, whole)
        lacking = [key for key in required if key not in found]
        if lacking:
            raise InputError(f'{whole} has no "{lacking[0]}"')
        return {
            key: check_kind(
                found.get(key),
                kinds.get(key, others) if key in found else object,
                f"its {shortened(key)}" if line is None else f"the {shortened(key)} of line {line}",
            )
            for key in {**found, **kinds}
        }
    except InputError as error:
        _damaged(file, error, step)


def _damaged(file: Path, reason: object, step: str) -> NoReturn:
    raise InputError(f'"{file}" is damaged: {reason}; {step}.') from None


def _text(file: Path, step: str) -> str:
    try:
        return read_bytes(file).decode("utf-8")
    except UnicodeDecodeError:
        _damaged(file, "it is not UTF-8 text", step)


def _parsed(file: Path, text: str, step: str, line: int = 1) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        _damaged(file, f"its line {line + error.lineno - 1} is not JSON ({error.msg})", step)
    except RecursionError:
        _damaged(file, "it is nested too deeply", step)
    except ValueError:  # from int(), which reads only a few thousand digits
        _damaged(file, "a number in it is too long", step)


def _is_finite(value: int | float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def _name(kind: Any) -> str:
    return _NAMES.get(get_origin(kind) or (type(None) if kind is None else kind), "a value")


def _is_whole(text: str) -> bool:
    """Whether UTF-8 can hold a text; a NUL is a character like any other, and small models do write it."""
    return is_text(text.replace("\0", ""))


def _told(value: Any) -> str:
    """A description of what a value is instead."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN or infinite"
    if type(value) is int and abs(value) > MAX_INT:
        return "a number too large"
    if isinstance(value, str) and not _is_whole(value):
        return "a text with half of a surrogate pair"
    return _NAMES[type(value)]
