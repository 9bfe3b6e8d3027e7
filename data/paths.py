"""Local files that a user names: whether they are there, and their bytes."""

from __future__ import annotations

import errno
import stat
from pathlib import Path

from ..errors import InputError, MachineError
from .text import printable

_NEVER_THERE = (errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR, errno.ENOENT)


def is_there(source: str | Path) -> bool:
    """Whether a file or folder of that name is there: it goes before presets and hub ids."""
    try:
        return Path(source).exists()
    except OSError as error:  # a text that is far too long to be a name is none
        if error.errno in _NEVER_THERE:
            return False
        raise refused(source, error) from None


def local_path(source: str | Path) -> Path:
    """The path, with the home that ``~`` or ``~user`` stands for.

    Raises:
        InputError: there is no such user.
    """
    try:
        return Path(source).expanduser()
    except RuntimeError:
        user = printable(Path(source).parts[0])
        raise InputError(f"There is no home folder {user}; give the path of {printable(source)} in full.") from None


def check_regular(path: Path) -> None:
    """Raise an ``InputError`` where a path that is there is no file on a disk: reading a pipe or device may not end."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise refused(path, error) from None
    if not stat.S_ISREG(mode):
        raise InputError(f"{printable(path)} is a pipe or a device, not a file; write its data to a file first.")


def read_bytes(path: Path) -> bytes:
    """The bytes of a file.

    Raises:
        InputError: it is not there.
        MachineError: the machine does not let it be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise refused(path, error) from None


def refused(path: str | Path, error: OSError) -> InputError | MachineError:
    """What an error of the system means: there is no such file, or it cannot be read."""
    if error.errno in _NEVER_THERE:
        return InputError(f"No file {printable(path)}; check its name.")
    reason = error.strerror or type(error).__name__
    return MachineError(f"Cannot read {printable(path)}: {reason}; check its permissions and the disk.")
