"""Folders that are whole or absent, and files under a process that is killed."""

import os

import pytest

from prefgym.errors import InputError
from prefgym.files import write_text
from prefgym.storage import atomic
from prefgym.storage.manifest import managed
from prefgym.storage.whole import discard, is_whole, whole_folder


def test_a_folder_appears_with_its_sums_or_not_at_all(tmp_path):
    with pytest.raises(AttributeError), whole_folder(tmp_path / "point") as writing:
        write_text(writing / "a.txt", 1)
    assert list(tmp_path.iterdir()) == []
    with whole_folder(tmp_path / "point") as writing:
        assert atomic.is_partial(writing)
        write_text(writing / "a.txt", "one")
    assert is_whole(tmp_path / "point")
    for spoiled in ("two", "on", None):
        (tmp_path / "point" / "a.txt").unlink() if spoiled is None else (tmp_path / "point" / "a.txt").write_text(
            spoiled
        )
        assert not is_whole(tmp_path / "point")


def test_replacing_a_folder_never_leaves_half_of_the_old_one_under_its_name(tmp_path, monkeypatch):
    with whole_folder(tmp_path / "point") as writing:
        write_text(writing / "a.txt", "one")

    def killed(path):
        assert not (tmp_path / "point").exists() or is_whole(tmp_path / "point")
        raise KeyboardInterrupt

    monkeypatch.setattr("prefgym.storage.whole.remove", killed)
    with pytest.raises(KeyboardInterrupt), whole_folder(tmp_path / "point") as writing:
        write_text(writing / "a.txt", "two")


def test_a_folder_with_a_file_of_somebody_else_is_kept(tmp_path):
    with whole_folder(tmp_path / "point") as writing:
        write_text(writing / "a.txt", "one")
    (tmp_path / "point" / "mine.txt").write_text("mine")
    assert not discard(tmp_path / "point")
    with pytest.raises(InputError, match="did not write all of it"), whole_folder(tmp_path / "point") as writing:
        write_text(writing / "a.txt", "two")
    assert (tmp_path / "point" / "a.txt").read_text() == "one"
    (tmp_path / "other").mkdir()
    assert not discard(tmp_path / "other")
    (tmp_path / "point" / "mine.txt").unlink()
    for make in (lambda path: path.mkdir(), lambda path: path.symlink_to(tmp_path)):
        make(tmp_path / "point" / "mine")
        assert not discard(tmp_path / "point")
        path = tmp_path / "point" / "mine"
        path.unlink() if path.is_symlink() else path.rmdir()
    assert discard(tmp_path / "point")


def test_the_outer_folder_knows_the_inner_one(tmp_path):
    with managed(tmp_path) as manifest, whole_folder(tmp_path / "points" / "one") as writing:
        write_text(writing / "a.txt", "one")
    assert manifest.folders == {"points/one"}


def test_what_a_dead_process_left_is_swept_and_a_living_ones_stays(tmp_path):
    host = atomic.host_name()
    dead = subprocess_id()
    names = {
        f".prefgym-{host}-{dead}-00000000-1.partial": False,
        f".prefgym-{host}-{os.getpid()}-00000000-1.partial": False,  # an earlier life of this id
        f".prefgym-{host}-{os.getppid()}-00000000-1.partial": True,
        ".prefgym-elsewhere-1-00000000-1.partial": True,
        atomic.partial_name(): True,
        ".mine.partial": True,
    }
    for name in names:
        (tmp_path / "deep" / name).mkdir(parents=True)
    atomic.sweep(tmp_path)
    assert {name: (tmp_path / "deep" / name).exists() for name in names} == names
    atomic.sweep(tmp_path, alone=True)
    assert not (tmp_path / "deep" / ".prefgym-elsewhere-1-00000000-1.partial").exists()


def subprocess_id() -> int:
    """The id of a process that has ended."""
    child = os.fork()
    if not child:
        os._exit(0)
    os.waitpid(child, 0)
    return child


def test_an_error_of_the_system_in_other_words_is_an_os_error(tmp_path):
    with pytest.raises(OSError, match="No space left") as failure, atomic.machine_errors(tmp_path):
        raise RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)")
    assert failure.value.filename == str(tmp_path)
    with pytest.raises(RuntimeError, match="other"), atomic.machine_errors(tmp_path):
        raise RuntimeError("other")
