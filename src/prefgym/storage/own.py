"""Whose run is in a folder: a writer replaces its own run, and sets aside anybody else's.

A folder that this process has open (``manifest.opened``) is left to whoever opened it: a command has already set the
old run aside.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..errors import InputError
from .aside import recover, set_aside, settle, told_aside
from .lock import locked
from .manifest import FILES, Manifest, is_open, managed


class OwnRuns:
    """The runs that one writer began or continued: their folders and ids."""

    def __init__(self) -> None:
        self._runs: dict[Path, str] = {}

    def add(self, folder: str | Path) -> None:
        """Count the run in a folder as the writer's own, e.g. one that it was loaded from."""
        with suppress(InputError):  # a damaged list, which is told when the folder is written
            manifest = Manifest.read(Path(folder))
            if manifest is not None:
                self._add(manifest)

    @contextmanager
    def writing(self, folder: str | Path, command: str) -> Iterator[Path]:
        """Open a folder for writing; gives its absolute path. Another's run in it is set aside, with a warning.

        Raises:
            InputError: the old run is being written by another process, or somebody changed a file of it.
        """
        self._make_way(Path(folder).resolve(), command)
        with managed(folder, command) as manifest:
            self._add(manifest)
            yield manifest.folder

    def _add(self, manifest: Manifest) -> None:
        self._runs[manifest.folder] = manifest.head["run"]

    def _make_way(self, folder: Path, command: str) -> None:
        if is_open(folder) or not self._is_of_others(Manifest.read(folder)):
            return
        with locked(folder, command):
            recover(folder)
            manifest = Manifest.read(folder)
            if manifest is None or not self._is_of_others(manifest):
                return
            previous = set_aside(folder, manifest)
            Manifest.begin(folder, command)
            settle(previous)
        warnings.warn(told_aside(folder, previous), stacklevel=5)  # the line that called learn or save

    def _is_of_others(self, manifest: Manifest | None) -> bool:
        """Whether a list names files that are there, and is not of a run of the writer's own."""
        if manifest is None or self._runs.get(manifest.folder) == manifest.head["run"]:
            return False
        return next(manifest.paths()) != manifest.folder / FILES
