"""What a run started from is another model now, or would be after the command: said before anything is touched."""

import io
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from safetensors.torch import load_file, save_file

from prefgym.errors import InputError
from prefgym.finished_run import check_start
from prefgym.output import kept_folder
from prefgym.storage.manifest import FILES


@pytest.fixture
def own_run(finished_run: Path, model_folder: Path, tmp_path: Path) -> Path:
    """A copy of the finished run, whose start model lies in ``model`` beside it and has other weights by now."""
    folder = shutil.copytree(finished_run, tmp_path / "run")
    shutil.copytree(model_folder, tmp_path / "model", ignore=shutil.ignore_patterns(FILES))
    weights = tmp_path / "model" / "model.safetensors"
    save_file({name: 1.1 * tensor for name, tensor in load_file(weights).items()}, weights, metadata={"format": "pt"})
    config = (folder / "config.yaml").read_text()
    (folder / "config.yaml").write_text(config.replace(str(model_folder), str(tmp_path / "model")))
    return folder


def test_a_run_is_not_judged_against_a_changed_model(run, refused, own_run, tmp_path, monkeypatch):
    told = refused("evaluate", own_run)
    assert f"the model that training started from changed since {own_run} was saved" in told
    assert "--env.model" in told
    assert "--accept-changes" in told
    assert not (own_run / "evaluation").exists()
    assert "changed since" in refused("compare", own_run, "--output", tmp_path / "compared")
    assert not (tmp_path / "compared").exists()
    monkeypatch.setattr("sys.stdin", io.StringIO("q\n"))
    assert "changed since" in refused("play", own_run)
    assert run("evaluate", own_run, "--evaluation.prompts", 2, "--accept-changes").code == 0


def world(model: str, reference: str) -> SimpleNamespace:
    def named(weights: str) -> SimpleNamespace:
        return SimpleNamespace(checksum=lambda: weights)

    base = SimpleNamespace(language_model=named(model), reference=named(reference))
    return SimpleNamespace(unwrapped=base)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A run that started from ``a`` and measured the KL from ``b``."""
    settings = {
        "agent": "ppo",
        "hyperparameters": {},
        "seed": 0,
        "inputs": {"data": "d", "model": "a", "reference": "b"},
    }
    (tmp_path / "prefgym.json").write_text(json.dumps(settings))
    return tmp_path


@pytest.mark.parametrize(
    ("now", "given"),
    [(("a", "b"), ()), (("x", "y"), ("env.model",)), (("x", "y"), ("env.id",)), (("a", "y"), ("env.reference",))],
)
def test_the_same_models_and_those_that_the_user_names_pass(saved, now, given):
    check_start(saved, world(*now), given)


def test_a_run_of_version_0_1_says_nothing_of_its_start(saved):
    settings = json.loads((saved / "prefgym.json").read_text())
    del settings["inputs"]
    (saved / "prefgym.json").write_text(json.dumps(settings))
    check_start(saved, world("x", "y"), ())


@pytest.mark.parametrize(
    ("now", "given", "name"),
    [(("x", "b"), (), "model"), (("a", "y"), (), "reference"), (("x", "y"), ("env.reference",), "model")],
)
def test_another_model_than_that_of_the_run_is_refused(saved, now, given, name):
    with pytest.raises(InputError, match=f"--env.{name}"):
        check_start(saved, world(*now), given)


@pytest.mark.parametrize(
    "words",
    [
        ("train", "--env.model", "run"),
        ("train", "--data.prompts", "run/samples.jsonl"),
        ("sft", "--model", "run", "--data.pairs", "embedded-instructions"),
        ("reward", "--model", "run", "--data.comparisons", "pairs.jsonl"),
        ("evaluate", "run"),
    ],
)
def test_overwriting_what_is_read_is_refused_and_nothing_moves(refused, finished_run, tmp_path, monkeypatch, words):
    shutil.copytree(finished_run, tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    told = refused(*words, "--output", "run", "--overwrite")
    assert "which --output run would set aside" in told
    assert sorted(tmp_path.rglob("*")) == before


def test_a_comparison_does_not_train_over_what_it_reads(refused, finished_run, train_flags, tmp_path):
    home = tmp_path / "compared" / "tldr-ppo" / "seed-0"
    with kept_folder(tmp_path / "compared", "compare"):
        shutil.copytree(finished_run, home)
    words = ("--config", "tldr-ppo", "--seeds", 1, *train_flags, "--overwrite", "--output", tmp_path / "compared")
    assert f"env.model names {home}" in refused("compare", *words, "--env.model", home)
    assert not (tmp_path / "compared" / "config.yaml").exists()
