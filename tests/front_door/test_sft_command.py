import json
import math

import pytest
import torch
import yaml
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, T5Config, T5ForConditionalGeneration

from prefgym.commands.sft import OPTIONS
from prefgym.config import resolve
from prefgym.data.pairs import load_pairs
from prefgym.data.templates import INSTRUCT, PLAIN, SUMMARIZE
from prefgym.data.truncation import fit_prompt
from prefgym.models.finetune import examples
from prefgym.models.language_model import LanguageModel
from prefgym.pair_data import divide, read_pairs

TEMPLATE = "{prompt}\\n\\nTL;DR:"  # as a shell passes it on, with a backslash


@pytest.fixture
def sft(run, model_folder, tmp_path):
    """``sft(file, ...)`` -> the result of a short fine-tuning into ``tmp_path/sft``."""

    def call(file, *words):
        flags = ("--data.pairs", file, "--model", model_folder, "--output", tmp_path / "sft")
        return run("sft", *flags, "--training.learning_rate", "0.02", "--training.batch_size", "8", *words)

    return call


def test_fine_tuning_learns_and_leaves_a_model_folder_with_a_report(sft, write_rows, posts, model_folder, tmp_path):
    columns = ("--data.instruction_column", "prompt", "--data.output_column", "reference")
    result = sft(write_rows("posts.jsonl", posts), *columns, "--data.template", TEMPLATE, "--data.held_out", 0.2)
    assert result.code == 0
    folder = tmp_path / "sft"
    names = {path.name for path in folder.iterdir()}
    assert {"metrics.json", "config.yaml", "report.md", "report.html", "loss.png", "README.md", "tensorboard"} <= names
    assert list((folder / "tensorboard").glob("events*"))
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["pairs"] + metrics["held_out"] == 30
    assert metrics["prompts_cut"] > 0
    assert f"{metrics['pairs']} pairs to train on" in result.out
    assert metrics["eval_loss_minimum"] < 0.9 * held_out_loss(LanguageModel.load(model_folder), posts)
    AutoModelForCausalLM.from_pretrained(folder)
    assert "cannot" in (folder / "report.md").read_text() or "no knowledge" in (folder / "report.md").read_text()


@pytest.mark.parametrize(("small", "rate"), [(10**7, 5e-4), (10, 5e-5)])
def test_the_learning_rate_suits_the_model_and_is_told(
    small, rate, run, write_rows, model_folder, tmp_path, monkeypatch
):
    monkeypatch.setattr("prefgym.models.learning_rate.SMALL", small)
    file = write_rows("pairs.jsonl", [{"instruction": "Say one.", "output": "one"}])
    folder, flags = tmp_path / "sft", ("--data.held_out", 0, "--training.epochs", 1)
    result = run("sft", "--data.pairs", file, "--model", model_folder, *flags, "--output", folder)
    assert result.code == 0, result.err
    assert f"learning rate {rate:g}, as usual for a model of" in result.out
    assert json.loads((folder / "metrics.json").read_text())["learning_rate"] == rate
    assert yaml.safe_load((folder / "config.yaml").read_text())["training"]["learning_rate"] == rate
    assert "learning_rate" in (folder / "report.md").read_text()
    told = run("sft", "--data.pairs", file, "--model", model_folder, *flags, "--dry-run", "--training.lora_rank", 2)
    assert f"learning rate {'0.0005' if small > 10 else '0.0002'}, as usual for an adapter of a model of" in told.out


def held_out_loss(lm: LanguageModel, posts: list[dict]) -> float:
    """Mean loss of a few references after nothing at all, in nats a token."""
    losses = []
    for row in posts[:5]:
        ids = torch.tensor([lm.encode(row["reference"])])
        losses.append(lm.model(ids, labels=ids).loss.item())
    return sum(losses) / len(losses)


def test_instructions_and_their_inputs(sft, write_rows, tmp_path):
    rows = [{"instruction": f"Say {word}.", "input": "Loud.", "output": word} for word in ("one", "two", "three")]
    result = sft(write_rows("pairs.jsonl", rows), "--data.held_out", 0, "--training.epochs", 1)
    assert result.code == 0
    assert "3 pairs to train on, 0 held out, 0 prompts cut" in result.out
    assert "nothing held out" in result.out
    assert json.loads((tmp_path / "sft" / "metrics.json").read_text())["eval_loss"] is None


