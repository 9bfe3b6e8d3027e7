import json

import pytest

from prefgym import files


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    file = files.write_text(tmp_path / "deep" / "a.txt", "old")

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr("prefgym.storage.atomic.os.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        files.write_text(file, "new")
    assert file.read_text() == "old"
    assert [path.name for path in file.parent.iterdir()] == ["a.txt"]


def test_json_without_a_number_is_not_written(tmp_path):
    assert json.loads(files.write_json(tmp_path / "a.json", {"ä": 1.5}).read_text(encoding="utf-8")) == {"ä": 1.5}
    with pytest.raises(ValueError, match="JSON"):
        files.write_json(tmp_path / "a.json", {"x": float("nan")})
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == {"ä": 1.5}
