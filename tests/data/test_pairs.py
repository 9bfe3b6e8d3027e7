import json

import pytest

from prefgym.data.pairs import Pair, load_pairs
from prefgym.data.templates import SUMMARIZE
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
    assert pairs == [("A post.\n\nTL;DR:", " short")]


def test_prompt_and_completion_are_read_as_they_are(load):
    rows = [{"prompt": "The sky is", "completion": " blue."}, {"prompt": "Say it:\n", "completion": "it"}]
    assert load(rows) == [("The sky is", " blue."), ("Say it:\n", "it")]
    assert load([{"prompt": "Q:", "completion": "A"}]) == [("Q:", " A")]


def test_conversations(load):
    ask, answer = {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}
    assert load([{"prompt": [ask], "completion": [answer]}]) == [("Hi", " Hello")]
    assert load([{"messages": [ask, answer]}]) == [("Hi", " Hello")]
    assert load([{"messages": [ask, answer, ask, answer]}]) == [
        ("User: Hi\n\nAssistant: Hello\n\nUser: Hi\n\nAssistant:", " Hello")
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


def test_real_instructions(real_data):
    pairs = load_pairs(
        real_data / "instructions" / "seed_tasks.jsonl",
        input_column="instances.0.input",
        output_column="instances.0.output",
    )
    assert len(pairs) == 115
    assert all(p.prompt.endswith("### Response:") and p.response[0] == " " != p.response[1] for p in pairs)


def test_real_task_files(real_data):
    path = real_data / "natural-instructions" / "tasks" / "task1146_country_capital.json"
    pairs = load_pairs(path, instruction_column="input", output_column="output.0")
    assert len(pairs) == 231
