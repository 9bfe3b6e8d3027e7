"""Task files of Natural Instructions: a definition, examples of following it, and many instances.

Two formats are read: that of Super-NaturalInstructions (Y. Wang et al. 2022), where ``Definition`` is a list of texts
and an instance has several right outputs, and the contributors' earlier one, where both may be plain text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import InputError, nearest
from ..paths import user_path
from .files import json_kind, read_object

_DEFINITION, _EXAMPLES, _INSTANCES = "Definition", "Positive Examples", "Instances"


class Instance(NamedTuple):
    """One input of a task (may be empty), and all its right outputs."""

    input: str
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class TaskFile:
    """A task.

    Attributes:
        name: its file's, without the suffix.
        definition: the instruction; the first, if a file gives several wordings.
        examples: its positive examples, for demonstrations; they are not instances.
        instances: one or more.
    """

    name: str
    definition: str
    examples: tuple[Instance, ...]
    instances: tuple[Instance, ...]


def is_task(value: Any) -> bool:
    """Whether a parsed JSON value is a (possibly faulty) task: it has at least one of a task's keys."""
    return isinstance(value, Mapping) and any(key in value for key in (_DEFINITION, _EXAMPLES, _INSTANCES))


def read_task_file(path: str | Path) -> TaskFile:
    """Read one task.

    Raises:
        InputError: the file is missing or broken, is not a task, or a key is missing, empty or of the wrong type; the
            message names it.
    """
    value = read_object(user_path(path))
    if value is None:
        raise InputError(f"{path} does not hold one JSON object with {_DEFINITION} and {_INSTANCES}, as a task does.")
    return parse_task(value, path)


def parse_task(value: Mapping[str, Any], path: str | Path) -> TaskFile:
    """The task in a parsed file; InputError as for ``read_task_file``."""
    definition = _texts(value, _DEFINITION, f"{path}")[0]
    examples = _instances(value, _EXAMPLES, path) if value.get(_EXAMPLES) else ()
    instances = _instances(value, _INSTANCES, path)
    if not instances:
        raise InputError(f'Key "{_INSTANCES}" of {path} is empty; a task needs at least one instance.')
    return TaskFile(Path(path).stem, definition, examples, instances)


def _instances(value: Mapping[str, Any], key: str, path: str | Path) -> tuple[Instance, ...]:
    entries = _value(value, key, f"{path}")
    if not isinstance(entries, list):
        raise InputError(f'Key "{key}" of {path} holds {json_kind(entries)}, not an array of instances.')
    return tuple(
        _instance(entry, f'entry {number} of "{key}" in {path}') for number, entry in enumerate(entries, start=1)
    )


def _instance(entry: Any, place: str) -> Instance:
    if not isinstance(entry, Mapping):
        raise InputError(f"{place[0].upper()}{place[1:]} is {json_kind(entry)}, not an object with input and output.")
    given = _value(entry, "input", place)
    if not isinstance(given, str):
        raise InputError(f'Key "input" of {place} holds {json_kind(given)}, not text.')
    return Instance(given, tuple(dict.fromkeys(_texts(entry, "output", place))))


def _value(value: Mapping[str, Any], key: str, place: str) -> Any:
    if key not in value:
        raise InputError(f'No key "{key}" in {place}; its keys are {", ".join(value)}.{nearest(key, value)}')
    return value[key]


def _texts(value: Mapping[str, Any], key: str, place: str) -> list[str]:
    """The texts under a key, one or several, none of them empty."""
    found = _value(value, key, place)
    texts = found if isinstance(found, list) else [found]
    for text in texts:
        if not isinstance(text, str):
            raise InputError(f'Key "{key}" of {place} holds {json_kind(text)}, not text.')
    if not texts or not all(text.strip() for text in texts):
        raise InputError(f'Key "{key}" of {place} is empty; fill it in.')
    return texts
