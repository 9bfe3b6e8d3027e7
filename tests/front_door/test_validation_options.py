"""``prefgym train --evaluation.every N``: the report, an early stop that is final, and which prompts are for what."""

import json
import shutil

import pytest
from safetensors.torch import load_file

from prefgym.agents.validation import Validator
from prefgym.commands import train as train_command
from prefgym.config import Config
from prefgym.contestants import finished_runs
from prefgym.finished_run import read_history
from prefgym.held_out import load_splits
from prefgym.options import DATA_OPTIONS, EVALUATION_OPTIONS

OBJECTIVES = {0: 2.0, 1: 3.0, 2: 1.0}
WATCHED = ("--evaluation.every", "1", "--evaluation.patience", "1", "--agent.total_episodes", "32")


@pytest.fixture(scope="module")
def stopped_run(train_flags, tmp_path_factory):
    """A run whose first iteration is the best, and that stops after the second of four; tests only read it."""
    from prefgym.cli import main

    folder = tmp_path_factory.mktemp("runs") / "stopped"

    def measure(validator):
        found = OBJECTIVES[validator.agent.iteration + bool(validator.agent.history)]
        return {"validation/score": found + 0.5, "validation/kl": 10.0, "validation/objective": found}

    def killed(*arguments, **options):
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Validator, "measure", measure)
        with pytest.MonkeyPatch.context() as inner:  # between training and the report
            inner.setattr(train_command, "_report", killed)
            assert main(["train", *train_flags, *WATCHED, "--evaluation.prompts", "2", "--output", str(folder)]) == 130
    assert main(["train", "--resume", "--output", str(folder)]) == 0
    return folder


def test_an_early_stop_keeps_the_best_weights_and_is_final(run, stopped_run):
    kept = load_file(stopped_run / "value_head.safetensors")
    best = load_file(stopped_run / "checkpoints/best-000001.safetensors")
    last = load_file(stopped_run / "checkpoints/iteration-000002/value_head.safetensors")
    assert all(kept[name].equal(best[f"value_head.{name}"]) for name in kept)
    assert any(not kept[name].equal(last[name]) for name in kept)
    before = {path: path.read_bytes() for path in stopped_run.rglob("*") if path.is_file()}
    result = run("train", "--resume", "--output", stopped_run)
    assert result.code == 0
    assert "is finished: 16 episodes, stopped early of 32" in result.out
    assert before == {path: path.read_bytes() for path in stopped_run.rglob("*") if path.is_file()}


def test_the_report_says_which_iteration_was_kept(run, stopped_run, tmp_path):
    text = (stopped_run / "report.md").read_text()
    assert "| 1 (best) | 8 | 3.50 | 10.00 | 3.00 |" in text
    assert "After the best, 1 in a row were not better." in text
    assert "those after iteration 1 of 2, which validated best" in text
    assert (stopped_run / "validation.png").is_file()
    assert json.loads((stopped_run / "metrics.json").read_text())["validation"] == {
        "iteration": 1,
        "episodes": 8,
        "score": 3.5,
        "kl": 10.0,
        "objective": 3.0,
    }
    assert [row["iteration"] for row in read_history(stopped_run)] == [0, 1, 2]
    assert run("evaluate", stopped_run, "--output", tmp_path / "again").code == 0
    assert "those after iteration 1 of 2, which validated best" in (tmp_path / "again" / "report.md").read_text()


def test_runs_that_keep_other_weights_are_not_seeds_of_one_agent(stopped_run, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(stopped_run, other)
    config = (other / "config.yaml").read_text()
    (other / "config.yaml").write_text(config.replace("keep: null", "keep: last"))
    assert len({one.agent for one in finished_runs([str(stopped_run), str(other)])}) == 2


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("--evaluation.patience", "2"), "evaluation.patience is 2, but training is not validated"),
        (("--evaluation.keep", "best"), "evaluation.keep is best, but training is not validated"),
        (("--evaluation.every", "0"), "evaluation.every is 0, but must be at least 1"),
        (("--evaluation.every", "1", "--evaluation.keep", "both"), 'evaluation.keep is "both", not one of best, last'),
    ],
)
def test_options_without_an_effect_are_refused(refused, train_flags, words, line, tmp_path):
    assert line in refused("train", *train_flags, *words, "--output", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def splits_of(source, **given):
    options = {option.key: option.default for option in [*DATA_OPTIONS, *EVALUATION_OPTIONS]}
    told = {"data.prompts": str(source), **{name.replace("__", "."): value for name, value in given.items()}}
    found = load_splits(Config({**options, "env.id": "Summarize-v0", **told}))
    return {name: [row["prompt"] for row in rows] for name, rows in found.items()}


def test_half_of_what_is_held_out_is_for_validation(posts, write_rows):
    file = write_rows("posts.jsonl", [*posts, *posts[:5]])
    before = splits_of(file, data__held_out=0.4)
    assert not before["validation"]
    after = splits_of(file, data__held_out=0.4, evaluation__every=3)
    assert after["train"] == before["train"]  # so training is the same
    assert sorted(after["validation"] + after["test"]) == sorted(before["test"])
    assert after["validation"]
    assert after["test"]
    assert not set(after["validation"]) & set(after["test"])


def test_validation_prompts_do_not_depend_on_how_many_are_evaluated(posts, write_rows):
    file = write_rows("posts.jsonl", posts)
    few = {"evaluation__prompts": 0, "data__held_out": 0.4}
    assert len(splits_of(file, **few, evaluation__every=1)["validation"]) > 1
    assert len(splits_of(file, **few, evaluation__every=1, evaluation__validation_prompts=1)["validation"]) == 1
