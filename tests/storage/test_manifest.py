"""Who wrote a file: the list of a folder, and that only what is on it is replaced."""

import json

import pytest

from prefgym.errors import InputError
from prefgym.files import write_text
from prefgym.storage.manifest import FILES, Manifest, check_whole, managed


def test_what_is_written_in_an_open_folder_is_on_its_list(tmp_path):
    with managed(tmp_path / "run"):
        write_text(tmp_path / "run" / "a.txt", "one")
        write_text(tmp_path / "run" / "a.txt", "two")
        with managed(tmp_path / "run" / "deep" / "inner"):
            write_text(tmp_path / "run" / "deep" / "inner" / "b.txt", "three")
    (tmp_path / "run" / "mine.txt").write_text("mine")
    manifest = Manifest.read(tmp_path / "run")
    names = [path.relative_to(manifest.folder).as_posix() for path in manifest.paths()]
    assert names == ["a.txt", "deep/inner/b.txt", f"deep/inner/{FILES}", FILES]
    assert manifest.is_whole("a.txt")
    (tmp_path / "run" / "a.txt").write_text("one")  # an earlier content: the process may have been killed in between
    assert manifest.is_whole("a.txt")
    (tmp_path / "run" / "a.txt").write_text("onf")
    assert not manifest.is_whole("a.txt")


def test_a_file_of_somebody_else_is_refused_and_stays(tmp_path):
    (tmp_path / "README.md").write_text("mine")
    with (
        managed(tmp_path),
        pytest.raises(InputError, match=r"README\.md already exists and prefgym did not write it"),
    ):
        write_text(tmp_path / "README.md", "ours")
    assert (tmp_path / "README.md").read_text() == "mine"


def test_a_line_without_its_file_owns_nothing_that_comes_later(tmp_path):
    with managed(tmp_path) as manifest:
        write_text(tmp_path / "a.txt", "one")
        manifest.claim(manifest.folder / "metrics.json")
    again = Manifest.read(tmp_path)
    assert again.pruned
    assert not again.holds(again.folder / "metrics.json")


@pytest.mark.parametrize("name", ["/etc/passwd", "../thesis", "a/../../thesis", "", "."])
def test_a_list_cannot_name_what_lies_outside(tmp_path, name):
    head = {"format": 1, "run": "x", "command": "train"}
    (tmp_path / FILES).write_text(json.dumps(head) + "\n" + json.dumps({"file": name}) + "\n")
    with pytest.raises(InputError, match="is damaged"):
        Manifest.read(tmp_path)


def test_nor_what_a_link_leads_to(tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis").write_text("mine")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "link").symlink_to(tmp_path / "home")
    head = {"format": 1, "run": "x", "command": "train"}
    rows = [head, {"file": "link/thesis"}, {"folder": "link"}]
    (tmp_path / "run" / FILES).write_text("".join(json.dumps(row) + "\n" for row in rows))
    manifest = Manifest.read(tmp_path / "run")
    assert [path.name for path in manifest.paths()] == [FILES]


@pytest.mark.parametrize(
    "text",
    ["", "[]\n", "{}\n", "null\n", '{"format": 1, "run": 3, "command": "x"}\n', "\x00\n", '{"format": 1}\n{"a": 1}\n'],
)
def test_a_damaged_list_is_one_sentence(tmp_path, text):
    (tmp_path / FILES).write_text(text)
    with pytest.raises(InputError, match="is damaged"):
        Manifest.read(tmp_path)


def test_a_torn_last_line_is_that_of_a_killed_process(tmp_path):
    with managed(tmp_path):
        write_text(tmp_path / "a.txt", "one")
    with (tmp_path / FILES).open("a") as file:
        file.write('{"file": "b.t')
    assert list(Manifest.read(tmp_path).files) == ["a.txt"]
    with managed(tmp_path):
        write_text(tmp_path / "b.txt", "two")
    assert sorted(Manifest.read(tmp_path).files) == ["a.txt", "b.txt"]


def test_changed_weights_are_named(tmp_path):
    with managed(tmp_path):
        write_text(tmp_path / "model.safetensors", "weights")
        write_text(tmp_path / "README.md", "card")
    (tmp_path / "README.md").write_text("a card of my own")
    check_whole(tmp_path)
    (tmp_path / "model.safetensors").write_text("weightz")
    with pytest.raises(InputError, match=r"model\.safetensors. does not hold the bytes that were written"):
        check_whole(tmp_path)
