import builtins
import json
import shutil

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from prefgym.data.templates import SUMMARIZE
from prefgym.data.truncation import fit_prompt
from prefgym.evaluation.policies import decode as decoding


def rows_of(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def own_run(finished_run, tmp_path):
    """A copy of the finished run, which a test may write to."""
    return shutil.copytree(finished_run, tmp_path / "run")


def test_evaluating_a_run_repeats_what_its_training_reported(run, own_run):
    result = run("evaluate", own_run)
    assert result.code == 0, result.err
    folder = own_run / "evaluation"
    theirs, mine = (json.loads((path / "metrics.json").read_text()) for path in (own_run, folder))
    assert mine["policies"] == theirs["policies"]
    assert mine["greedy"] == theirs["greedy"]
    assert (mine["episodes"], mine["seconds"]) == (theirs["episodes"], theirs["seconds"])
    names = {path.name for path in folder.iterdir()}
    assert {"report.md", "report.html", "config.yaml", "win_rates.png", "tensorboard"} <= names
    assert "trained policy" in result.out
    assert str(folder / "report.html") in result.out


def test_evaluating_on_a_file_by_a_judge_of_ones_own(run, own_run, write_rows, posts, tmp_path):
    (tmp_path / "judge.py").write_text(
        "def longer(prompts, first, second):\n"
        "    return [0.5 + 0.5 * ((len(a) > len(b)) - (len(a) < len(b))) for a, b in zip(first, second)]\n"
    )
    flags = ("--data.prompts", write_rows("posts.jsonl", posts), "--data.held_out", 0.3, "--seed", 4)
    judge = ("--evaluation.judge", f"{tmp_path / 'judge.py'}:longer")
    assert run("evaluate", own_run, *flags, *judge, "--output", tmp_path / "out").code == 0
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["judge"].endswith("judge.py:longer")
    assert 0 < metrics["prompts"] <= 6
    assert metrics["policies"]["references"]["gold_score"] is None
    assert metrics["policies"]["lead"]["invented_facts"] is None
    assert "oracle" not in metrics["policies"]
    assert metrics["policies"]["references"]["win_rate_vs_start"]["mean"] == 1.0


def test_another_evaluation_of_the_same_run_needs_permission_only_in_a_named_folder(run, refused, own_run, tmp_path):
    shutil.copytree(own_run, tmp_path / "out")
    assert "--overwrite" in refused("evaluate", own_run, "--output", tmp_path / "out")


def test_sampling_prints_one_object_a_line(run, finished_run, write_rows, posts):
    file = write_rows("posts.jsonl", posts)
    first = run("sample", finished_run, "--data.prompts", file)
    rows = rows_of(first.out)
    assert (first.code, len(rows)) == (0, 30)
    assert [row["prompt"] for row in rows] == [row["prompt"] for row in posts]
    assert run("sample", finished_run, "--data.prompts", file).out == first.out
    assert run("sample", finished_run, "--data.prompts", file, "--seed", 1).out != first.out


def test_a_response_is_shown_before_the_next_ones_are_written(run, finished_run, write_rows, posts, monkeypatch):
    shown, real = [], decoding.decode

    def decode(model, prompts, *rest, **options):
        shown.append((len(prompts), printed.count("\n")))
        return real(model, prompts, *rest, **options)

    printed = ""

    def show(*values, **options):
        nonlocal printed
        printed += " ".join(map(str, values)) + "\n"

    monkeypatch.setattr(decoding, "decode", decode)
    monkeypatch.setattr(builtins, "print", show)
    assert run("sample", finished_run, "--data.prompts", write_rows("posts.jsonl", posts[:9])).code == 0
    assert shown == [(1, 0), (2, 1), (4, 3), (2, 7)]
    assert len(rows_of(printed)) == 9


def test_greedy_samples_are_those_of_transformers(run, finished_run, tmp_path):
    result = run("sample", finished_run, "--greedy", "--limit", 4, "--output", tmp_path / "s.jsonl")
    assert "4 responses" in result.out
    rows = rows_of((tmp_path / "s.jsonl").read_text())
    model, tokenizer = (kind.from_pretrained(finished_run) for kind in (AutoModelForCausalLM, AutoTokenizer))
    assert len(rows) == 4
    for row in rows:
        ids = fit_prompt(tokenizer.encode, SUMMARIZE, row["prompt"], 40).ids
        written = model.generate(torch.tensor([ids]), do_sample=False, max_new_tokens=6)[0, len(ids) :]
        assert tokenizer.decode(written, skip_special_tokens=True).strip() == row["response"]


def test_sampling_writes_a_file_and_replaces_it_when_asked(run, finished_run, tmp_path):
    target = tmp_path / "new" / "s.jsonl"
    assert run("sample", finished_run, "--limit", 2, "--output", target).code == 0
    assert len(rows_of(target.read_text())) == 2
    assert run("sample", finished_run, "--limit", 3, "--output", target, "--overwrite").code == 0
    assert len(rows_of(target.read_text())) == 3


def test_sampling_maps_columns(run, finished_run, write_rows):
    file = write_rows("posts.jsonl", [{"post": "My dog ate my shoe."}])
    rows = rows_of(run("sample", finished_run, "--data.prompts", file, "--data.prompt_column", "post").out)
    assert [row["prompt"] for row in rows] == ["My dog ate my shoe."]


def test_a_place_that_cannot_hold_the_samples_is_found_before_they_are_written(refused, finished_run, tmp_path):
    (tmp_path / "file").write_text("mine")
    told = refused("sample", finished_run, "--limit", 1, "--output", tmp_path / "file" / "deep" / "s.jsonl")
    assert "which is a file" in told
    assert (tmp_path / "file").read_text() == "mine"


def test_a_model_of_another_vocabulary_is_no_traceback(refused, model_folder, tmp_path):
    told = refused("evaluate", model_folder, "--evaluation.prompts", 2, "--output", tmp_path / "out")
    assert "another vocabulary" in told
