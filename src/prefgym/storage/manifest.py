"""Who wrote a file: every folder that prefgym writes holds the list of its files, and only those are ever replaced.

``prefgym-files.jsonl`` has a head, ``{"format": 1, "run": ID, "command": "train"}``, and a line for each file,
``{"file": "metrics.json", "sha256": ...}`` (null while it grows), or for a folder with its own list,
``{"folder": "evaluation"}``. A line is written before its file, so a process killed in between leaves no file of
unknown origin. A file that was written several times has several lines, and its bytes match one of them. One with other
bytes was changed by somebody else, and counts as theirs.

While a folder is open in this process (:func:`managed`), every write under it goes through :func:`claim`.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ..errors import InputError
from .atomic import replacing, sha256_of, sync

FILES = "prefgym-files.jsonl"
FORMAT = 1


class Manifest:
    """The list of the files that prefgym wrote in one folder.

    Attributes:
        folder: where, without links.
        head: facts about the folder: ``format``, ``run`` (a unique id), ``command``, and what a
            command adds.
        files: relative path -> the SHA-256 of each content written there; none for a file that grows.
        folders: relative paths of folders with their own list.
        durable: whether writing a line waits until it is on disk.
        pruned: whether a file, or half a line, was dropped when the list was read; the next write rewrites the list.
    """

    def __init__(self, folder: Path, head: dict[str, Any], durable: bool = True) -> None:
        self.folder, self.head, self.durable = folder, head, durable
        self.files: dict[str, set[str]] = {}
        self.folders: set[str] = set()
        self.pruned = False

    @classmethod
    def read(cls, folder: Path, pruned: bool = True) -> Manifest | None:
        """The list in a folder, or None where there is none; ``pruned`` drops what is no longer there.

        Raises:
            InputError: the list is damaged.
        """
        file = folder / FILES
        if not file.is_file():
            return None
        try:
            text = file.read_text(encoding="utf-8")
            head, *rows = _rows(text)
            manifest = cls(folder.resolve(), head)
            if not isinstance(head["run"], str) or not isinstance(head["command"], str):
                raise TypeError
            if head["format"] != FORMAT:
                raise InputError(f"{file} was written by a newer version of prefgym; use that one.")
            for row in rows:
                manifest._take(row)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"{file} is damaged; move {folder} elsewhere, or give another folder.") from None
        if pruned:
            files = {name: sums for name, sums in manifest.files.items() if manifest._is_here(name)}
            folders = {name for name in manifest.folders if manifest._is_here(f"{name}/{FILES}")}
            manifest.pruned = len(files) < len(manifest.files) or not text.endswith("\n")
            manifest.files, manifest.folders = files, folders
        return manifest

    @classmethod
    def begin(
        cls, folder: Path, command: str, *, durable: bool = True, facts: Mapping[str, str] | None = None
    ) -> Manifest:
        """Write a list without files, replacing any other; its head contains the facts too."""
        head = {"format": FORMAT, "run": uuid.uuid4().hex, "command": command, **(facts or {})}
        manifest = cls(folder.resolve(), head, durable)
        manifest.rewrite()
        return manifest

    def rewrite(self) -> None:
        """Rewrite the whole list: head, files and folders as known now."""
        rows: list[dict[str, Any]] = [self.head]
        for name, sums in self.files.items():
            rows += [{"file": name, "sha256": one} for one in sorted(sums)] or [{"file": name, "sha256": None}]
        rows += [{"folder": name} for name in sorted(self.folders)]
        with replacing(self.folder / FILES) as writing:
            writing.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        self.pruned = False

    def claim(self, path: Path, sha256: str | None = None) -> None:
        """Put a file on the list before it is written; without a checksum it counts as growing, until it gets one.

        Raises:
            InputError: it already exists, and somebody else wrote it, or changed it.
        """
        name = path.relative_to(self.folder).as_posix()
        if name not in self.files and os.path.lexists(path):
            raise InputError(f"{path} already exists and prefgym did not write it; move it, or give another folder.")
        sums = self.files.get(name)
        if sums and (sha256 is None or sha256 not in sums) and os.path.lexists(path):
            self.check_unchanged([name])
        if sums is not None and (sha256 in sums if sha256 else not sums):
            return
        self.files[name] = {*(sums or ()), sha256} if sha256 else set()
        self._append({"file": name, "sha256": sha256})

    def record(self, path: Path) -> None:
        """Record the checksum of a file that no longer grows."""
        name, sha256 = path.relative_to(self.folder).as_posix(), sha256_of(path)
        if sha256 not in self.files.get(name, ()):
            self.files.setdefault(name, set()).add(sha256)
            self._append({"file": name, "sha256": sha256})

    def check_unchanged(self, names: Iterable[str] | None = None) -> None:
        """Raise :class:`InputError` where a file on the list, or in a listed folder, holds what somebody else wrote."""
        for name in list(self.files if names is None else names):
            if os.path.lexists(self.folder / name) and not self.is_whole(name):
                raise InputError(
                    f"{self.folder / name} was changed since prefgym wrote it; move it first, or give another folder."
                )
        for name in self.folders if names is None else ():
            inner = Manifest.read(self.folder / name)
            if inner is not None:
                inner.check_unchanged()

    def claim_folder(self, path: Path) -> None:
        """Put a folder that has, or will have, its own list on this one."""
        name = path.relative_to(self.folder).as_posix()
        if name not in self.folders:
            self.folders.add(name)
            self._append({"folder": name})

    def holds(self, path: Path) -> bool:
        """Whether a file of the folder is on the list."""
        return path.relative_to(self.folder).as_posix() in self.files

    def paths(self) -> Iterator[Path]:
        """Every existing file on the list, in listed folders too, lists included; this list comes last."""
        for name in self.files:
            if self._is_here(name):
                yield self.folder / name
        for name in self.folders:
            inner = Manifest.read(self.folder / name)
            if inner is not None and self._is_here(f"{name}/{FILES}"):
                yield from inner.paths()
        yield self.folder / FILES

    def is_whole(self, name: str) -> bool:
        """Whether a file on the list exists with the bytes that were written; without a checksum, whether it exists."""
        path, sums = self.folder / name, self.files[name]
        return path.is_file() and (not sums or sha256_of(path) in sums)

    def _take(self, row: dict[str, Any]) -> None:
        if "folder" in row:
            self.folders.add(_relative(row["folder"]))
            return
        name, sha256 = _relative(row["file"]), row.get("sha256")
        self.files[name] = {*self.files.get(name, ()), str(sha256)} if sha256 is not None else set()

    def _is_here(self, name: str) -> bool:
        """Whether a name is of something inside the folder, not elsewhere by way of a link that somebody made."""
        path = self.folder / name
        return os.path.lexists(path) and path.parent.resolve() == path.parent

    def _append(self, row: dict[str, Any]) -> None:
        if self.pruned:
            self.rewrite()
            return
        with (self.folder / FILES).open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
            if self.durable:
                file.flush()
                os.fsync(file.fileno())


_open: dict[Path, Manifest] = {}


def claim(path: Path, sha256: str | None = None) -> None:
    """Put a file on the list of the open folder it is in, if there is one; see :meth:`Manifest.claim`."""
    path = path.parent.resolve() / path.name
    manifest = covering(path)
    if manifest is not None:
        manifest.claim(path, sha256)


def record(path: Path) -> None:
    """Record the checksum of a file that no longer grows, on the list of the open folder it is in, if there is one."""
    path = path.parent.resolve() / path.name
    manifest = covering(path)
    if manifest is not None and path.is_file():
        manifest.record(path)


def covering(path: Path) -> Manifest | None:
    """The list of the innermost open folder that contains a path."""
    return next((_open[parent] for parent in path.parents if parent in _open), None)


def is_open(folder: Path) -> bool:
    """Whether a folder, or one that it lies in, is open for writing in this process."""
    return covering(folder.resolve() / FILES) is not None


@contextmanager
def managed(folder: str | Path, command: str = "save") -> Iterator[Manifest]:
    """Open a folder for writing: it gets a list if it has none; files of others in it are refused, not replaced.

    Within an open folder it belongs to that folder. A folder that is already open stays open.
    """
    folder = Path(folder)
    made = [path for path in (folder.absolute(), *folder.absolute().parents) if not os.path.lexists(path)]
    folder.mkdir(parents=True, exist_ok=True)
    folder = folder.resolve()
    if folder in _open:
        yield _open[folder]
        return
    outer = covering(folder)
    if outer is not None:
        outer.claim_folder(folder)
    found = Manifest.read(folder)
    manifest = found or Manifest.begin(folder, command)
    try:
        with opened(manifest):
            yield manifest
    finally:
        if found is None and next(manifest.paths()) == folder / FILES:  # nothing was written
            (folder / FILES).unlink()
            for path in made:
                with suppress(OSError):
                    path.rmdir()


@contextmanager
def opened(manifest: Manifest) -> Iterator[Manifest]:
    """Claim writes under the list's folder on it."""
    _open[manifest.folder] = manifest
    try:
        yield manifest
    finally:
        del _open[manifest.folder]


def check_whole(folder: Path, suffix: str = ".safetensors") -> None:
    """Raise :class:`InputError` where a file with this ending was changed since it was written; no list passes."""
    manifest = Manifest.read(folder)
    if manifest is None:
        return
    for name in manifest.files:
        if name.endswith(suffix) and "/" not in name and not manifest.is_whole(name):
            raise InputError(
                f'"{folder / name}" does not hold the bytes that were written; restore it from a backup or train '
                f"again, or remove {folder / FILES} if you changed the weights on purpose."
            )


def sync_folder(folder: Path) -> None:
    """Wait until every file under a folder, and its names, are on disk."""
    for home, _, names in os.walk(folder):
        for name in names:
            sync(Path(home) / name)
        sync(Path(home))


def _rows(text: str) -> list[dict[str, Any]]:
    """The lines; a torn last one, from a process killed while writing, is left out."""
    rows = [json.loads(line) for line in text.split("\n")[:-1]]
    if not rows or not all(isinstance(row, dict) for row in rows):
        raise ValueError("no list of files")
    return rows


def _relative(name: Any) -> str:
    """A path from a list that stays inside its folder; ``ValueError`` for any other."""
    path = Path(name)
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise ValueError(name)
    return path.as_posix()
