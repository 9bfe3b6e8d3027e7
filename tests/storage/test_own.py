"""A writer replaces its own runs; what others left in a folder is set aside, told, and never mixed with it."""

from pathlib import Path

import pytest

from prefgym.errors import InputError
from prefgym.files import write_text
from prefgym.storage.manifest import FILES, Manifest, managed
from prefgym.storage.own import OwnRuns


def write(owner: OwnRuns, folder: Path, text: str, name: str = "history.jsonl") -> None:
    with owner.writing(folder, "learn") as place:
        write_text(place / name, text)


def test_ones_own_run_is_replaced_and_another_is_set_aside(tmp_path, recwarn):
    one, other, folder = OwnRuns(), OwnRuns(), tmp_path / "run"
    write(one, folder, "1")
    write(one, folder, "2", "config.yaml")
    write(one, folder, "3")
    assert not recwarn
    (folder / "mine.txt").write_text("mine")
    with pytest.warns(UserWarning, match=r"is now in .*run\.previous-1; .* rm -r ") as told:
        write(other, folder, "4")
    assert len(told) == 1
    assert sorted(path.name for path in folder.iterdir()) == ["history.jsonl", "mine.txt", FILES]
    before = tmp_path / "run.previous-1"
    assert [(before / name).read_text() for name in ("history.jsonl", "config.yaml")] == ["3", "2"]
    write(other, folder, "5")  # and goes on there
    with pytest.warns(UserWarning, match="previous-2"):
        write(one, folder, "6")  # what was its own is no longer


def test_a_run_that_was_read_is_ones_own_and_a_copy_of_it_is_not(tmp_path, recwarn):
    write(OwnRuns(), tmp_path / "run", "1")
    reader = OwnRuns()
    reader.add(tmp_path / "run")
    (tmp_path / "copy").mkdir()
    for name in ("history.jsonl", FILES):
        (tmp_path / "copy" / name).write_bytes((tmp_path / "run" / name).read_bytes())
    write(reader, tmp_path / "run", "2")
    assert not recwarn
    with pytest.warns(UserWarning, match=r"copy\.previous-1"):
        write(reader, tmp_path / "copy", "3")


def test_a_folder_that_is_open_is_its_openers(tmp_path, recwarn):
    with managed(tmp_path / "run", "train"):
        write_text(tmp_path / "run" / "config.yaml", "seed: 0")
        write(OwnRuns(), tmp_path / "run", "1")
        write(OwnRuns(), tmp_path / "run" / "inner", "1")
        write(OwnRuns(), tmp_path / "run" / "inner", "2")
    assert not recwarn
    assert {"config.yaml", "history.jsonl"} <= Manifest.read(tmp_path / "run").files.keys()


def test_a_file_that_somebody_changed_keeps_the_run_where_it_is(tmp_path):
    write(OwnRuns(), tmp_path / "run", "1")
    (tmp_path / "run" / "history.jsonl").write_text("mine")
    with pytest.raises(InputError, match=r"history\.jsonl was changed"):
        write(OwnRuns(), tmp_path / "run", "2")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
