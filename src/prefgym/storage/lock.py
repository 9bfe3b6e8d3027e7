"""One writer at a time in a run folder: a lock that says who holds it, and that a dead process does not keep.

``prefgym.lock`` names process, host and time, and is touched every few seconds. On one host the operating system holds
the lock and releases it when its process dies; from another host the touches show whether it is still alive.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ..errors import InputError
from .atomic import host_name, is_alive

try:
    import fcntl
except ImportError:  # Windows: only the process and the touches tell
    fcntl = None  # type: ignore[assignment]

LOCK = "prefgym.lock"
BEAT = 5.0  # seconds
DEAD = 60.0  # seconds without a touch, for a holder on another host

_BEGIN = b'{"pid": '
_held: dict[Path, int] = {}


@contextmanager
def locked(folder: Path, command: str) -> Iterator[str | None]:
    """Hold the lock of a folder; gives a sentence about the dead process it was taken from, if any.

    A folder that this process already holds may be entered again.

    Raises:
        InputError: another process holds it.
    """
    folder = folder.resolve()
    if folder in _held:
        _held[folder] += 1
        try:
            yield None
        finally:
            _held[folder] -= 1
        return
    channel, told = _take(folder / LOCK, command)
    ended = threading.Event()
    beat = threading.Thread(target=_beat, args=(channel, ended), daemon=True)
    beat.start()
    _held[folder] = 1
    try:
        yield told
    finally:
        del _held[folder]
        ended.set()
        beat.join()
        with suppress(OSError):
            (folder / LOCK).unlink()
        os.close(channel)


def _take(path: Path, command: str) -> tuple[int, str | None]:
    while True:
        if path.is_symlink():
            raise InputError(_foreign(path))
        channel = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o644)
        try:
            _check_ours(channel, path)
            free = system_lock(channel)
            owner = _owner(channel)
            if owner is not None and _lives(owner, os.fstat(channel).st_mtime, free):
                raise InputError(_busy(path.parent, owner))
            if not free and owner is None:
                raise InputError(f"{path.parent} is being written by another process; wait for it.")
            if not _is_at(channel, path):  # its holder removed it while we waited
                os.close(channel)
                continue
            told = None if owner is None else f"{_named(owner)} left {path.parent} without ending; it is taken over."
            note = {"pid": os.getpid(), "host": host_name(), "command": command, "since": time.time()}
            os.ftruncate(channel, 0)
            os.pwrite(channel, json.dumps(note).encode(), 0)
            return channel, told
        except BaseException:
            with suppress(OSError):
                os.close(channel)
            raise


def check_free(folder: Path) -> None:
    """Raise :class:`InputError` where another process writes in a folder."""
    path = folder.resolve() / LOCK
    if path.parent in _held or not path.is_file():
        return
    with locked(folder, "look"):
        pass


def _check_ours(channel: int, path: Path) -> None:
    """Raise :class:`InputError` where a user's file has the lock's name: ours begins as expected, or is truncated."""
    text = os.pread(channel, len(_BEGIN), 0)
    if not _BEGIN.startswith(text):
        raise InputError(_foreign(path))


def system_lock(channel: int) -> bool:
    """Whether no process on this host holds the lock; True where the system cannot tell."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(channel, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True


def _owner(channel: int) -> dict[str, Any] | None:
    """Who wrote the lock; None where nobody did, or the writer was killed while writing it."""
    try:
        owner = json.loads(os.pread(channel, 4096, 0))
        known = isinstance(owner["pid"], int) and 0 < owner["pid"] < 2**31 and isinstance(owner["host"], str)
        return owner if known else None
    except (ValueError, KeyError, TypeError):
        return None


def _lives(owner: dict[str, Any], touched: float, free: bool) -> bool:
    if owner["host"] != host_name():
        return time.time() - touched < DEAD
    if owner["pid"] == os.getpid():
        return False
    return is_alive(owner["pid"]) and not (free and fcntl is not None)


def _is_at(channel: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(channel), path.stat())
    except FileNotFoundError:
        return False


def _beat(channel: int, ended: threading.Event) -> None:
    while not ended.wait(BEAT):
        with suppress(OSError):
            os.utime(channel)


def _foreign(path: Path) -> str:
    return f"{path} is not prefgym's, and a lock of that name is needed; move it first."


def _named(owner: dict[str, Any]) -> str:
    return f"process {owner['pid']} on {owner['host']} (prefgym {owner.get('command', '')})"


def _busy(folder: Path, owner: dict[str, Any]) -> str:
    return f"{folder} is being written by {_named(owner)}; wait for it, or stop it first."
