"""The asset build: every stage, going on after a stop, the same weights from the same seed, and what is shipped."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from prefgym.assets import sizes
from prefgym.assets.build import MODELS, STAGES, Build
from prefgym.assets.checks import agreement
from prefgym.assets.sizes import FULL, QUICK
from prefgym.cli import main
from prefgym.models.language_model import LanguageModel, embedded_path
from prefgym.rewards.preference_model import PreferenceModel

SMALL = replace(
    QUICK, hidden_size=16, pretrain_posts=64, finetune_posts=32, comparison_posts=8, lesson_posts=16, held_out=5
)


@pytest.fixture(scope="module")
def quick_build(tmp_path_factory):
    folder = tmp_path_factory.mktemp("assets")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sizes, "QUICK", SMALL)
        assert main(["build-assets", "--quick", "--output", str(folder)]) == 0
    return folder


def test_quick_build_makes_every_stage(quick_build):
    assert {path.name for path in quick_build.iterdir()} == {*STAGES, "prefgym-files.jsonl"}
    for name in MODELS:
        card = (quick_build / name / "README.md").read_text(encoding="utf-8")
        assert "synthetic" in card
        assert "validation loss" in card
    model = LanguageModel.load(quick_build / "start")
    assert model.vocab_size == SMALL.vocab_size
    assert model.decode(model.encode("Any text, even ñ and 🙂.")) == "Any text, even ñ and 🙂."
    facts = json.loads((quick_build / "preference" / "build.json").read_text(encoding="utf-8"))
    assert 0.5 < facts["ceiling"] < 1
    assert PreferenceModel.load(quick_build / "preference").temperature > 0
    card = (quick_build / "preference" / "README.md").read_text(encoding="utf-8")
    assert "| prefers a clean summary to: one wrong fact |" in card
    assert facts["checks"]["orders as gold does"]["low"] <= facts["checks"]["orders as gold does"]["high"]


def test_agreement_counts_pairs_by_hand():
    # post 0: truth 1 < 2 < 3; the scores order (1, 2) and (1, 3) alike and (2, 3) the other way: 2 of 3
    # post 1: truth ties in one pair, which is left out; of the others one is a tie of scores: (1 + 0.5) of 2
    truth = np.array([[1.0, 1.0], [2.0, 1.0], [3.0, 2.0]])
    scores = np.array([[-1.0, 4.0], [9.0, 5.0], [5.0, 5.0]])
    assert agreement(scores, truth)["mean"] == pytest.approx((2 / 3 + 3 / 4) / 2)
    assert agreement(truth, truth)["mean"] == 1
    assert agreement(-truth, truth)["mean"] == 0


def test_a_stopped_build_goes_on_and_the_seed_decides_the_weights(quick_build, tmp_path):
    for stage in ("tokenizer", "start", "comparisons"):
        shutil.copytree(quick_build / stage, tmp_path / stage)
    (tmp_path / "preference.partial").mkdir()  # what a killed build leaves
    Build(tmp_path, SMALL, seed=0, progress=False).run()
    for name, load in (("pretrained", LanguageModel.load), ("preference", PreferenceModel.load)):
        assert load(tmp_path / name).checksum() == load(quick_build / name).checksum()


def test_a_folder_of_something_else_is_not_built_into(tmp_path, capsys):
    (tmp_path / "letter.txt").write_text("dear")
    assert main(["build-assets", "--quick", "--output", str(tmp_path)]) == 2
    assert "letter" not in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


def test_shipped_weights_are_those_of_the_full_size_and_fit_in_16_megabytes():
    total = 0
    for name in MODELS:
        folder = Path(embedded_path(name))
        total += sum(path.stat().st_size for path in folder.rglob("*.safetensors"))
        assert (folder / "README.md").is_file()
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        assert (config["hidden_size"], config["num_hidden_layers"]) == (FULL.hidden_size, FULL.layers)
        assert config["max_position_embeddings"] >= 512
    assert total <= 16_000_000
