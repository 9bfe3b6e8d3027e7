"""Files that appear complete or not at all, on a disk that may be full and under a process that may be killed.

Everything unfinished has a name that only this package uses, ``.prefgym-HOST-PID-RUN-N.partial``: leftovers of a killed
process are recognised by it and swept away by the next one that writes to the folder.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import re
import secrets
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_HOST = re.sub(r"[^A-Za-z0-9]", "_", socket.gethostname())[:40] or "host"
_RUN = secrets.token_hex(4)  # process ids are reused, in a restarted container always
_PARTIAL = re.compile(r"\.prefgym-([A-Za-z0-9_]+)-(\d+)-([0-9a-f]{8})-\d+\.partial")
_numbers = itertools.count()
_OS_ERROR = re.compile(r"\(os error (\d+)\)")  # how libraries written in Rust report one


def partial_name() -> str:
    """Return a name for something unfinished that no other writer uses."""
    return f".prefgym-{_HOST}-{os.getpid()}-{_RUN}-{next(_numbers)}.partial"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary name in the same folder to write to; then flush to disk and rename to ``path``."""
    writing = path.with_name(partial_name())
    try:
        with machine_errors(path):
            yield writing
            put(writing, path)
    except BaseException:
        writing.unlink(missing_ok=True)
        raise


def put(writing: Path, path: Path) -> None:
    """Flush a finished file to the disk and rename it to ``path``, open to whom the umask opens new files.

    Some libraries write files that only their owner can read, whatever the umask.
    """
    umask = os.umask(0o077)  # the system tells it in no other way
    os.umask(umask)
    with suppress(OSError):  # file systems without modes
        writing.chmod(0o666 & ~umask)
    sync(writing)
    os.replace(writing, path)


@contextmanager
def machine_errors(path: Path) -> Iterator[None]:
    """Raise an ``OSError`` where a library reports a system error in its own words."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            raise OSError(error.errno, os.strerror(error.errno), str(path)) from error
        raise
    except Exception as error:
        found = _OS_ERROR.search(str(error))
        if found is None:
            raise
        raise OSError(int(found[1]), os.strerror(int(found[1])), str(path)) from error


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk; a file system that cannot do it is left alone."""
    channel = os.open(path, os.O_RDONLY)
    try:
        os.fsync(channel)
    except OSError as error:
        if path.is_dir() or error.errno is None:
            return
        raise
    finally:
        os.close(channel)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_partial(path: Path) -> bool:
    """Whether a name marks something unfinished."""
    return _PARTIAL.fullmatch(path.name) is not None


def sweep(folder: Path, *, alone: bool = False) -> None:
    """Remove what killed processes left unfinished in ``folder`` and under it; links are not followed.

    Args:
        folder: where.
        alone: whether this process holds the folder's lock, so that another host's leftovers are dead too.
    """
    for home, folders, names in os.walk(folder):
        for name in [*folders, *names]:
            found = _PARTIAL.fullmatch(name)
            if found is not None and _is_dead(found[1], int(found[2]), found[3], alone):
                remove(Path(home) / name)
        folders[:] = [name for name in folders if not _PARTIAL.fullmatch(name)]


def _is_dead(host: str, pid: int, run: str, alone: bool) -> bool:
    """Whether the process that wrote under such a name is dead."""
    if host != _HOST:
        return alone
    return run != _RUN if pid == os.getpid() else not is_alive(pid)


def remove(path: Path) -> None:
    """Remove something unfinished, a file or a folder; it may already be gone."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def is_alive(pid: int) -> bool:
    """Whether a process is running on this host."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def host_name() -> str:
    """Return this host's name, as used in names of unfinished files and in locks."""
    return _HOST
