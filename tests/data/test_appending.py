"""What stands beside a file that is appended to, and what a killed session left of it."""

import builtins
import errno
import json
import os
import subprocess
import sys

import pytest

from prefgym.data.appending import AppendedFile
from prefgym.errors import InputError, MachineError

ROWS = [json.dumps({"text": f"wörd {number}"}, ensure_ascii=False).encode() for number in range(3)]
USER = json.dumps({"text": "of the user"}).encode()
NAMES = [".labels.jsonl.prefgym-lock", ".labels.jsonl.prefgym-note"]
LOCK, NOTE = NAMES


@pytest.fixture
def path(tmp_path):
    return tmp_path / "labels.jsonl"


def listed(path):
    return sorted(found.name for found in path.parent.iterdir())


def content(path):
    return path.read_bytes() if path.exists() else None


def opened(path):
    AppendedFile(path).close()


def denied(monkeypatch, path, code=errno.EACCES):
    """The file lets itself be read alone."""
    real = builtins.open

    def read_only(name, mode="r", *arguments, **options):
        if os.fspath(name) == str(path) and mode not in ("r", "rb"):
            raise OSError(code, os.strerror(code), str(path))
        return real(name, mode, *arguments, **options)

    monkeypatch.setattr("builtins.open", read_only)


@pytest.fixture
def note_of(path, monkeypatch):
    """``note_of(before, rows)``: what a session has in its note while it appends the rows to what was there."""

    def note(before, rows):
        found, real = [], os.fsync

        def look(channel):
            if path.exists() and os.path.samestat(os.fstat(channel), path.stat()):
                found.append((path.parent / NOTE).read_bytes())
            real(channel)

        path.unlink(missing_ok=True)
        if before is not None:
            path.write_bytes(before)
        file = AppendedFile(path)
        with monkeypatch.context() as patch:
            patch.setattr("os.fsync", look)
            file.append(rows)
        file.close()
        return found[0], path.read_bytes()[len(before or b"") :]

    return note


@pytest.mark.parametrize("before", [b"", USER, USER + b"\n", None])
def test_a_line_torn_anywhere_by_a_kill_is_taken_off(path, note_of, before):
    """Every length of what was being written is tried: whole rows stay, half ones go."""
    note, added = note_of(before, ROWS[:2])
    start = before or b""
    for length in range(len(added) + 1):
        path.write_bytes(start + added[:length])
        (path.parent / NOTE).write_bytes(note)
        opened(path)
        rows = [end for end in range(2, len(added) + 1) if added[end : end + 1] in (b"\n", b"")]
        whole = [end for end in (*rows, *(end + 1 for end in rows)) if end <= length]
        kept = start + added[: max(whole, default=0)]
        assert content(path) == (None if before is None and not kept else kept)
        assert listed(path) == ["labels.jsonl"] * path.exists()


KILLED = """
import os, signal, sys
from pathlib import Path
from prefgym.data.appending import AppendedFile
path, real = Path(sys.argv[1]), os.fsync
def end(channel):
    real(channel)
    if path.exists() and os.path.samestat(os.fstat(channel), path.stat()):
        os.truncate(path, path.stat().st_size - int(sys.argv[2]))
        os.kill(os.getpid(), signal.SIGKILL)
path.unlink()
file = AppendedFile(path)
os.fsync = end
file.append([line.encode() for line in sys.argv[3:]])
"""


def test_what_a_killed_process_left_is_ours(path):
    path.touch()
    words = [sys.executable, "-c", KILLED, str(path), "5", *(row.decode() for row in ROWS)]
    assert subprocess.run(words, check=False).returncode == -9
    assert listed(path) == [*NAMES, "labels.jsonl"]
    assert path.read_bytes() == b"\n".join(ROWS)[:-4]
    opened(path)
    assert path.read_bytes() == b"\n".join(ROWS[:2]) + b"\n"
    assert listed(path) == ["labels.jsonl"]


@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS])
@pytest.mark.parametrize("before", [USER, USER + b"\n", b"", None])
def test_a_file_that_cannot_be_opened_leaves_no_note(path, monkeypatch, before, code):
    if before is not None:
        path.write_bytes(before)
    file = AppendedFile(path)
    with monkeypatch.context() as patch:
        denied(patch, path, code)
        with pytest.raises(MachineError, match=r"labels.jsonl cannot be written"):
            file.append(ROWS)
        assert not (path.parent / NOTE).exists()
    assert content(path) == before
    file.close()
    path.write_bytes((before or b"") + USER)  # the user writes a row, without a line break
    file = AppendedFile(path)
    file.append(ROWS[:1])
    file.close()
    assert path.read_bytes() == (before or b"") + USER + b"\n" + ROWS[0] + b"\n"


def test_a_note_of_nothing_written_is_dropped_also_where_the_file_is_read_only(path, note_of, monkeypatch):
    note, _ = note_of(USER, ROWS)
    path.write_bytes(USER)
    (path.parent / NOTE).write_bytes(note)
    with monkeypatch.context() as patch:
        denied(patch, path)
        opened(path)
    assert path.read_bytes() == USER
    assert listed(path) == ["labels.jsonl"]


