"""Setting an old run aside: its files, and no others, move to ``DIR.previous-N``; only users delete them.

An interrupted move is undone by whoever opens the folder next: while it lasts, ``DIR.previous-N`` holds a file
``prefgym.moving`` and ``DIR`` still the list of the old run.
"""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from ..errors import InputError
from .atomic import replacing
from .lock import check_free
from .manifest import FILES, Manifest

MOVING = "prefgym.moving"


def set_aside(folder: Path, manifest: Manifest) -> Path:
    """Move the files of a run; gives where to. A new list of files in ``folder``, then :func:`settle`, ends the move.

    Raises:
        InputError: somebody changed one of them, or another process writes in a part of it; nothing is moved.
    """
    for name in manifest.folders:
        check_free(folder / name)
    try:
        manifest.check_unchanged()
        previous = _make_previous(folder)
        (previous / MOVING).touch()
        _copy_list(folder, previous)
        _move(reversed(list(manifest.paths())), folder, previous)  # a list before its files: they are found again by it
    except BaseException:
        recover(folder)
        raise
    return previous


def told_aside(folder: Path, previous: Path) -> str:
    """The sentence that says where the old run of a folder is now."""
    there = shlex.quote(str(previous))
    return f"the run that was in {folder} is now in {previous}; when you no longer want it: rm -r {there}"


def settle(previous: Path) -> None:
    """Mark a move as finished."""
    (previous / MOVING).unlink(missing_ok=True)


def bring_back(folder: Path, previous: Path) -> None:
    """Move the files of an old run, and no others, back into its folder, which no longer holds anything newer."""
    kept = Manifest.read(previous)
    if kept is None:
        return
    (previous / MOVING).touch()
    _copy_list(previous, folder)
    homes = {parent for path in kept.paths() for parent in path.parents if parent.is_relative_to(previous)}
    _move(kept.paths(), previous, folder)
    for name in (FILES, MOVING):
        (previous / name).unlink(missing_ok=True)
    remove_empty({*homes, previous})


def recover(folder: Path) -> None:
    """Undo, or finish, an interrupted move out of ``folder``."""
    for previous in candidates(folder):
        if not (previous / MOVING).is_file():
            continue
        with suppress(InputError):
            kept, held = Manifest.read(previous), Manifest.read(folder)
            if kept is not None and held is not None and held.head["run"] == kept.head["run"]:
                bring_back(folder, previous)
            else:
                settle(previous)
            remove_empty([previous])


def _copy_list(source: Path, target: Path) -> None:
    with replacing(target / FILES) as writing:
        writing.write_bytes((source / FILES).read_bytes())


def candidates(folder: Path) -> Iterator[Path]:
    """Folders (not links) whose name says that they hold an old run of ``folder``."""
    found = [*folder.parent.glob(f"{_escaped(folder.name)}.previous-*"), *folder.glob("previous-*")]
    yield from sorted(path for path in found if path.is_dir() and not path.is_symlink())


def _escaped(name: str) -> str:
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)


def _make_previous(folder: Path) -> Path:
    """A new folder beside ``folder``; inside it where the parent is not writable or is another file system."""
    number = 1
    while True:
        beside, inside = folder.with_name(f"{folder.name}.previous-{number}"), folder / f"previous-{number}"
        number += 1
        if _exists(beside) or _exists(inside):
            continue
        with suppress(OSError):
            beside.mkdir()
            if beside.stat().st_dev == folder.stat().st_dev:
                return beside
            beside.rmdir()
        inside.mkdir()
        return inside


def _exists(path: Path) -> bool:
    with suppress(OSError):
        return os.path.lexists(path)
    return False


def _move(paths: Iterator[Path], source: Path, target: Path) -> None:
    """Move files from one folder to another, links as links; existing files stay."""
    emptied = set[Path]()
    for path in list(paths):
        place = target / path.relative_to(source)
        if path == source / FILES or os.path.lexists(place):
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(path, place)  # a rename, unless a folder in the run is on another file system
        emptied.update(parent for parent in path.parents if parent != source and parent.is_relative_to(source))
    remove_empty(emptied)


def remove_empty(folders: Iterable[Path]) -> None:
    """Remove those of the folders that are empty, inner ones first."""
    for folder in sorted(folders, key=lambda path: -len(path.parts)):
        with suppress(OSError):
            folder.rmdir()
