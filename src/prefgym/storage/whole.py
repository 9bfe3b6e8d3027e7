"""Folders that are complete or absent, such as checkpoints: written under another name, with sums, then renamed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import InputError
from .atomic import partial_name, remove, sync
from .manifest import Manifest, covering, opened, sync_folder


@contextmanager
def whole_folder(target: Path, command: str = "checkpoint", *, numbered: bool = False) -> Iterator[Path]:
    """Give a folder to write into that becomes ``target`` when the block is over, on disk and with its checksums.

    An existing folder is replaced, if all of its files are prefgym's. If not, ``numbered`` uses the name ``target-2``,
    and so on.

    Raises:
        InputError: the existing folder is somebody else's, or contains somebody else's files.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    target = target.parent.resolve() / target.name
    writing = target.with_name(partial_name())
    try:
        writing.mkdir()
        with opened(Manifest.begin(writing, command, durable=False)):
            yield writing
        sync_folder(writing)
        outer, wanted, number = covering(target), target, 2
        while os.path.lexists(target) and not discard(target):
            if not numbered:
                raise InputError(f"{target} already exists and prefgym did not write all of it; move it.")
            target, number = wanted.with_name(f"{wanted.name}-{number}"), number + 1
        if outer is not None:
            outer.claim_folder(target)
        os.replace(writing, target)
        sync(target.parent)
    except BaseException:
        remove(writing)
        raise


def discard(folder: Path) -> bool:
    """Remove a folder that :func:`whole_folder` wrote; False, and nothing is done, if anything in it was changed.

    It is renamed first, so that a half-removed one is never taken for a complete one.
    """
    try:
        manifest = Manifest.read(folder) if folder.is_dir() and not folder.is_symlink() else None
    except InputError:  # damaged: nobody can tell whose files these are
        return False
    if manifest is None:
        return False
    if not all(map(manifest.is_whole, manifest.files)):
        return False
    own = set(manifest.paths())
    homes = {parent for path in own for parent in path.parents}
    for home, folders, names in os.walk(manifest.folder):
        links = [name for name in folders if (Path(home) / name).is_symlink()]
        if Path(home) not in homes or not own.issuperset(Path(home) / name for name in (*names, *links)):
            return False
    aside = folder.with_name(partial_name())
    os.replace(folder, aside)
    remove(aside)
    return True


def is_whole(folder: Path, listed: bool = True) -> bool:
    """Whether every file in a folder is as it was written.

    One without a list is not complete, unless none is expected: nobody can tell.
    """
    try:
        manifest = Manifest.read(folder, pruned=False)
    except InputError:
        return False
    return not listed if manifest is None else all(map(manifest.is_whole, manifest.files))
