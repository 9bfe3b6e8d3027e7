import json

import pytest
import yaml

from prefgym.data.templates import SUMMARIZE
from prefgym.rewards.preference_model import PreferenceModel


@pytest.fixture
def pairs() -> list[dict]:
    """Forty comparisons of twenty prompts in which the answer with the word "please" was chosen."""
    rows = []
    for i in range(40):
        polite, rude = f"please take number {i}", f"just take number {i}"
        row = {"prompt": f"Question {i % 20}: what now?", "chosen": polite, "rejected": rude, "human": polite}
        rows.append({**row, "annotator": "Ann" if i < 30 else "Bob"})
    return rows


def test_the_learning_rate_suits_the_model_and_is_told(run, model_folder, write_rows, pairs, tmp_path, monkeypatch):
    monkeypatch.setattr("prefgym.models.learning_rate.SMALL", 10)
    file, folder = write_rows("pairs.jsonl", pairs[:4]), tmp_path / "reward"
    flags = ("--model", model_folder, "--folds", 2, "--training.epochs", 1, "--data.held_out", 0)
    result = run("reward", "--data.comparisons", file, *flags, "--output", folder)
    assert result.code == 0, result.err
    assert result.out.count("learning rate 5e-05, as usual for a model of") == 1
    assert json.loads((folder / "metrics.json").read_text())["learning_rate"] == 5e-5
    assert yaml.safe_load((folder / "config.yaml").read_text())["training"]["learning_rate"] == 5e-5


def test_a_preference_is_learned_and_used_as_a_reward(run, model_folder, write_rows, pairs, tmp_path, train_flags):
    folder = tmp_path / "reward"
    flags = ("--model", model_folder, "--folds", 2, "--training.learning_rate", 0.02, "--training.batch_size", 8)
    result = run("reward", "--data.comparisons", write_rows("pairs.jsonl", pairs), *flags, "--output", folder)
    assert result.code == 0, result.err
    metrics = json.loads((folder / "metrics.json").read_text())
    crossed = metrics["cross_validation"]
    assert crossed["accuracy"]["low"] > 0.6
    assert crossed["longer"]["mean"] == 1.0
    assert crossed["chance"] == 0.5
    assert crossed["accuracy"]["n"] == 40
    assert {name: rate["n"] for name, rate in crossed["by_annotator"].items()} == {"Ann": 30, "Bob": 10}
    assert all(0 <= crossed["calibration"][f"ece_{when}"] <= 1 for when in ("before", "after"))
    assert metrics["held_out"]["calibration"]["n"] + metrics["comparisons"] == 40
    assert metrics["agreement"] is metrics["noise_ceiling"] is None
    for text in ("accuracy, cross-validated by prompt: ", "the longer one wins: 100.0 %", "chance: 50.0 %", "(ECE): "):
        assert text in result.out
    report = (folder / "report.md").read_text()
    assert "on the surface" in report.splitlines()[0]
    for text in (
        "| Ann |",
        "| equally long |",
        "how far annotators agree with each other is not known",
        "![Accuracy over",
    ):
        assert text in report
    assert {"config.yaml", "report.html", "loss.png", "reliability.png", "README.md"} <= {
        path.name for path in folder.iterdir()
    }
    assert list((folder / "tensorboard").glob("events*"))

    pm = PreferenceModel.load(folder)
    assert pm.facts["comparisons"] == metrics["comparisons"]
    prompts = [SUMMARIZE.render(row["prompt"]) for row in pairs]
    chosen = pm.score(prompts, [" " + row["chosen"] for row in pairs])
    rejected = pm.score(prompts, [" " + row["rejected"] for row in pairs])
    assert chosen.mean() == pytest.approx(0, abs=1e-4)
    assert (chosen > rejected).mean() > 0.9

    short = ("--agent.total_episodes", "8", "--evaluation.prompts", "0", "--output", tmp_path / "run")
    assert run("train", *train_flags, "--env.reward", folder, *short).code == 0


def test_labels_ties_groups_and_references(run, model_folder, write_rows, pairs, tmp_path):
    rows = [
        {"post": row["prompt"], "a": row["chosen"], "b": row["rejected"], "best": label, "topic": i % 4, "human": "ok"}
        for i, (row, label) in enumerate(zip(pairs, ["A", "B", "same", "A"] * 10, strict=True))
    ]
    columns = {"prompt": "post", "first": "a", "second": "b", "label": "best", "group": "topic", "reference": "human"}
    flags = [word for name, column in columns.items() for word in (f"--data.{name}_column", column)]
    flags += ["--data.label_map", "A=first,B=second,same=tie", "--data.held_out", 0, "--folds", 0]
    folder = tmp_path / "reward"
    file = write_rows("votes.jsonl", rows)
    result = run("reward", "--data.comparisons", file, *flags, "--model", model_folder, "--max-length", 48,
                 "--training.epochs", 1, "--output", folder)  # fmt: skip
    assert result.code == 0, result.err
    metrics = json.loads((folder / "metrics.json").read_text())
    assert (metrics["comparisons"], metrics["ties"]) == (40, 10)
    assert "cross_validation" not in metrics
    assert "temperature" not in metrics
    assert yaml.safe_load((folder / "config.yaml").read_text())["data"]["label_map"] == "A=first,B=second,same=tie"
    pm = PreferenceModel.load(folder)
    assert pm.max_length == 48
    prompts = [SUMMARIZE.render(row["post"]) for row in rows]
    assert pm.score(prompts, [" ok"] * 40).mean() == pytest.approx(0, abs=1e-4)
