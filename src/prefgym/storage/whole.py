"""Folders that are whole or absent, such as checkpoints: written under another name, with sums, then renamed."""

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
    """Give a folder to write into that becomes ``target`` when the block is over, on the disk and with its sums.

    A folder that stands there is replaced, if all of its files are prefgym's. If not, ``numbered`` takes the name
    ``target-2``, and so on.

    Raises:
        InputError: what stands there is somebody else's, or has files of somebody else in it.
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
                raise InputError(f"{target} is there already and prefgym did not write all of it; move it.")
            target, number = wanted.with_name(f"{wanted.name}-{number}"), number + 1
        if outer is not None:
            outer.claim_folder(target)
        os.replace(writing, target)
        sync(target.parent)
    except BaseException:
        remove(writing)
        raise


def discard(folder: Path) -> bool:
    """Remove a folder that :func:`whole_folder` wrote; False, and nothing is done, where not all in it is as written.

    It loses its name first, so that one half removed is never taken for a whole one.
    """
    try:
        manifest = Manifest.read(folder) if folder.is_dir() and not folder.is_symlink() else None
    except InputError:  # damaged: nobody can tell whose its files are
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
    """Whether every file of a folder holds the bytes that were written.

    One without a list is not whole, unless none is expected: nobody can tell.
    """
    try:
        manifest = Manifest.read(folder, pruned=False)
    except InputError:
        return False
    return not listed if manifest is None else all(map(manifest.is_whole, manifest.files))
