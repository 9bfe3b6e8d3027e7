"""Lines that one session at a time appends to a file, and can take back from its end.

The file's earlier content keeps its bytes. Before anything is written, a note beside the file records its size and what
will be written; it is removed when the lines are on disk. A session killed in between leaves the note, by which the
next one recognises our half line at the end and removes it. An end that does not match the note exactly is somebody
else's, and stays.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ..errors import InputError, MachineError
from ..files import write_text
from ..paths import check_regular
from .own_files import Lock, not_ours, own_name, read_own
from .text import printable


class AppendedFile:
    """A file of lines, locked until it is closed; the first lines create it.

    The lock and the note are ``.NAME.prefgym-lock`` and ``.NAME.prefgym-note`` in its folder.

    Raises:
        InputError: another session has it, it is not a file, or the lock or the note is somebody else's file.
        MachineError: its folder cannot be written to.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(os.path.realpath(path))  # for a link, its target: that is what two sessions would share
        self._shown = printable(path)
        self._starts: list[int | None] = []  # per line of this session, the size before it; None: there was no file
        self._made = [folder for folder in self.path.parents if not folder.exists()]
        self._note = own_name(self.path, "note")
        with self._told():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = self._locked()
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
        """Append lines of UTF-8, all or none, each followed by a line break."""
        self._check_unchanged()
        with self._told():
            before = self._size()
            content = b"" if not before or self._ends_with_break() else b"\n"
            starts: list[int | None] = []
            for line in lines:
                starts.append((before or 0) + len(content) if starts else before)
                content += line + b"\n"
            if os.path.lexists(self._note):
                raise not_ours(self._note)  # ours was read and removed when the session began
            write_text(self._note, _note(before, content))
            try:
                with open(self.path, "ab") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
            except BaseException:
                if self._added(before, content) is not None:
                    self._cut(before)  # if that fails too, the note tells the next session
                self._note.unlink()
                self._seen = self._state()
                raise
            self._note.unlink()
            self._seen = self._state()
        self._starts += starts

    def take_back(self) -> None:
        """Remove the last line of this session; with its first, a file that this session created is deleted."""
        self._check_unchanged()
        with self._told():
            self._cut(self._starts[-1])
            self._seen = self._state()
        self._starts.pop()

    def close(self) -> None:
        """Release the lock and remove the session's leftovers: its lock file, and folders it made for nothing."""
        self._lock.release()
        for folder in self._made:
            try:
                folder.rmdir()
            except OSError:  # it is not empty
                break
        self._made = []

    def _locked(self) -> Lock:
        try:
            return Lock(own_name(self.path, "lock"))
        except BlockingIOError:
            raise InputError(
                f"Another prefgym label is writing to {self._shown}; end it first, or give another file."
            ) from None

    def _mend(self) -> None:
        """Remove what a killed session left half written, according to its note."""
        note = read_own(self._note, _told_by)
        if note is None:
            return
        before, content = note
        added = self._added(before, content)
        if added is not None:
            whole = content[len(added) : len(added) + 1] in (b"", b"\n")  # the last line is, except for its break
            kept = len(added) if whole else added.rfind(b"\n") + 1
            self._cut((before or 0) + kept if kept > 1 else before)  # a break alone ended the line before
        self._note.unlink()

    def _added(self, before: int | None, content: bytes) -> bytes | None:
        """How much of the content follows what was there before; None where something else follows."""
        size, start = self._size(), before or 0
        if size is None or not start <= size <= start + len(content):
            return None
        if size == before:
            return b""
        with open(self.path, "rb") as file:
            file.seek(start)
            added = file.read()
        return added if content.startswith(added) else None

    def _cut(self, size: int | None) -> None:
        """Truncate the file to its old size; None: it did not exist. If nothing needs cutting, it may be read-only."""
        if size == self._size():
            return
        if size is None:
            self.path.unlink(missing_ok=True)
            return
        with open(self.path, "r+b") as file:
            file.truncate(size)
            os.fsync(file.fileno())

    def _size(self) -> int | None:
        return self.path.stat().st_size if self.path.exists() else None

    def _state(self) -> tuple[int, ...] | None:
        """What changes when another program writes to the file."""
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
                    f"Another program changed {self._shown} during this session; start again to continue with what it "
                    "holds now."
                )

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Turn a system error into a MachineError."""
        try:
            yield
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise MachineError(f"{self._shown} cannot be written: {reason}.") from None


def _note(before: int | None, content: bytes) -> str:
    """A note: the size of the file, null where there was none, and what is to be appended."""
    return json.dumps({"prefgym": "lines being written", "size": before, "lines": content.decode()}) + "\n"


def _told_by(found: bytes) -> tuple[int | None, bytes] | None:
    """The content of a note; None for anything that is not exactly a note of ours."""
    try:
        note = json.loads(found)
        before, content = note["size"], note["lines"].encode()
        ours = found == _note(before, content).encode()
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    return (before, content) if ours and _is_size(before) and content.endswith(b"\n") else None


def _is_size(value: object) -> bool:
    return value is None or (type(value) is int and value >= 0)
