"""JSON of ours that somebody changed: the key at fault is named; and words that no path can be."""

import json

import pytest

from prefgym.errors import InputError, MachineError
from prefgym.finished_run import read_history
from prefgym.paths import read_bytes, user_path
from prefgym.typed_json import Number, check_kind, read_object, read_rows, read_value

KINDS = {"rate": float, "count": int, "name": str, "on": bool, "rest": dict[str, float], "all": list[str]}
FURTHER = {"most": int | None}
GOOD = {"rate": 1, "count": 2**53 + 1, "name": "a", "on": True, "rest": {"b": 2}, "all": ["c"], "further": [None]}


@pytest.fixture
def read(tmp_path):
    """``read(text)`` -> the object in a file with that content."""

    def call(content: str | bytes) -> dict:
        file = tmp_path / "f.json"
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        return read_object(file, KINDS, FURTHER, step="make it again")

    return call


def test_an_object_is_read_into_its_kinds(read):
    found = read(json.dumps(GOOD))
    assert found == {**GOOD, "most": None}
    assert isinstance(found["rate"], float)
    assert isinstance(found["rest"]["b"], float)
    assert read(json.dumps({**GOOD, "most": 3}))["most"] == 3


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        *(("rate", value, "not a number") for value in ("x", None, True, [], {}, float("nan"), float("inf"), 10**400)),
        *(("count", value, "not a whole number") for value in ("1", 1.5, 1.0, True, None, 2**63, -(2**70))),
        *(("name", value, "not a text") for value in (1, None, ["a"], "\ud83d")),
        *(("on", value, "not true or false") for value in (1, 0, "true", None)),
        *(("rest", value, "a number") for value in ({"b": "x"}, {"b": None})),
        ("rest", [], "an object"),
        *(("all", value, "a text" if isinstance(value, list) else "a list") for value in ("c", [1], [None])),
        ("most", "3", "not a whole number or null"),
    ],
)
def test_a_wrong_kind_names_file_key_and_next_step(read, key, value, said):
    with pytest.raises(InputError) as caught:
        read(json.dumps({**GOOD, key: value}))
    message = str(caught.value)
    assert 'f.json" is damaged: its ' in message
    assert f'"{key}"' in message
    assert said in message
    assert message.endswith("; make it again.")


@pytest.mark.parametrize(
    "content",
    [
        *("", "[]", "3", "null", '"a"', "{", '{"rate": 1} x', "{'rate': 1}", '{"rate": ' + "9" * 5000 + "}"),
        *("[" * 100_000, '{"a": ' * 100_000, b"\xff{}", "{}".encode("utf-16"), "\0", "{}"),
    ],
)
def test_what_is_no_such_object_is_refused(read, content):
    with pytest.raises(InputError, match=r'f\.json" is damaged: .*; make it again\.$'):
        read(content)


def test_other_shapes(tmp_path):
    file = tmp_path / "f.json"
    file.write_text('{"a": 1}\n\n{"a": NaN, "b": NaN}\n')
    with pytest.raises(InputError, match='the "a" of line 3 is NaN or infinite, not a number'):
        read_rows(file, {"a": float}, others=Number, step="x")
    assert len(read_rows(file, {"a": Number}, others=Number, step="x")) == 2
    file.write_text('[{"a": 1}, 2]')
    with pytest.raises(InputError, match="it, at 1, is a whole number, not an object"):
        read_value(file, list[dict[str, object]], step="x")
    assert check_kind({"a": {"b": 1}}, {"a": {"b": float}}, "it") == {"a": {"b": 1.0}}
    with pytest.raises(InputError, match='has no "b"'):
        check_kind({"a": {}}, {"a": {"b": float}}, "it")
    with pytest.raises(InputError, match="no file"):
        read_value(tmp_path / "none.json", object, step="x")


LINE = {
    **{"iteration": 1, "episodes": 8, "objective/scores": 0.5, "objective/kl": 0.1},
    **{"time/rollout_seconds": 1, "time/update_seconds": 2.5, "train/loss": float("nan")},
}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ([], "line 2 is a list"),
        ({key: value for key, value in LINE.items() if key != "episodes"}, 'line 2 has no "episodes"'),
        ({**LINE, "time/rollout_seconds": "long"}, '"time/rollout_seconds" of line 2 is a text'),
        ({**LINE, "objective/kl": None}, '"objective/kl" of line 2 is null'),
        ({**LINE, "episodes": float("inf")}, '"episodes" of line 2'),
        ({**LINE, "train/loss": {}}, '"train/loss" of line 2 is an object'),
        ({key: value for key, value in LINE.items() if key != "objective/score_x"}, 'row 2 has no "objective/score_x"'),
    ],
)
def test_a_history_with_a_wrong_line(tmp_path, line, said):
    first = {**LINE, "objective/score_x": 1.0}
    file = tmp_path / "history.jsonl"
    file.write_text(f"{json.dumps(first)}\n{json.dumps(first)}\n")
    assert len(read_history(tmp_path)) == 2
    file.write_text(f"{json.dumps(first)}\n{json.dumps(line)}\n")
    with pytest.raises(InputError) as caught:
        read_history(tmp_path)
    assert said in str(caught.value)
    assert "remove it to evaluate without learning curves" in str(caught.value)


@pytest.mark.parametrize("name", ["a\0b", "x" * 256, "a/" + "é" * 128, "y/" * 2500, "~nouser/x", "~nouser", "\udcff"])
def test_a_word_that_no_path_can_be(name):
    with pytest.raises(InputError) as caught:
        user_path(name)
    str(caught.value).encode("utf-8")
    assert len(str(caught.value)) < 200


def test_words_that_are_paths(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert user_path("~/a") == tmp_path / "a"
    assert user_path("x" * 255).name == "x" * 255
    assert user_path("a~b/~c").name == "~c"


def test_what_the_machine_refuses_is_not_the_users_fault(monkeypatch, tmp_path):
    def refuse(self, *arguments, **options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.open", refuse)
    with pytest.raises(MachineError, match="f cannot be read: Permission denied"):
        read_bytes(tmp_path / "f")
