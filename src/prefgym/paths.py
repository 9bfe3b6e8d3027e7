"""Words that a user means as paths, checked before they reach the file system."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from .errors import InputError, MachineError

MAX_NAME = 255  # bytes, on every file system in use
MAX_PATH = 4095
_SHOWN = 60
_NEVER_THERE = (errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR, errno.ENOENT)


def user_path(name: str | os.PathLike[str]) -> Path:
    """The path meant by a user's word, with ``~`` and ``~user`` expanded.

    It need not exist. What no file system allows is refused here, since looking it up raises ``ValueError``,
    ``OSError`` or ``RuntimeError``, or answers no, depending on the Python version.

    Raises:
        InputError: the word contains a NUL or bytes that are not text, a name in it is too long, or there is no such
            user.
    """
    text = os.fspath(name)
    if not is_text(text):
        raise InputError(f"{shortened(text)} is not a path: it contains a NUL or bytes that are not text.")
    encoded = os.fsencode(text)
    if len(encoded) > MAX_PATH or any(len(part) > MAX_NAME for part in encoded.split(os.fsencode(os.sep))):
        raise InputError(f"{shortened(text)} is not a path: a name in a path has at most {MAX_NAME} bytes.")
    try:
        return Path(text).expanduser()
    except RuntimeError:
        user = text.partition(os.sep)[0]
        raise InputError(f"{shortened(text)} is not a path: there is no user {shortened(user)} here.") from None


def is_text(text: str) -> bool:
    """Whether UTF-8 can hold it, and a file name too: no half of a surrogate pair, no NUL."""
    return "\0" not in text and (text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text))


def shortened(text: str) -> str:
    """The text in quotes as messages show it: its beginning, escaped where not printable."""
    shown = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
    return f'"{shown}"' if shown.isprintable() else repr(shown)


def check_regular(path: Path) -> None:
    """Refuse what exists and is not a file on a disk: reading a pipe or device may never end.

    Raises:
        InputError: it is something else, or does not exist.
        MachineError: the machine does not allow looking at it.
    """
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise refused(path, error) from None
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise InputError(f"{shortened(str(path))} is a pipe or a device, not a file; write its data to a file first.")


def read_bytes(path: Path, most: int = -1) -> bytes:
    """The content of a file, its first ``most`` bytes where that is given.

    Raises:
        InputError: there is no such file, or it is a folder.
        MachineError: the machine does not allow reading it.
    """
    try:
        with path.open("rb") as file:
            return file.read(most)
    except OSError as error:
        raise refused(path, error) from error


def refused(path: str | os.PathLike[str], error: OSError) -> InputError | MachineError:
    """What a system error on reading means: the name is wrong, or the machine does not allow reading it."""
    if isinstance(error, IsADirectoryError):
        return InputError(f"{path} is a folder; name a file.")
    if error.errno in _NEVER_THERE:
        return InputError(f"There is no file {path}; check its name.")
    return MachineError(f"{path} cannot be read: {error.strerror}; check its permissions and the disk.")