def test_a_long_input_is_cut_and_the_answer_is_not(sft, write_rows, tmp_path):
    rows = [{"instruction": "Repeat.", "input": f"Once {i}. " * 60, "output": "one"} for i in range(4)]
    result = sft(write_rows("pairs.jsonl", rows), "--training.epochs", 1, "--data.max_tokens", 64)
    assert result.code == 0
    assert "4 prompts cut" in result.out


@pytest.mark.parametrize(
    ("prompt", "kept"),
    [
        ("First words. " + "And more. " * 60 + "\n\nTL;DR:", ("First words.", "\n\nTL;DR:")),
        ("System: be brief.\n\n" + "User: hi. " * 60 + "\n\nAssistant:", ("User: hi.", "\n\nAssistant:")),
    ],
)
def test_a_cut_prompt_keeps_what_asks_for_the_answer(language_model, write_rows, prompt, kept):
    file = write_rows("pairs.jsonl", [{"prompt": prompt, "completion": " Short."}])
    options = {"data.pairs": str(file), "data.max_tokens": 64}
    data = read_pairs(resolve(OPTIONS, [("test", options)]), language_model)
    (pair,) = data.train
    assert (pair.response, data.held_out, data.cut, data.left_out) == (" Short.", [], 1, 0)
    assert pair.prompt.startswith(kept[0])
    assert pair.prompt.endswith(kept[1])
    assert len(language_model.encode(pair.prompt)) + len(language_model.encode(pair.response)) < 64


def test_pairs_with_too_long_an_answer_are_left_out_and_counted(sft, refused_sft, write_rows, tmp_path):
    rows = [{"instruction": f"Sing {i}.", "output": "la " * (100 if i % 2 else 1)} for i in range(8)]
    result = sft(write_rows("pairs.jsonl", rows), "--data.max_tokens", 64, "--data.held_out", 0)
    assert result.code == 0, result.err
    assert "4 pairs to train on, 0 held out, 0 prompts cut to fit, 4 pairs left out for their long" in result.out
    assert json.loads((tmp_path / "sft" / "metrics.json").read_text())["left_out"] == 4
    line = refused_sft(write_rows("pairs.jsonl", rows[1::2]), "--data.max_tokens", 64, "--overwrite")
    assert "leaves room for a prompt in 64 tokens" in line


def test_divergence_is_told_with_what_to_lower(sft, write_rows):
    rows = [{"instruction": f"Say {i}.", "output": "one"} for i in range(8)]
    result = sft(write_rows("pairs.jsonl", rows), "--training.learning_rate", "1e30")
    assert result.code == 1
    assert "lower the learning rate" in result.err.splitlines()[-1]
    assert "Traceback" not in result.err


@pytest.fixture
def refused_sft(sft):
    """The last line on stderr (a progress bar stands above it) of a fine-tuning that must fail."""

    def call(*words):
        result = sft(*words)
        assert result.code == 2, result
        assert "Traceback" not in result.err
        return result.err.splitlines()[-1]

    return call


def test_rows_of_one_group_are_on_one_side():
    groups = [f"prompt {i % 10}" for i in range(40)]
    sides = divide(groups, 0.2, seed=0)
    assert 0 < sum(sides) < 40
    assert all(sides[i] == sides[i % 10] for i in range(40))
    assert divide(groups, 0, seed=0) == [False] * 40
    assert divide(["one"] * 3, 0.5, seed=0) == [False] * 3


TASK = {"Definition": ["Say the number."], "Positive Examples": [{"input": "1", "output": "one"}]}


@pytest.fixture
def tasks(tmp_path):
    """A folder of three tasks with 12, 6 and 3 instances."""
    folder = tmp_path / "tasks"
    folder.mkdir()
    for name, count in (("large", 12), ("middle", 6), ("small", 3)):
        instances = [{"input": f"{name} {i}", "output": ["two", "deux"] if i == 0 else ["more"]} for i in range(count)]
        (folder / f"{name}.json").write_text(json.dumps({**TASK, "Instances": instances}))
    return folder


