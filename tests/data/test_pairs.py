import json

import pytest

from prefgym.data.pairs import Pair, instruction_pairs, load_pairs
from prefgym.data.prompts import instruction_prompts
from prefgym.data.templates import SUMMARIZE
from prefgym.data.world.instructions import SEEN, UNSEEN
from prefgym.errors import InputError


@pytest.fixture
def load(tmp_path):
    def load(rows, **options):
        path = tmp_path / "pairs.json"
        path.write_text(json.dumps(rows))
        return load_pairs(path, **options)

    return load


def test_instruction_input_output(load):
    with_input, without, null = load(
        [
            {"instruction": "Name it.", "input": "a cat", "output": "Tom "},
            {"instruction": "Sing.", "input": "", "output": "La"},
            {"instruction": "Sing.", "input": None, "output": "La"},
        ]
    )
    assert with_input == Pair("### Instruction:\nName it.\n\n### Input:\na cat\n\n### Response:", " Tom")
    assert without == null == Pair("### Instruction:\nSing.\n\n### Response:", " La")
    assert load([{"instruction": "Sing.", "output": "La"}]) == [without]


def test_posts_with_a_template(load):
    rows = [{"post": "A post.", "tldr": "short"}]
    pairs = load(rows, instruction_column="post", output_column="tldr", template=SUMMARIZE)
    assert pairs == [Pair("A post.\n\nTL;DR:", " short")]


def test_prompt_and_completion_are_read_as_they_are(load):
    rows = [{"prompt": "The sky is", "completion": " blue."}, {"prompt": "Say it:\n", "completion": "it"}]
    assert load(rows) == [Pair("The sky is", " blue."), Pair("Say it:\n", "it")]
    assert load([{"prompt": "Q:", "completion": "A"}]) == [Pair("Q:", " A")]


def test_conversations(load):
    ask, answer = {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}
    assert load([{"prompt": [ask], "completion": [answer]}]) == [Pair("Hi", " Hello", conversation=(ask, answer))]
    assert load([{"messages": [ask, answer]}]) == [Pair("Hi", " Hello", conversation=(ask, answer))]
    assert load([{"messages": [ask, answer, ask, answer]}]) == [
        Pair("User: Hi\n\nAssistant: Hello\n\nUser: Hi\n\nAssistant:", " Hello", conversation=(ask, answer) * 2)
    ]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"instruction": "", "output": "a"}, "Empty instruction at row 1"),
        ({"instruction": "a", "output": " "}, "Empty output at row 1"),
        ({"instruction": "a", "outptu": "b"}, 'No column "output".*Did you mean "output|outptu"'),
        ({"instruction": "a", "input": 3, "output": "b"}, 'Column "input" at row 1 .* holds int'),
        ({"instrucion": "a", "output": "b"}, 'No column "instruction".*Did you mean "instrucion"'),
        ({"messages": [{"role": "user", "content": "Hi"}]}, "ends with the assistant's"),
        ({"messages": "Hi"}, "must be a list of messages"),
        ({"instruction": "a", "instances": []}, 'Column "instances" at row 1 .* at least one'),
        ({"instruction": "a", "instances": [{"input": "b"}]}, 'Column "instances.output" at row 1 .* holds null'),
        ({"instruction": "a", "instances": [{"input": "b", "output": " "}]}, "Empty instances.output at row 1"),
    ],
)
def test_bad_rows(load, row, message):
    with pytest.raises(InputError, match=message):
        load([row])


def test_pairs_of_one_prompt_share_a_split(load):
    rows = [{"prompt": f"p{i % 30}", "completion": f"c{i}"} for i in range(90)]
    sides = [load(rows, split=split) for split in ("train", "validation", "test")]
    assert sum(map(len, sides)) == 90
    prompts = [{pair.prompt for pair in side} for side in sides]
    assert sum(map(len, prompts)) == 30


def test_seed_tasks_of_self_instruct_have_several_instances(load):
    instances = [{"input": "a cat", "output": "Tom"}, {"input": "", "output": "Tim"}]
    rows = [{"instruction": "Name it.", "instances": instances}, {"instruction": "Sing.", "instances": instances[1:]}]
    assert [(pair.prompt.count("### Input"), pair.response) for pair in load(rows)] == [
        (1, " Tom"),
        (0, " Tim"),
        (0, " Tim"),
    ]
    many = [{"instruction": f"Name {i}.", "instances": instances} for i in range(30)]
    sides = [{pair.prompt for pair in load(many, split=split)} for split in ("train", "validation", "test")]
    names = [{prompt.splitlines()[1] for prompt in side} for side in sides]
    assert sum(map(len, names)) == 30  # the instances of a seed task stay together


def test_instructions_without_an_answer_may_be_left_out(load):
    rows = [{"instruction": "Sing.", "output": "La"}, {"instruction": "Be silent.", "output": ""}]
    with pytest.raises(InputError, match=r"Empty output at row 2 .* --data.skip_empty"):
        load(rows)
    assert [pair.response for pair in load(rows, skip_empty=True)] == [" La"]
    seeds = [{"instruction": "Name it.", "instances": [{"input": "", "output": " "}, {"input": "", "output": "Tim"}]}]
    assert [pair.response for pair in load(seeds, skip_empty=True)] == [" Tim"]


