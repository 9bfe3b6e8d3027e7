import errno
import json

import pytest

from prefgym.data.comparisons import Comparison, load_comparisons
from prefgym.data.label_file import Judgement, LabelFile
from prefgym.data.text_pairs import TextPair
from prefgym.errors import InputError, MachineError

PAIR = TextPair("Why?\nSay it.", "because \u2028 so", "no")


def reopened(file):
    """The file as the next session opens it."""
    file.close()
    return LabelFile(file.path)


def pair(number):
    return TextPair(f"prompt {number}", "one", "two")


def test_what_is_written_is_read_as_comparisons_ties_included(tmp_path):
    file = LabelFile(tmp_path / "new" / "labels.jsonl")
    file.add([Judgement(PAIR, "second", "Ann")])
    file.add([Judgement(pair(1), "tie", "Ann"), Judgement(pair(2), "first", "model", 0.75)])
    assert load_comparisons(file.path) == [
        Comparison(PAIR.prompt, "no", PAIR.first, group=PAIR.prompt, annotator="Ann"),
        Comparison("prompt 1", "one", "two", tie=True, group="prompt 1", annotator="Ann"),
        Comparison("prompt 2", "one", "two", group="prompt 2", annotator="model"),
    ]
    assert json.loads(file.path.read_text(encoding="utf-8").split("\n")[2])["probability"] == 0.75


def test_a_new_session_knows_what_was_judged_by_whom(tmp_path):
    LabelFile(tmp_path / "labels.jsonl").add([Judgement(PAIR, "second", "Ann")])
    file = LabelFile(tmp_path / "labels.jsonl")
    assert len(file) == 1
    assert file.holds(PAIR, "Ann")
    assert file.holds(TextPair(PAIR.prompt, PAIR.second, PAIR.first), "Ann")
    assert not file.holds(PAIR, "Bob")
    assert not file.holds(pair(1), "Ann")
    assert file.prompts("Ann") == {PAIR.prompt}
    assert file.prompts("Bob") == set()


def test_a_judgement_taken_back_leaves_the_others_as_they_were(tmp_path):
    file = LabelFile(tmp_path / "labels.jsonl")
    first, second = Judgement(PAIR, "second", "Ann"), Judgement(PAIR, "first", "Bob")
    file.add([first])
    before = file.path.read_bytes()
    file.add([second])
    file.take_back(second)
    assert file.path.read_bytes() == before
    assert file.holds(PAIR, "Ann")
    assert not file.holds(PAIR, "Bob")
    with pytest.raises(ValueError, match="only the last"):
        file.take_back(second)
    file.take_back(first)
    assert not file.path.exists()
    with pytest.raises(ValueError, match="only the last"):
        file.take_back(first)
    file.close()
    assert [path.name for path in tmp_path.iterdir()] == []


def test_a_stop_while_writing_loses_nothing(tmp_path, monkeypatch):
    file = LabelFile(tmp_path / "labels.jsonl")
    file.add([Judgement(PAIR, "second", "Ann")])
    before = file.path.read_bytes()

    def stopped(*names):
        raise KeyboardInterrupt

    for step in ("os.replace", "os.fsync"):
        with monkeypatch.context() as patch:
            patch.setattr(step, stopped)
            with pytest.raises(KeyboardInterrupt):
                file.add([Judgement(pair(1), "tie", "Ann")])
        with reopened(file) as again:
            assert again.path.read_bytes() == before
            assert len(again) == 1
        assert [path.name for path in tmp_path.iterdir()] == ["labels.jsonl"]


def test_files_of_something_else_are_left_alone(tmp_path):
    path = tmp_path / "labels.jsonl"
    path.write_text('{"prompt": "p", "chosen": "a", "rejected": "b"}\n')
    with pytest.raises(InputError, match=r'labels.jsonl holds something else: it has no column "first"'):
        LabelFile(path)
    row = Judgement(PAIR, "second", "Ann").row()
    path.write_text(json.dumps(row) + "\n" + json.dumps({**row, "label": "2"}) + "\n")
    with pytest.raises(InputError, match=r"Label '2' at line 2 of .* is not one of first, second, tie"):
        LabelFile(path)
    with pytest.raises(InputError, match=r"JSON Lines; give a file such as labels.jsonl"):
        LabelFile(tmp_path / "labels.csv")


ROW = Judgement(PAIR, "second", "Ann").row()
OWN = {
    "as people write it": json.dumps(ROW, indent=None, separators=(" , ", ":"), sort_keys=True) + "\r\n\r\n",
    "with a column of theirs": json.dumps({**ROW, "note": "é"}, ensure_ascii=True) + "\n",
    "without a last line break": json.dumps(ROW),
    "with a mark in front": "\ufeff" + json.dumps(ROW) + "\n",
    "empty": "",
}