def test_half_a_line_that_cannot_be_taken_off_keeps_its_note(path, note_of, monkeypatch):
    note, added = note_of(USER, ROWS)
    path.write_bytes(USER + added[:9])
    (path.parent / NOTE).write_bytes(note)
    with monkeypatch.context() as patch:
        denied(patch, path)
        with pytest.raises(MachineError, match="Permission denied"):
            AppendedFile(path)
    assert listed(path) == [NOTE, "labels.jsonl"]
    opened(path)
    assert path.read_bytes() == USER


@pytest.mark.parametrize("before", [b"", USER, USER + b"\n", None])
@pytest.mark.parametrize("torn", [0, 1, 9])
@pytest.mark.parametrize("theirs", [USER, USER + b"\n", b"\n" + USER, b"\n" + USER + b"\n" + USER, b"words"])
def test_what_the_user_wrote_after_a_kill_stays(path, note_of, before, torn, theirs):
    note, added = note_of(before, ROWS)
    held = (before or b"") + added[:torn] + theirs
    path.write_bytes(held)
    (path.parent / NOTE).write_bytes(note)
    opened(path)
    assert path.read_bytes() == held
    assert listed(path) == ["labels.jsonl"]


@pytest.mark.parametrize("held", [b"", USER[:5], ROWS[2], ROWS[0] + b"\n" + USER])
def test_another_file_put_there_after_a_kill_stays(path, note_of, held):
    note, _ = note_of(USER + b"\n", ROWS)
    path.write_bytes(held)
    (path.parent / NOTE).write_bytes(note)
    opened(path)
    assert path.read_bytes() == held


NOT_OURS = {
    "digits": b"3",
    "a number below zero": b"-1",
    "words": b"do not forget\n",
    "no text": b"\xff\x00\xfe",
    "an object": b'{"size": 3}\n',
    "nearly ours": b'{"prefgym": "lines being written", "size": 3, "lines": "{}\\n", "mine": 1}\n',
    "no size": b'{"prefgym": "lines being written", "size": true, "lines": "{}\\n"}\n',
    "a size below zero": b'{"prefgym": "lines being written", "size": -3, "lines": "{}\\n"}\n',
    "no break": b'{"prefgym": "lines being written", "size": 3, "lines": ""}\n',
    "half a character": b'{"prefgym": "lines being written", "size": 3, "lines": "\\ud83d\\n"}\n',
    "too deep": b"[" * 100_000,
    "too long a number": b"1" * 10_000,
}


def link(file):
    (file.parent / "elsewhere").write_bytes(b"3")
    file.symlink_to("elsewhere")


SHAPES = {
    **{kind: lambda file, held=held: file.write_bytes(held) for kind, held in NOT_OURS.items()},
    "a link": link,
    "a link to nothing": lambda file: file.symlink_to("nowhere"),
    "a folder": lambda file: file.mkdir(),
    "a pipe": lambda file: os.mkfifo(file),
}


def looks(folder):
    """Names, kinds and contents of everything in a folder."""
    return {
        found.name: (found.lstat().st_ino, found.lstat().st_mode, found.read_bytes() if found.is_file() else b"")
        for found in folder.iterdir()
    }


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", NAMES)
def test_files_of_somebody_else_with_names_of_ours_are_told_and_stay(path, name, shape):
    path.write_bytes(USER + b"\n" + USER)
    SHAPES[shape](path.parent / name)
    before = looks(path.parent)
    with pytest.raises(InputError, match=rf"/{name} has a name that prefgym uses .*; move it elsewhere\.$"):
        AppendedFile(path)
    assert looks(path.parent) == before


def test_an_empty_note_is_not_ours_and_an_empty_lock_is_left_as_it_is(path):
    """A process killed at once may leave an empty lock; nothing tells it from one of the user's."""
    (path.parent / LOCK).touch()
    file = AppendedFile(path)
    with pytest.raises(InputError, match="Another prefgym label is writing"):
        AppendedFile(path)
    file.append(ROWS)
    file.close()
    assert content(path.parent / LOCK) == b""
    (path.parent / NOTE).touch()
    with pytest.raises(InputError, match="move it elsewhere"):
        AppendedFile(path)
    assert listed(path) == [*NAMES, "labels.jsonl"]


def test_names_that_others_use_are_not_touched(path):
    for name in (".labels.jsonl.note", ".labels.jsonl.lock", "labels.jsonl.lock"):
        (path.parent / name).write_text("0")
    before = looks(path.parent)
    path.write_bytes(USER)
    file = AppendedFile(path)
    file.append(ROWS)
    file.close()
    path.unlink()
    assert looks(path.parent) == before


def test_files_that_appear_during_a_session_are_not_touched(path):
    file = AppendedFile(path)
    file.append(ROWS[:1])
    before = path.read_bytes()
    (path.parent / NOTE).write_text("mine")
    with pytest.raises(InputError, match="move it elsewhere"):
        file.append(ROWS[1:])
    (path.parent / LOCK).write_text("mine")
    file.close()
    assert path.read_bytes() == before
    assert [content(path.parent / name) for name in NAMES] == [b"mine", b"mine"]


def test_a_lock_that_was_removed_or_replaced_is_not_missed(path):
    file = AppendedFile(path)
    (path.parent / LOCK).unlink()
    (path.parent / LOCK).write_text("mine")
    file.close()
    file.close()
    assert content(path.parent / LOCK) == b"mine"


def test_a_full_disk_leaves_no_lock(path, monkeypatch):
    def full(*arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr("os.write", full)
        with pytest.raises(MachineError, match="No space left"):
            AppendedFile(path)
    assert listed(path) == []