def test_tasks_are_told_by_a_column(load):
    rows = [{"instruction": "Sing.", "output": "La", "task": 7}, {"instruction": "Hum.", "output": "Mm", "task": "b"}]
    assert [pair.task for pair in load(rows)] == ["7", "b"]
    renamed = [{"instruction": row["instruction"], "output": "La", "kind": row["task"]} for row in rows]
    assert [pair.task for pair in load(renamed)] == ["", ""]
    assert [pair.task for pair in load(renamed, task_column="kind")] == ["7", "b"]
    with pytest.raises(InputError, match=r'No column "knd".*Did you mean "kind".*--data.task_column'):
        load(renamed, task_column="knd")


TASK = {
    "Definition": ["Name the capital."],
    "Positive Examples": [{"input": "Italy", "output": "Rome"}, {"input": "Spain", "output": "Madrid"}],
    "Instances": [{"input": "France", "output": ["Paris"]}, {"input": "Bolivia", "output": ["Sucre", "La Paz"]}],
}
FRANCE = "### Instruction:\nName the capital.\n\n### Input:\nFrance\n\n### Response:"


def write_task(path, **changes):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**TASK, **changes}))
    return path


def test_a_task_file_gives_a_pair_for_every_right_output(tmp_path):
    france, sucre, la_paz = load_pairs(write_task(tmp_path / "task1_capital.json"))
    assert france == Pair(FRANCE, " Paris", "task1_capital")
    assert sucre.prompt == la_paz.prompt
    assert (sucre.response, la_paz.response) == (" Sucre", " La Paz")


def test_demonstrations_stand_before_the_input_as_many_as_fit(tmp_path):
    path = write_task(tmp_path / "task1_capital.json")
    shown = [load_pairs(path, demonstrations=count)[0] for count in (1, 2, 5)]
    assert [pair.demonstrations for pair in shown] == [1, 2, 2]
    assert shown[0].prompt == (
        "### Instruction:\nName the capital.\n\n### Input:\nItaly\n\n### Response: Rome\n\n"
        "### Input:\nFrance\n\n### Response:"
    )
    assert shown[1].prompt.index("Rome") < shown[1].prompt.index("Madrid") < shown[1].prompt.index("France")
    for room, count in ((len(shown[1].prompt) - 1, 1), (len(shown[0].prompt) - 1, 0), (1, 0)):
        pair = load_pairs(path, demonstrations=2, fits=lambda prompt, response, room=room: len(prompt) <= room)[0]
        assert pair.demonstrations == count
    assert pair == Pair(FRANCE, " Paris", "task1_capital")


def test_a_folder_holds_a_task_in_each_file(tmp_path):
    write_task(tmp_path / "a" / "task2.json")
    write_task(tmp_path / "a" / "b" / "task1.json", Definition="Name it.")
    rows = [{"instruction": "Sing.", "output": "La"}, {"instruction": "Hum.", "output": "Mm", "task": "own"}]
    (tmp_path / "a" / "songs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "a" / "README.md").write_text("No data.")
    pairs = load_pairs(tmp_path / "a")
    assert [pair.task for pair in pairs] == ["task1"] * 3 + ["songs", "own"] + ["task2"] * 3
    assert [pair.task for pair in load_pairs(tmp_path / "a", task_limit=1)] == ["task1", "songs", "own", "task2"]
    assert len(load_pairs(tmp_path / "a", limit=4)) == 4
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"empty holds no data file \(.jsonl"):
        load_pairs(tmp_path / "empty")


def test_columns_of_a_task_file_may_be_named(tmp_path):
    path = write_task(tmp_path / "task1.json")
    named = load_pairs(path, instruction_column="input", output_column="output.0")
    assert [pair.response for pair in named] == [" Paris", " Sucre"]


def test_embedded_instructions_are_those_of_the_seen_families_on_posts_of_their_own():
    pairs = load_pairs("embedded-instructions", limit=2 * len(SEEN))
    assert sorted(pair.task for pair in pairs) == sorted(2 * SEEN)
    rows = list(instruction_prompts("train", len(SEEN), start=1_000_000))
    assert pairs[: len(rows)] == [Pair(row["prompt"], " " + row["reference"], row["family"]) for row in rows]
    assert {pair.task for pair in load_pairs("embedded-instructions:who,where", limit=4)} == {"who", "where"}
    assert len(load_pairs("embedded-instructions", limit=40, task_limit=1)) == len(SEEN)
    held_out = instruction_pairs(UNSEEN, "validation", 2 * len(UNSEEN))
    assert [pair.task for pair in held_out] == 2 * list(UNSEEN)
    with pytest.raises(InputError, match='Did you mean "where"'):
        load_pairs("embedded-instructions:were")
    with pytest.raises(InputError, match='Did you mean "embedded-instructions"'):
        load_pairs("embeded-instructions")


def test_real_instructions(real_data):
    path = real_data / "instructions" / "seed_tasks.jsonl"
    pairs = load_pairs(path)
    assert len(pairs) == 115
    assert all(p.prompt.endswith("### Response:") and p.response[0] == " " != p.response[1] for p in pairs)
    assert pairs == load_pairs(path, input_column="instances.0.input", output_column="instances.0.output")


def test_real_task_files(real_data):
    folder = real_data / "natural-instructions"
    capitals = folder / "tasks" / "task1146_country_capital.json"
    assert len(load_pairs(capitals, instruction_column="input", output_column="output.0")) == 231
    whole = load_pairs(folder, demonstrations=1)
    expected = {path.stem: len(json.loads(path.read_text())["Instances"]) for path in folder.rglob("*.json")}
    assert len(expected) == 11
    assert {task: sum(pair.task == task for pair in whole) for task in expected} == expected  # one right output each
    assert {pair.demonstrations for pair in whole} == {1}
    assert [pair for pair in whole if pair.task == capitals.stem] == load_pairs(capitals, demonstrations=1)