def test_a_dry_run_tells_the_mixture_shows_examples_and_writes_nothing(sft, tasks, tmp_path):
    result = sft(tasks, "--data.task_cap", 5, "--data.held_out", 0, "--data.demonstrations", 1, "--dry-run")
    assert result.code == 0, result.err
    assert "3 tasks, 14 pairs per epoch:" in result.out
    for line in ("large: 13 pairs, 5 per epoch, 35.7 %", "small: 4 pairs, 4 per epoch, 28.6 %"):
        assert line in result.out
    shown = result.out.split("\n--- ")[1:]
    assert [part.split(":")[0] for part in shown] == ["large", "middle", "small"]
    assert all("### Response: one\n\n### Input:" in part and "tokens" in part.splitlines()[0] for part in shown)
    assert "task_cap: 5" in result.out
    assert "6 steps" in result.out  # three epochs of 14 pairs in batches of 8
    assert "Nothing was written." in result.out
    assert not (tmp_path / "sft").exists()


def test_demonstrations_that_do_not_fit_are_left_out_and_counted(sft, tasks):
    flags = ("--data.demonstrations", 1, "--data.held_out", 0, "--dry-run")
    shown = sft(tasks, *flags).out
    assert "0 prompts show fewer than 1 demonstrations" in shown
    tight = sft(tasks, *flags, "--data.max_tokens", 60).out
    assert "24 prompts show fewer than 1 demonstrations" in tight
    assert "0 prompts cut" in tight


def test_many_tasks_are_mixed_and_packed_into_a_model(sft, tasks, tmp_path):
    flags = ("--data.task_cap", 5, "--data.held_out", 0, "--training.epochs", 2, "--training.packing")
    result = sft(tasks, *flags)
    assert result.code == 0, result.err
    metrics = json.loads((tmp_path / "sft" / "metrics.json").read_text())
    assert metrics["steps"] == 4
    assert metrics["tasks"]["large"] == {"examples": 13, "epoch": 5, "share": 5 / 14}
    assert list(metrics["tasks"]) == ["large", "middle", "small"]


def test_an_encoder_decoder_is_fine_tuned_and_saved_as_one(run, language_model, write_rows, tmp_path):
    tokenizer = language_model.tokenizer
    torch.manual_seed(0)
    config = T5Config(
        vocab_size=len(tokenizer),
        d_model=16,
        d_ff=32,
        d_kv=8,
        num_layers=1,
        num_heads=2,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        decoder_start_token_id=tokenizer.pad_token_id,
    )
    LanguageModel(T5ForConditionalGeneration(config), tokenizer, "t5").save(tmp_path / "t5")
    rows = [{"instruction": f"Say it {i} times.", "output": "one"} for i in range(16)]
    flags = ("--model", tmp_path / "t5", "--training.learning_rate", 0.05, "--output", tmp_path / "sft")
    file = write_rows("pairs.jsonl", rows)
    result = run("sft", "--data.pairs", file, *flags, "--training.epochs", 20)
    assert result.code == 0, result.err
    assert json.loads((tmp_path / "sft" / "metrics.json").read_text())["eval_loss_minimum"] < 0.25 * math.log(400)
    tuned = LanguageModel.load(tmp_path / "sft")
    assert tuned.auto_class is AutoModelForSeq2SeqLM
    longest = max(len(tuned.encode(f"### Instruction:\n{row['instruction']}\n\n### Response:")) for row in rows)
    cut = [
        int(told.partition(" prompts cut")[0].rpartition(" ")[2])
        for tokens in (longest, longest - 1)  # the answer needs no room of the encoder
        for told in [run("sft", "--data.pairs", file, *flags[:2], "--data.max_tokens", tokens, "--dry-run").out]
    ]
    assert cut[0] == 0 < cut[1]
    flags = ("--model", tmp_path / "t5", "--output", tmp_path / "packed", "--training.packing")
    assert "train without packing" in run("sft", "--data.pairs", file, *flags).err


def test_embedded_instructions_by_name(sft, model_folder, tmp_path):
    result = sft("embedded-instructions", "--data.limit", 40, "--training.epochs", 1, "--data.max_tokens", 120)
    assert result.code == 0, result.err
    metrics = json.loads((tmp_path / "sft" / "metrics.json").read_text())
    assert metrics["pairs"] + metrics["held_out"] == 40
    assert not {"where", "choose_thing"} & set(metrics["tasks"])
    two = sft("embedded-instructions:who,where", "--data.limit", 6, "--dry-run")
    assert "2 tasks" in two.out