@pytest.mark.parametrize("kind", OWN)
def test_what_stood_in_the_file_keeps_its_bytes(tmp_path, kind):
    path = tmp_path / "labels.jsonl"
    before = OWN[kind].encode()
    path.write_bytes(before)
    path.chmod(0o640)
    inode = path.stat().st_ino
    held = len(load_comparisons(path)) if before else 0
    with LabelFile(path) as file:
        assert len(file) == held
        judgements = [Judgement(pair(number), "tie", "Ann") for number in range(3)]
        file.add(judgements[:2])
        file.add(judgements[2:])
        assert path.read_bytes().startswith(before)
        assert len(load_comparisons(path)) == held + 3
        for judgement in reversed(judgements):
            file.take_back(judgement)
        assert path.read_bytes() == before
        file.add(judgements[:1])
    assert path.read_bytes().startswith(before)
    assert len(load_comparisons(path)) == held + 1
    assert (path.stat().st_ino, path.stat().st_mode & 0o777) == (inode, 0o640)


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "labels.jsonl").symlink_to(tmp_path / "elsewhere" / "real.jsonl")
    with LabelFile(tmp_path / "labels.jsonl") as file:
        file.add([Judgement(PAIR, "second", "Ann")])
    assert (tmp_path / "labels.jsonl").is_symlink()
    assert len(load_comparisons(tmp_path / "elsewhere" / "real.jsonl")) == 1


def test_a_second_session_is_refused_and_the_file_is_free_after_the_first(tmp_path):
    path = tmp_path / "labels.jsonl"
    (tmp_path / "link.jsonl").symlink_to(path)
    with LabelFile(path) as file:
        for name in (path, tmp_path / "link.jsonl"):
            with pytest.raises(InputError, match=r"Another prefgym label is writing to .*jsonl; end it first"):
                LabelFile(name)
        file.add([Judgement(PAIR, "second", "Ann")])
    with LabelFile(path) as file:
        assert len(file) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["labels.jsonl", "link.jsonl"]


def test_a_session_that_writes_nothing_leaves_nothing(tmp_path):
    with LabelFile(tmp_path / "new" / "folder" / "labels.jsonl"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_what_another_program_wrote_meanwhile_is_not_touched(tmp_path):
    path = tmp_path / "labels.jsonl"
    first = Judgement(PAIR, "second", "Ann")
    with LabelFile(path) as file:
        file.add([first])
        path.write_text("theirs\n")
        for change in (lambda: file.add([Judgement(pair(1), "tie", "Ann")]), lambda: file.take_back(first)):
            with pytest.raises(InputError, match=r"Another program changed .*labels.jsonl during this session"):
                change()
        assert path.read_text() == "theirs\n"


def test_a_half_line_of_somebody_else_is_refused(tmp_path):
    path = tmp_path / "labels.jsonl"
    path.write_text(json.dumps(ROW) + "\n" + json.dumps(ROW)[:40])
    before = path.read_bytes()
    with pytest.raises(InputError, match=r"Broken JSON at line 2 of .*labels.jsonl"):
        LabelFile(path)
    assert path.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["labels.jsonl"]


def test_a_full_disk_is_told_and_nothing_is_half_written(tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    with LabelFile(tmp_path / "labels.jsonl") as file:
        file.add([Judgement(PAIR, "second", "Ann")])
        before = file.path.read_bytes()
        calls = iter(range(100))

        def full_once(number):
            if next(calls) == 0:
                full()

        for step, fault in (("os.fsync", full_once), ("os.replace", full)):
            with monkeypatch.context() as patch:
                patch.setattr(step, fault)
                with pytest.raises(MachineError, match=r"labels.jsonl cannot be written: No space left on device."):
                    file.add([Judgement(pair(1), "tie", "Ann")])
            assert file.path.read_bytes() == before
        file.add([Judgement(pair(1), "tie", "Ann")])
        assert len(file) == 2


def test_a_folder_that_takes_no_file_is_told_at_once(tmp_path, monkeypatch):
    def denied(*arguments, **options):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("pathlib.Path.mkdir", denied)
    with pytest.raises(MachineError, match=r"labels.jsonl cannot be written: Permission denied"):
        LabelFile(tmp_path / "new" / "labels.jsonl")


def test_half_characters_are_refused(tmp_path):
    with LabelFile(tmp_path / "labels.jsonl") as file:
        with pytest.raises(InputError, match=r"The annotator of a judgement holds half a character \(\\udcff\)"):
            file.add([Judgement(PAIR, "second", "\udcff")])
        assert not file.path.exists()
