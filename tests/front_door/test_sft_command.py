import json

import pytest
import torch
from transformers import AutoModelForCausalLM

from prefgym.commands.sft import OPTIONS, divide, read_pairs
from prefgym.config import resolve
from prefgym.models.language_model import LanguageModel

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
    (pair,), held_out, cut = read_pairs(resolve(OPTIONS, [("test", options)]), language_model)
    assert (pair[1], held_out, cut) == (" Short.", [], 1)
    assert pair[0].startswith(kept[0])
    assert pair[0].endswith(kept[1])
    assert len(language_model.encode(pair[0])) + len(language_model.encode(pair[1])) < 64


def test_divergence_is_told_and_leaves_nothing(refused_sft, write_rows, tmp_path):
    rows = [{"instruction": f"Say {i}.", "output": "one"} for i in range(8)]
    line = refused_sft(write_rows("pairs.jsonl", rows), "--training.learning_rate", "1e30")
    assert "learning rate" in line
    assert not (tmp_path / "sft").exists()


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
