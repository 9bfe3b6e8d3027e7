"""Commands on models with a chat template: what sft trains on, and what train then prompts with."""

import json

import gymnasium as gym
import pytest

import prefgym  # noqa: F401
from prefgym.commands import reward
from prefgym.commands.sft import OPTIONS
from prefgym.config import resolve
from prefgym.data.prompts import load_prompts
from prefgym.models.finetune import examples
from prefgym.models.language_model import LanguageModel
from prefgym.pair_data import read_pairs

TALK = [
    {"role": "user", "content": "Who ran?"},
    {"role": "assistant", "content": "The cat."},
    {"role": "user", "content": "Where?"},
    {"role": "assistant", "content": "Home."},
]


def learned(model, file, **options):
    """The examples that sft trains on, in the order of the data."""
    given = {"data.pairs": str(file), "data.held_out": 0.0, **options}
    data = read_pairs(resolve(OPTIONS, [("test", given)]), model)
    return examples(model, [(pair.prompt, pair.response) for pair in data.train], data.tokens), data


def tokens(model, messages, **options):
    return model.tokenizer.apply_chat_template(messages, return_dict=True, **options)["input_ids"]


def check(model, row, messages):
    """Prompt and answer are the tokens of the whole conversation, up to the first EOS of the assistant's turn."""
    prompt = tokens(model, messages[:-1], add_generation_prompt=True)
    whole = tokens(model, messages)
    assert row["prompt"] == prompt
    assert row["response"][-1] == model.eos_token_id
    assert model.eos_token_id not in row["response"][:-1]
    assert [*row["prompt"], *row["response"]] == whole[: len(prompt) + len(row["response"])]
    assert model.decode(whole[len(prompt) + len(row["response"]) :]).strip() == ""


@pytest.mark.parametrize("kind", ["plain", "bos", "strict"])
def test_the_assistants_turn_is_learned_as_the_template_writes_it(chat_model, write_rows, kind):
    model = chat_model(kind)
    rows, data = learned(model, write_rows("talks.jsonl", [{"messages": TALK}, {"messages": TALK[:2]}]))
    for row, messages in zip(rows, (TALK, TALK[:2]), strict=True):
        check(model, row, messages)
    assert data.template.stored() == {"template": "chat", "system_prompt": None, "instruction": "{prompt}"}
    (row,), _ = learned(model, write_rows("pairs.jsonl", [{"prompt": "Who ran?", "completion": " The cat."}]))
    check(model, row, TALK[:2])
    instructed = {"instruction": "Who", "input": "ran?", "output": "The cat. "}
    (row,), _ = learned(model, write_rows("instructions.jsonl", [instructed]))
    check(model, row, [{"role": "user", "content": "Who\n\nran?"}, TALK[1]])


def test_a_cut_leaves_the_turn_whole(chat_model, write_rows):
    model = chat_model("plain")
    talk = [{"role": "user", "content": "one two three"}, TALK[1]]
    shorter = [{"role": "user", "content": "three"}, TALK[1]]
    file = write_rows("pairs.jsonl", [{"messages": talk}])
    (row,), data = learned(model, file, **{"data.max_tokens": len(tokens(model, shorter)) - 1})
    assert data.cut == 1
    assert row["response"] == learned(model, file)[0][0]["response"]
    left = model.decode(row["prompt"]).split("\n")[1]
    assert left in ("one", "three")
    assert row["prompt"] == tokens(model, [{"role": "user", "content": left}], add_generation_prompt=True)


def test_another_eos_of_the_model_ends_a_turn_too(chat_model, write_rows):
    model = chat_model("bos")
    model.tokenizer.chat_template = model.tokenizer.chat_template.replace("<|im_end|>", "<|end|>")
    assert model.eos_token_ids == (3, 0)
    (row,), _ = learned(model, write_rows("pairs.jsonl", [{"messages": TALK}]))
    assert row["response"][-1] == 0
    assert [*row["prompt"], *row["response"]] == tokens(model, TALK)


def test_a_turn_that_ends_in_no_eos_gets_one(chat_model, write_rows):
    model = chat_model("plain")
    model.tokenizer.chat_template = model.tokenizer.chat_template.replace("<|im_end|>", "")
    (row,), _ = learned(model, write_rows("pairs.jsonl", [{"messages": TALK}]))
    assert row["response"][-1] == model.eos_token_id
    assert model.decode(row["response"]) == "Home.\n"


