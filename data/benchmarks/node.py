"""Checked access to the values of a JSON file, so that an error names the file and the key."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeVar, overload

from ...errors import InputError, nearest
from ...paths import user_path
from ..files import read_json

T = TypeVar("T")
D = TypeVar("D")

_KINDS = {
    str: "text",
    bool: "true or false",
    list: "an array",
    dict: "an object",
    int: "a number",
    float: "a number",
    type(None): "null",
}


@dataclass(frozen=True)
class Node:
    """A value in a JSON file and its path: ``examples[3].target_scores``."""

    value: Any
    file: Path
    key: str = ""

    @classmethod
    def read(cls, file: Path) -> Node:
        """The object in a file.

        Raises:
            InputError: a file that is missing, broken, or not an object.
        """
        node = cls(read_json(file), file)
        return node if isinstance(node.value, dict) else node._wrong(dict)

    def error(self, told: str) -> InputError:
        """An error about this value."""
        return InputError(f"{self.file}: {self.key or 'the file'} {told}")

    @overload
    def get(self, name: str, kind: type[T]) -> T: ...

    @overload
    def get(self, name: str, kind: type[T], default: D, /) -> T | D: ...

    def get(self, name: str, kind: type[Any], *default: Any) -> Any:
        """The value under a key, or the default if it is missing or null.

        Raises:
            InputError: no such key and no default; a value of another kind.
        """
        if default and self.value.get(name) is None:
            return default[0]
        child = self.child(name)
        return child.value if type(child.value) is kind else child._wrong(kind)

    def child(self, name: str) -> Node:
        """The node under a key; InputError where there is none."""
        if name not in self.value:
            keys = ", ".join(map(str, self.value))
            raise self.error(f'has no "{name}"; its keys are {keys or "none"}.{nearest(name, self.value)}')
        return Node(self.value[name], self.file, f"{self.key}.{name}" if self.key else name)

    def objects(self, name: str) -> list[Node]:
        """The objects of an array under a key, at least one; InputError for anything else."""
        values = self.get(name, list)
        array = self.child(name)
        nodes = [Node(value, self.file, f"{array.key}[{index}]") for index, value in enumerate(values)]
        if not nodes:
            raise array.error("is empty.")
        return [node if isinstance(node.value, dict) else node._wrong(dict) for node in nodes]

    def texts(self, name: str) -> tuple[str, ...]:
        """A text, or an array of texts, at least one; InputError for anything else."""
        child = self.child(name)
        values = child.value if isinstance(child.value, list) else [child.value]
        if not values:
            raise child.error("is empty.")
        if not all(isinstance(value, str) for value in values):
            raise child.error("must be text, or an array of texts.")
        return tuple(values)

    def _wrong(self, kind: type) -> NoReturn:
        found = _KINDS.get(type(self.value), type(self.value).__name__)
        raise self.error(f"must be {_KINDS[kind]}, not {found}.")


def find_files(folder: str, pattern: str, *homes: str) -> list[Path]:
    """The files matching a pattern in the first of these places below ``folder`` with any; ``"."`` is the folder.

    Raises:
        InputError: no such folder, or no such file in it.
    """
    root = user_path(folder)
    if not root.is_dir():
        siblings = [path.name for path in root.parent.iterdir() if path.is_dir()] if root.parent.is_dir() else []
        raise InputError(f"There is no folder {folder}.{nearest(root.name, siblings)}")
    for home in homes:
        found = sorted(path for path in (root / home).glob(pattern) if path.is_file())
        if found:
            return found
    raise InputError(f"{folder} holds no benchmark file ({pattern}).")