def test_bad_tasks_are_refused_by_file_and_key(refused_sft, tasks, tmp_path):
    (tasks / "small.json").write_text(json.dumps({**TASK, "Instances": [{"input": "a", "outpt": ["b"]}]}))
    line = refused_sft(tasks)
    assert 'No key "output" in entry 1 of "Instances"' in line
    assert "small.json" in line
    assert 'Did you mean "outpt"?' in line
    (tasks / "small.json").write_text(json.dumps({**TASK, "Instances": []}))
    assert 'Key "Instances" of' in refused_sft(tasks / "small.json")
    (tasks / "small.json").write_text('{"Definition": ["a"],\n "Instances": [\n')
    assert "line 3 of" in refused_sft(tasks)
    assert 'Did you mean "where"?' in refused_sft("embedded-instructions:wher")
    assert 'Did you mean "embedded-instructions"?' in refused_sft("embedded-instruction")
    assert "leave data.template out" in refused_sft(
        tasks, "--data.demonstrations", 1, "--data.template", "{prompt}\\n\\nA:"
    )
    assert not (tmp_path / "sft").exists()


def by_definition(config, model):
    """What ``read_pairs`` must give, pair by pair and text by text."""
    limit = min(config["data.max_tokens"] or model.context_length, model.context_length)
    pairs = load_pairs(config["data.pairs"])
    sides = divide([pair.prompt for pair in pairs], config["data.held_out"], config["seed"])
    train, held_out, cut, left_out = [], [], 0, 0
    for pair, apart in zip(pairs, sides, strict=True):
        left = limit - len(model.encode(pair.response)) - 1
        template = next((one for one in (INSTRUCT, SUMMARIZE) if pair.prompt.endswith(one.suffix)), PLAIN)
        if left <= len(model.encode(template.render(""))):
            left_out += 1
            continue
        fitted = fit_prompt(model.encode, template, pair.prompt, left, "left" if template is PLAIN else "right")
        cut += fitted.cut
        (held_out if apart else train).append(pair._replace(prompt=fitted.text))
    return train, held_out, cut, left_out


@pytest.mark.parametrize("columns", [("instruction", "output"), ("prompt", "completion")])
def test_pairs_read_in_batches_are_those_of_the_plain_definition(language_model, write_rows, columns):
    asked, answer = columns
    rows = [
        {
            asked: f"Say {'it again. ' * (number % 23)}{number % 17}" + ("\n\nTL;DR:" if number % 5 == 0 else ""),
            answer: "la " * (1 + number % 40 * (number % 3 == 0)) + str(number),
        }
        for number in range(600)
    ]
    options = {"data.pairs": str(write_rows("pairs.jsonl", rows)), "data.max_tokens": 48}
    config = resolve(OPTIONS, [("test", options)])
    data = read_pairs(config, language_model)
    assert data[:4] == by_definition(config, language_model)
    assert min(len(data.held_out), data.cut, data.left_out) > 0
    texts = [(pair.prompt, pair.response) for pair in [*data.train, *data.held_out]]
    plain = [
        {
            "prompt": language_model.encode(prompt),
            "response": [*language_model.encode(response), language_model.eos_token_id],
            "group": prompt,
        }
        for prompt, response in texts
    ]
    known = [len(some) for some in (data.tokens.prompts, data.tokens._responses)]
    assert examples(language_model, texts, data.tokens) == examples(language_model, texts) == plain
    assert [len(some) for some in (data.tokens.prompts, data.tokens._responses)] == known
    tokenised = []
    data.tokens.prompts._encode_all = data.tokens._responses._encode_all = tokenised.append
    examples(language_model, texts, data.tokens)
    assert not tokenised  # everything was at hand


def test_many_pairs_show_how_far_reading_and_tokenising_have_come(language_model, write_rows, capsys):
    rows = [{"prompt": f"{number}", "completion": "b"} for number in range(10_001)]
    options = {"data.pairs": str(write_rows("pairs.jsonl", rows))}
    assert len(read_pairs(resolve(OPTIONS, [("test", options)]), language_model).train) > 8_000
    told = capsys.readouterr().err
    assert "reading pairs.jsonl" in told
    assert "tokenising pairs" in told
