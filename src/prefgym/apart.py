"""What a command reads must not be what it replaces: its config would then name what it wrote itself."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from .errors import InputError
from .paths import user_path

_DATA = ("data.prompts", "data.pairs", "data.comparisons")
_MODELS = ("RUN", "MODEL", "model", "env.model", "env.reference")
_JUDGES = ("env.reward", "evaluation.judge")


def check_apart(folder: Path, replaced: Iterable[Path], inputs: Mapping[str, Any]) -> None:
    """Raise :class:`InputError` where an option names a file, or a folder with one, that the command replaces.

    Args:
        folder: what is written, as the user named it.
        replaced: the files in it that move aside or are written anew, without links.
        inputs: options by key, and what is named without one.
    """
    from .data.benchmarks import READERS

    files, home = set(replaced), folder.resolve()
    lost = files | {parent for file in files for parent in file.parents if parent.is_relative_to(home)}
    for key in (*_MODELS, *_JUDGES, *_DATA, *(name.replace("-", "_") for name in READERS)):
        for name in _names(inputs.get(key), key):
            if Path(os.path.realpath(user_path(name))) in lost:
                raise InputError(
                    f"{key} names {name}, which --output {folder} would set aside or write anew; give another --output."
                )


def _names(value: Any, key: str) -> Iterator[str]:
    """The words in a value that are no short names."""
    from .rewards.reward import BUILT_IN

    if isinstance(value, Mapping | list | tuple):
        for part in value.values() if isinstance(value, Mapping) else value:
            yield from _names(part, key)
    elif isinstance(value, str) and not (key in _JUDGES and value in {*BUILT_IN, "preference"}):
        yield value
