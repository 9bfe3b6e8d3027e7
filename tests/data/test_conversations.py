"""Conversations as TRL, chat templates and ShareGPT have them: the same messages, or a sentence that names the row."""

import json

import datasets
import numpy as np
import pandas as pd
import pytest

from prefgym.data.comparisons import load_comparisons
from prefgym.data.conversations import messages_of
from prefgym.data.pairs import Pair, load_pairs
from prefgym.data.prompts import load_prompts, resolve_prompts
from prefgym.errors import InputError


def user(text):
    return {"role": "user", "content": text}


def assistant(text):
    return {"role": "assistant", "content": text}


SYSTEM = {"role": "system", "content": "Be brief."}


@pytest.mark.parametrize(
    "given",
    [
        [user("Why?"), assistant("So.")],
        [{"role": "User", "content": "Why?", "name": None}, {"role": "assistant", "content": "So."}],
        [{"from": "human", "value": "Why?"}, {"from": "gpt", "value": "So."}],
        [{"from": "user", "value": "Why?"}, {"from": "chatgpt", "value": "So."}],
        [{"role": "human", "content": "Why?"}, {"role": "model", "content": "So."}],
        [user([{"type": "text", "text": "Wh"}, {"type": "text", "text": "y?"}]), assistant([{"text": "So."}])],
        [user(["Why?"]), {"role": "assistant", "content": "So.", "from": None, "value": None}],
        np.array([user("Why?"), assistant("So.")], dtype=object),
        (user("Why?"), assistant("So.")),
    ],
)
def test_one_form_of_all(given):
    assert messages_of(given, "There") == [user("Why?"), assistant("So.")]


def test_what_is_no_conversation():
    assert [messages_of(value, "There") for value in ("Hi", None, 3, ["Hi"], [{"a": 1}], {"role": "user"})] == [
        None
    ] * 6


def test_tools_and_further_keys_are_kept():
    call = {"role": "assistant", "content": None, "tool_calls": [{"name": "light"}]}
    talk = [SYSTEM, user("Light."), call, {"role": "tool", "content": "on", "name": "light"}, assistant("Done.")]
    read = messages_of(talk, "There")
    assert read[2] == {"role": "assistant", "content": "", "tool_calls": [{"name": "light"}]}
    assert [message["role"] for message in read] == ["system", "user", "assistant", "tool", "assistant"]
    assert read[3]["name"] == "light"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "holds an empty conversation"),
        ([user("a"), user("b")], "messages 1 and 2 are both the user's, but roles must alternate"),
        ([user("a"), assistant("b"), assistant("c")], "messages 2 and 3 are both the assistant's"),
        ([user("a"), SYSTEM], "message 2 is the system's, which must be first"),
        ([{"role": None, "content": "a"}], "message 1 has no role"),
        ([{"from": "", "value": "a"}], "message 1 has no role"),
        ([user(None)], "message 1 holds null as its content, not text"),
        ([user([])], "message 1 holds list as its content"),
        ([user("a"), assistant(3)], "message 2 holds int as its content"),
        ([user([{"type": "image", "url": "x"}])], 'message 1 has a part of type "image"; only text is read'),
        ([user([{"type": "text", "text": None}])], 'part of type "text"'),
    ],
)
def test_faults_are_named_with_their_line(tmp_path, given, message):
    path = tmp_path / "talk.jsonl"
    rows = [{"prompt": [user("fine")]}, {"prompt": given}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(InputError, match=f'^Column "prompt" at line 2 of .*talk.jsonl.*{message}') as refused:
        load_prompts(path)
    assert str(refused.value).count(". ") == 0
    with pytest.raises(InputError, match="at row 2 of the prompts given"):
        resolve_prompts(rows)


def test_prompts_keep_their_messages():
    talk = [SYSTEM, user("Hi"), assistant("Hello"), user("Why?")]
    rows = [{"prompt": talk, "reference": "So."}, {"prompt": "plain", "reference": None}]
    for given in (rows, pd.DataFrame(rows)):
        first, second = resolve_prompts(given)
        assert first["prompt"] == "System: Be brief.\n\nUser: Hi\n\nAssistant: Hello\n\nUser: Why?\n\nAssistant:"
        assert first["conversation"] == talk
        assert (second["prompt"], "conversation" in second) == ("plain", False)
    assert resolve_prompts([[user("a")], [user("b")]])[1]["conversation"] == [user("b")]
    stored = datasets.Dataset.from_list([{"prompt": talk}])
    assert resolve_prompts(stored)[0]["conversation"] == talk


@pytest.mark.parametrize("column", ["messages", "conversations", "conversation"])
def test_pairs_of_whole_conversations(column):
    short = [user("Hi"), assistant("Hello")]
    rows = [{column: [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]}, {column: [SYSTEM, *short]}]
    assert load_pairs(rows) == [
        Pair("Hi", " Hello", conversation=tuple(short)),
        Pair("System: Be brief.\n\nUser: Hi\n\nAssistant:", " Hello", conversation=(SYSTEM, *short)),
    ]
    for wrong in ([user("Hi")], "Hi", None, [user("a"), assistant("b"), user("c")]):
        with pytest.raises(InputError, match=f'"{column}" at row 1 .* must be a list of messages'):
            load_pairs([{column: wrong}])


def test_pairs_of_prompt_and_completion():
    talk = (user("Hi"), assistant("Hello"))
    for prompt in ("Hi", [user("Hi")]):
        assert load_pairs([{"prompt": prompt, "completion": [assistant("Hello")]}]) == [
            Pair("Hi", " Hello", conversation=talk)
        ]
    with pytest.raises(InputError, match="ends with the assistant's"):
        load_pairs([{"prompt": "Hi", "completion": [assistant("Hello"), user("Why?")]}])
    with pytest.raises(InputError, match="roles must alternate"):
        load_pairs([{"prompt": [user("Hi")], "completion": [user("Why?"), assistant("So.")]}])


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": [user("Hi")], "chosen": [assistant("a")], "rejected": [assistant("b")]},
        {"prompt": "Hi", "chosen": [assistant("a")], "rejected": [assistant("b")]},
        {"prompt": "Hi", "chosen": [user("Hi"), assistant("a")], "rejected": [user("Hi"), assistant("b")]},
        {"chosen": [user("Hi"), assistant("a")], "rejected": [user("Hi"), assistant("b")]},
        {
            "chosen": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "a"}],
            "rejected": [user([{"type": "text", "text": "Hi"}]), assistant("b")],
        },
    ],
)
def test_preferences(row):
    [comparison] = load_comparisons([row])
    assert (comparison.prompt, comparison.chosen, comparison.rejected) == ("Hi", "a", "b")
    assert comparison.conversation == ([user("Hi")], [assistant("a")], [assistant("b")])
    columns = {"first_column": "rejected", "second_column": "chosen", "label_column": "label"}
    [turned] = load_comparisons([{**row, "label": 2}], **columns)
    assert (turned.chosen, turned.conversation) == ("a", comparison.conversation)
