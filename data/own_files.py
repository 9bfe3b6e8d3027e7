"""Our own small files beside a user's file, recognised by their name and content.

A file with such a name and any other content is the user's: it is refused by name, and never changed or removed.
"""

from __future__ import annotations

import json
import os
import stat
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from ..errors import InputError
from ..paths import read_bytes
from ..storage.lock import system_lock
from .text import printable

Told = TypeVar("Told")
_NO_LINKS = getattr(os, "O_NOFOLLOW", 0)  # missing on Windows


def own_name(path: Path, what: str) -> Path:
    """The name of our file beside another."""
    return path.with_name(f".{path.name}.prefgym-{what}")


def read_own(path: Path, parse: Callable[[bytes], Told | None]) -> Told | None:
    """The parsed content of our file; None where it does not exist.

    Args:
        path: of the file.
        parse: parses its content; None where that is not ours.

    Raises:
        InputError: what is there is not ours, or not a file: a link, a folder, a pipe.
        MachineError: it cannot be read.
    """
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return None
    told = parse(read_bytes(path)) if stat.S_ISREG(mode) else None
    if told is None:
        raise not_ours(path)
    return told


def not_ours(path: Path) -> InputError:
    """The error for a file that has one of our names."""
    return InputError(
        f"{printable(path)} has a name that prefgym uses for its own files, but prefgym did not write it; "
        "move it elsewhere."
    )


class Lock:
    """A file that one process at a time holds; the system releases it when the process dies.

    An existing file is never written to. When the lock is released the file is removed, if its content is ours: one
    left empty or half written by a killed process stays, and can be locked as well.

    Raises:
        BlockingIOError: another process, or another lock of this one, has it.
        InputError: the file is not ours.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._content = json.dumps({"prefgym": "locked while this file is here"}).encode() + b"\n"
        while True:
            channel, made = self._open()
            close = weakref.finalize(self, os.close, channel)  # also if nobody releases it
            try:
                if not system_lock(channel):
                    raise BlockingIOError(f"{path} is locked")
                if self._is_at(channel):
                    break
            except BaseException:
                close()
                raise
            close()  # its owner removed the file meanwhile
        self._channel, self._close = channel, close
        if made:
            try:
                os.write(channel, self._content)
            except BaseException:
                path.unlink(missing_ok=True)
                close()
                raise

    def release(self) -> None:
        """Release the lock; a second time does nothing."""
        if not self._close.alive:
            return
        try:
            if self._is_at(self._channel) and os.pread(self._channel, 4096, 0) == self._content:
                self._path.unlink(missing_ok=True)  # while it is still ours: nobody else can hold it
        finally:
            self._close()

    def _open(self) -> tuple[int, bool]:
        """The file, and whether it was created."""
        while True:
            try:
                return os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666), True
            except FileExistsError:
                read_own(self._path, lambda found: self._content.startswith(found) or None)
            try:
                return os.open(self._path, os.O_RDWR | _NO_LINKS), False
            except FileNotFoundError:  # its owner removed it just now
                continue

    def _is_at(self, channel: int) -> bool:
        """Whether the open file still has its name."""
        try:
            return os.path.samestat(os.fstat(channel), self._path.lstat())
        except FileNotFoundError:
            return False