@pytest.mark.parametrize(
    ("kind", "row", "template"),
    [
        ("plain", {"messages": TALK}, {"template": "chat", "instruction": "{prompt}"}),
        ("none", {"instruction": "Say", "output": "la"}, {"template": "{prompt}\n\n### Response:"}),
        ("none", {"prompt": "Say\n\nTL;DR:", "completion": "la"}, {"template": "{prompt}\n\nTL;DR:"}),
        ("none", {"messages": TALK[:2]}, {"template": "{prompt}"}),
    ],
)
def test_the_folder_keeps_the_template_and_an_environment_uses_it(
    chat_model, run, write_rows, tmp_path, kind, row, template
):
    chat_model(kind).save(tmp_path / "start")
    flags = ("--model", tmp_path / "start", "--output", tmp_path / "sft", "--data.held_out", 0, "--training.epochs", 1)
    result = run("sft", "--data.pairs", write_rows("rows.jsonl", [row, row]), *flags)
    assert result.code == 0, result.err
    assert LanguageModel.load(tmp_path / "sft").prompting == template
    told = json.loads((tmp_path / "sft" / "prompt_template.json").read_text())
    assert told["template"] == template["template"]
    env = gym.make("Summarize-v0", model=tmp_path / "sft", prompts=["a post"], reward="length")
    assert env.unwrapped.prompting["template"] == template["template"]
    text = env.unwrapped.encode_prompts([0]).texts[0]
    assert text == env.unwrapped.template.render("a post")
    if kind == "none":
        assert text == template["template"].replace("{prompt}", "a post")


@pytest.mark.parametrize("command", ["sft", "reward"])
def test_a_system_prompt_and_an_instruction_are_learned_and_kept(chat_model, run, write_rows, tmp_path, command):
    chat_model("plain").save(tmp_path / "start")
    data = {
        "sft": ("pairs", {"prompt": "Who ran?", "completion": "The cat."}),
        "reward": ("comparisons", {"prompt": "Who ran?", "chosen": "The cat.", "rejected": "A dog."}),
    }
    name, row = data[command]
    words = {"system_prompt": "Be fair.", "instruction": "Say:\n{prompt}"}
    flags = [text for key, value in words.items() for text in (f"--data.{key}", value.replace("\n", "\\n"))]
    further = ("--folds", 0) if command == "reward" else ()
    asked = (f"--data.{name}", write_rows("rows.jsonl", [row] * 4), "--output", tmp_path / "made", *further)
    result = run(command, "--model", tmp_path / "start", "--training.epochs", 1, *asked, *flags)
    assert result.code == 0, result.err
    kept = json.loads((tmp_path / "made" / "prompt_template.json").read_text())
    assert kept == {"template": "chat", **words}
    again = run(
        command, "--model", tmp_path / "made", "--training.epochs", 1, *asked[:2], *further, "--output", tmp_path / "2"
    )
    assert again.code == 0, again.err
    assert json.loads((tmp_path / "2" / "prompt_template.json").read_text()) == kept
    chat_model("none").save(tmp_path / "bare")
    for key, flag in zip(words, (flags[:2], flags[2:]), strict=True):
        refused = run(command, "--model", tmp_path / "bare", *asked[:2], *flag, "--output", tmp_path / "3")
        assert refused.code == 2
        assert f"{key} is for chat templates" in refused.err


def test_the_reward_command_templates_what_no_chat_template_does(chat_model, write_rows, tmp_path):
    chat_model("plain").save(tmp_path / "model")
    rows = write_rows("rows.jsonl", [{"prompt": TALK[:3], "chosen": TALK[3:], "rejected": [TALK[1]]}])
    for template, chats in ((None, True), ("chat", True), ("Q: {prompt}", False)):
        given = {"data.comparisons": str(rows), "model": str(tmp_path / "model"), "data.template": template}
        config = resolve(reward.OPTIONS, [("test", given)])
        model = reward._start(config)
        comparisons = reward._comparisons(config, model)
        ((asked, said),) = reward._references(config, comparisons, model)
        assert model.chat == chats
        assert (asked == TALK[:3]) == chats
        assert said.strip() == "Home."
        assert comparisons[0].prompt.startswith("Q: ") == (not chats)


def test_a_conversation_that_cannot_fit_is_found_before_training(chat_model, refused, write_rows, tmp_path):
    chat_model("plain").save(tmp_path / "model")
    talks = [[{"role": "user", "content": f"Who {i}?"}] for i in range(30)]
    talks[17] = [{"role": "system", "content": "word " * 80}, *talks[17]]
    posts = write_rows("talks.jsonl", [{"prompt": talk} for talk in talks])
    flags = ("--data.prompts", posts, "--env.model", tmp_path / "model", "--env.reward", "length")
    told = refused("train", *flags, "--env.max_prompt_tokens", 100, "--output", tmp_path / "run")
    assert "messages (system, user) do not fit 100 prompt tokens" in told
    assert not (tmp_path / "run").exists()


def test_tools_beside_conversations_are_not_dropped_silently():
    rows = [{"prompt": TALK[:1], "tools": [{"name": "search"}]}]
    with pytest.warns(UserWarning, match='column "tools" of .* is not given to chat templates'):
        load_prompts(rows)
