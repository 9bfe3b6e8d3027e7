"""Task files of Natural Instructions: both formats, and what is wrong with one."""

import json

import pytest

from prefgym.data.benchmarks.bbh import read_bbh
from prefgym.data.pairs import load_pairs
from prefgym.data.task_files import Instance, is_task, parse_task, read_task_file
from prefgym.errors import InputError

INSTANCES = [{"id": "x", "input": "France", "output": ["Paris", "Paris", "Lutetia"]}]


def test_the_published_format(tmp_path):
    path = tmp_path / "task1.json"
    examples = [{"input": "Italy", "output": "Rome", "explanation": "It is."}]
    value = {"Definition": ["Name the capital.", "In other words."], "Positive Examples": examples}
    path.write_text(json.dumps({**value, "Instances": INSTANCES}))
    task = read_task_file(path)
    assert task.name == "task1"
    assert task.definition == "Name the capital."
    assert task.examples == (Instance("Italy", ("Rome",)),)
    assert task.instances == (Instance("France", ("Paris", "Lutetia")),)


def test_the_draft_format():
    task = parse_task({"Definition": "Sing.", "Instances": [{"input": "", "output": "La"}]}, "song.json")
    assert (task.definition, task.examples, task.instances) == ("Sing.", (), (Instance("", ("La",)),))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"Definition": ["d"], "Instnces": INSTANCES}, r'No key "Instances" in t.json; .*Did you mean "Instnces"'),
        ({"Definitions": ["d"], "Instances": INSTANCES}, r'No key "Definition" in t.json.*Did you mean "Definitions"'),
        ({"Definition": ["d"], "Instances": []}, 'Key "Instances" of t.json is empty'),
        ({"Definition": [], "Instances": INSTANCES}, 'Key "Definition" of t.json is empty'),
        ({"Definition": 3, "Instances": INSTANCES}, 'Key "Definition" of t.json holds a number, not text'),
        ({"Definition": "d", "Instances": {}}, 'Key "Instances" of t.json holds an object, not an array'),
        ({"Definition": "d", "Instances": ["a"]}, 'Entry 1 of "Instances" in t.json is a string, not an object'),
        (
            {"Definition": "d", "Instances": [*INSTANCES, {"input": "a", "outputs": ["b"]}]},
            'No key "output" in entry 2 of "Instances" in t.json.*Did you mean "outputs"',
        ),
        (
            {"Definition": "d", "Instances": [{"input": "a", "output": []}]},
            'Key "output" of entry 1 of "Instances" in t.json is empty',
        ),
        (
            {"Definition": "d", "Instances": [{"input": None, "output": "b"}]},
            'Key "input" of entry 1 of "Instances" in t.json holds null',
        ),
        (
            {"Definition": "d", "Instances": INSTANCES, "Positive Examples": [{"input": "a", "output": [3]}]},
            'Key "output" of entry 1 of "Positive Examples" in t.json holds a number',
        ),
    ],
)
def test_what_is_wrong_is_named(value, message):
    assert is_task(value)
    with pytest.raises(InputError, match=message):
        parse_task(value, "t.json")


def test_other_files_are_no_tasks(tmp_path):
    path = tmp_path / "rows.json"
    for text in ("[]", "3", '{"instruction": "a"}\n{"instruction": "b"}', '{"Definition": '):
        path.write_text(text)
        with pytest.raises(InputError, match=r"rows.json does not hold one JSON object"):
            read_task_file(path)
    assert not is_task({"data": []})
    assert not is_task([])


def test_real_tasks(real_data):
    paths = sorted((real_data / "natural-instructions").rglob("*.json"))
    tasks = [read_task_file(path) for path in paths]
    assert sum(len(task.instances) for task in tasks) == 2028
    assert all(len(task.examples) >= 2 and task.definition for task in tasks)


def test_half_a_character_in_a_task_or_a_benchmark_is_refused_with_its_place(tmp_path):
    task = '{"Definition": ["Do."], "Instances": [{"input": "a", "output": ["b"]}, {"input": "%s", "output": ["d"]}]}'
    path = tmp_path / "task.json"
    path.write_text(task % "c\\ud83d")
    for read in (read_task_file, load_pairs):
        with pytest.raises(
            InputError, match=r'Row 2 of .*task.json: column "input" holds half a character \(\\ud83d\)'
        ):
            read(path)
    path.write_text('{"Definition": ["a", "b\\ud83d"], "Instances": []}')
    with pytest.raises(InputError, match=r'task.json: key "Definition.1" holds half a character'):
        read_task_file(path)
    path.write_text(task.replace('"Definition"', '"input": 1, "input": 2, "Definition"') % "c")
    with pytest.raises(InputError, match=r'"input" occurs twice in one object at .*task.json'):
        read_task_file(path)
    (tmp_path / "bbh").mkdir()
    (tmp_path / "bbh" / "some.json").write_text('{"examples": [{"input": "a", "target": "b\\udc00"}]}')
    with pytest.raises(InputError, match=r'Row 1 of .*some.json: column "target" holds half a character \(\\udc00\)'):
        read_bbh(str(tmp_path))
    (tmp_path / "bbh" / "some.json").write_text('{"about": {"x": ["\\udc00"]}, "examples": []}')
    with pytest.raises(InputError, match=r'some.json: key "about.x.0" holds half a character'):
        read_bbh(str(tmp_path))
