"""Lines that one session at a time appends to a file, and takes back from its end.

What stood in the file before keeps its bytes. Before anything is written, a note beside the file says how long it was;
it goes when the lines are on the disk. A session that was killed in between leaves the note, by which the next one
knows what of the end is a half line of ours, and takes it off.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from ..errors import InputError, MachineError
from ..files import write_text
from ..paths import check_regular
from .text import printable

_NOT_THERE = -1
"""What a note says of a file that was not there."""


class AppendedFile:
    """A file of lines, locked until it is closed; it is made by the first lines.

    The lock and the note are ``.NAME.lock`` and ``.NAME.note`` in its folder.

    Raises:
        InputError: another session has it, or it is no file.
        MachineError: its folder cannot be written to.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(os.path.realpath(path))  # of a link, the file: it is what two sessions would share
        self._shown = printable(path)
        self._starts: list[int | None] = []  # of each line of this session the size before it; None: there was no file
        self._made = [folder for folder in self.path.parents if not folder.exists()]
        self._note = self.path.with_name(f".{self.path.name}.note")
        with self._told():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = FileLock(self.path.with_name(f".{self.path.name}.lock"))
            self._acquire()
        try:
            if self.path.exists():
                check_regular(self.path)
            with self._told():
                self._mend()
                self._seen = self._state()
        except BaseException:
            self.close()
            raise

    def append(self, lines: Sequence[bytes]) -> None:
        """Write lines at the end, all or none, each with a line break behind it."""
        self._check_unchanged()
        with self._told():
            before = self._size()
            content = b"" if not before or self._ends_with_break() else b"\n"
            starts: list[int | None] = []
            for line in lines:
                starts.append((before or 0) + len(content) if starts else before)
                content += line + b"\n"
            write_text(self._note, str(_NOT_THERE if before is None else before))
            try:
                with open(self.path, "ab") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
            except BaseException:
                self._cut(before)  # where that fails too, the note tells the next session
                self._note.unlink()
                self._seen = self._state()
                raise
            self._note.unlink()
            self._seen = self._state()
        self._starts += starts

    def take_back(self) -> None:
        """Take the last line of this session off again; with the first, a file that this session made is removed."""
        self._check_unchanged()
        with self._told():
            self._cut(self._starts[-1])
            self._seen = self._state()
        self._starts.pop()

    def close(self) -> None:
        """Give the lock back and remove what is left of the session: its lock file, and folders it made for nothing."""
        if not self._lock.is_locked:
            return
        Path(self._lock.lock_file).unlink(missing_ok=True)  # while it is ours: nobody else can hold it
        self._lock.release()
        for folder in self._made:
            try:
                folder.rmdir()
            except OSError:  # it holds something
                return

    def _acquire(self) -> None:
        """Take the lock, and again where the file that was locked is one that its owner removed meanwhile."""
        file = Path(self._lock.lock_file)
        while True:
            try:
                self._lock.acquire(timeout=0)
            except Timeout:
                raise InputError(
                    f"Another prefgym label is writing to {self._shown}; end it first, or give another file."
                ) from None
            if file.exists():
                return
            self._lock.release()

    def _mend(self) -> None:
        """Take off what a killed session left half written, as its note says."""
        if not self._note.exists():
            return
        told, size = self._note.read_text(encoding="utf-8"), self._size()
        if size is not None and re.fullmatch(r"-1|\d+", told):
            start = max(int(told), 0)
            with open(self.path, "rb") as file:
                file.seek(start)
                whole = file.read().rfind(b"\n") + 1
            kept = start + (whole if whole > 1 else 0)  # a break alone ended the line that stood there before
            if kept == 0 and int(told) == _NOT_THERE:
                self._cut(None)
            elif kept < size:
                self._cut(kept)
        self._note.unlink()

    def _cut(self, size: int | None) -> None:
        """Make the file as long as it was; None: it was not there."""
        if size is None:
            self.path.unlink(missing_ok=True)
            return
        with open(self.path, "r+b") as file:
            file.truncate(size)
            os.fsync(file.fileno())

    def _size(self) -> int | None:
        return self.path.stat().st_size if self.path.exists() else None

    def _state(self) -> tuple[int, ...] | None:
        """What changes when another program writes the file."""
        if not self.path.exists():
            return None
        found = self.path.stat()
        return found.st_ino, found.st_size, found.st_mtime_ns

    def _ends_with_break(self) -> bool:
        with open(self.path, "rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read() == b"\n"

    def _check_unchanged(self) -> None:
        with self._told():
            if self._state() != self._seen:
                raise InputError(
                    f"Another program changed {self._shown} during this session; start again to go on with what it "
                    "holds now."
                )

    @contextmanager
    def _told(self) -> Iterator[None]:
        """An error of the system is one of the machine."""
        try:
            yield
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise MachineError(f"{self._shown} cannot be written: {reason}.") from None
