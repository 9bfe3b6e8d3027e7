"""The lecture: what its figures compute, checked by hand, and the command around them."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from prefgym.cli import main
from prefgym.lecture import FIGURES, curves, load_figure
from prefgym.lecture.budget import QUICK_BUDGET
from prefgym.lecture.figures.policy_gradient import own_words
from prefgym.lecture.figures.token_level import loss_of
from prefgym.lecture.words import LANGUAGES, read_words
from prefgym.lecture.workshop import Workshop
from prefgym.models.language_model import LanguageModel


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_expected_best_is_the_mean_over_all_subsets(n: int) -> None:
    by = np.array([[0.3, 2.0, -1.0, 0.9]])
    values = np.array([[5.0, 1.0, 2.0, 7.0]])
    subsets = list(itertools.combinations(range(4), n))
    expected = np.mean([values[0, max(subset, key=lambda i: by[0, i])] for subset in subsets])
    assert curves.expected_best(by, values, n) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("form", "gain"),
    [
        (curves.bon_form, lambda d: d * (1.5 - 0.25 * d)),
        (curves.rl_form, lambda d: d * (1.5 - 0.25 * np.log(d))),
    ],
)
def test_a_curve_of_the_form_gives_back_its_coefficients(form: object, gain: object) -> None:
    d = np.linspace(0.1, 5, 40)
    found = curves.fit(d**2, gain(d), form)  # type: ignore[operator]
    assert found["alpha"] == pytest.approx(1.5)
    assert found["beta"] == pytest.approx(0.25)
    assert found["r2"] == pytest.approx(1.0)


def test_rl_form_is_zero_at_the_start() -> None:
    assert curves.rl_form(np.array([0.0])).tolist() == [[0.0, 0.0]]


def test_a_curve_turns_over_where_gold_ends_below_its_peak() -> None:
    gains = {"gold": [0.0, 2.0, 1.0], "proxy": [0.0, 1.0, 3.0]}
    found = curves.peak([0.0, 1.0, 4.0], gains)
    assert found["kl"] == 1.0
    assert found["turned"]
    assert found["proxy_rose"]
    rising = curves.peak([0.0, 1.0, 4.0], {"gold": [0.0, 1.0, 2.0], "proxy": [0.0, 1.0, 3.0]})
    assert not rising["turned"]
    wobbling = curves.peak([0.0, 1.0, 4.0], {"gold": [0.0, 2.0, 1.9], "proxy": [0.0, 1.0, 3.0]})
    assert not wobbling["turned"]  # a twentieth of what was gained
    falling = curves.peak([0.0, 1.0], {"gold": [0.0, -0.1], "proxy": [0.0, 1.0]})
    assert falling["turned"]


def test_the_form_is_also_fitted_without_what_it_does_not_know() -> None:
    """Gold follows the form to its floor at the 8th point, stays there, and KL falls again: those are left out."""
    d = np.linspace(1, 8, 8)
    gold = [*(d * (1.5 - 1.25 * np.log(d))), -8.0, -8.0, -8.0]  # the last of the form is -8.8
    kl = [*(d**2), 70.0, 20.0, 10.0]
    found = curves.with_fit({"kl": [0.0, *kl], "proxy": [0.0] * 12, "gold": [0.0, *gold]}, curves.rl_form)
    assert found["fit_free"]["r2"] == pytest.approx(1.0)
    assert found["fit_free"]["beta"] == pytest.approx(1.25)
    assert found["fit"]["r2"] < 0.95
    assert curves.free([1, 2, 3, 4, 5, 6], [0.0] * 6) == 6
    assert curves.free([1, 2, 3, 4, 9, 6], [0.0] * 6) == 5
    assert curves.free([1, 2, 3, 4, 9, 6], [0.0, 0.0, 0.0, -6.9, -7.1, -7.2]) == 5
    assert curves.free([9, 2, 3, 4, 5, 6], [-8.0] * 6) == curves.LEAST_POINTS


def test_a_training_is_drawn_in_blocks_as_gains_over_the_start_policy() -> None:
    """32 rollouts in 16 blocks of 2: gold 1, 3, 1, 3, ... over a start policy worth 1.5 has gains of 0.5."""
    training = {"kl": list(range(32)), "proxy": [0.0] * 30 + [4.0, 6.0], "gold": [1.0, 3.0] * 16}
    found = curves.with_fit(training, curves.rl_form, {"proxy": 1.0, "gold": 1.5})
    assert found["kl"] == [0.5 + 2 * block for block in range(16)]
    assert found["gold"] == [0.5] * 16
    assert found["proxy"] == [-1.0] * 15 + [4.0]
    exact = curves.with_fit({"kl": [0.0, 0.2], "proxy": [1.0, 2.0], "gold": [3.0, 5.0]}, curves.bon_form)
    assert exact["gold"] == [0.0, 2.0]


def test_what_is_lost_counts_up_to_a_kl() -> None:
    curve = {"kl": [0.0, 1.0, 2.0, 3.0], "gold": [0.0, 5.0, 4.0, 1.0]}
    assert curves.lost(curve, 2.5) == 1.0
    assert curves.lost(curve, 3.0) == 4.0


def test_own_words_counts_words_of_the_prompt() -> None:
    assert own_words(["My dog ran."], [" dog RAN away fast"]) == [0.5]
    assert own_words(["My dog ran."], [""]) == [0.0]


def test_loss_of_a_text_does_not_depend_on_its_neighbours() -> None:
    lm = LanguageModel.load("embedded/start")
    short, long = " Fine.", " My brother broke my laptop and I feel sad."
    together = loss_of(lm, "A post.\n\nTL;DR:", [short, long])
    alone = [loss_of(lm, "A post.\n\nTL;DR:", [text])[0] for text in (short, long)]
    assert together == pytest.approx(alone, rel=1e-5)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_figure_is_told_in_every_language(language: str) -> None:
    words, english = read_words(language), read_words("en")
    assert list(words) == ["page", *FIGURES]
    for name, texts in english.items():
        assert set(words[name]) == set(texts)
        for key, text in texts.items():
            assert words[name][key].strip()
            assert set(re.findall(r"{\w+}", words[name][key])) == set(re.findall(r"{\w+}", text)), (name, key)


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_has_a_module_of_its_name(name: str) -> None:
    assert load_figure(name).name == name


def test_a_workshop_measures_once(tmp_path: Path) -> None:
    shop = Workshop(tmp_path, replace(QUICK_BUDGET, posts=4), seeds=1)
    assert shop.remember("x", lambda: {"value": 1}) == {"value": 1}
    assert shop.remember("x", lambda: pytest.fail("measured again")) == {"value": 1}


def test_a_second_lecture_in_a_folder_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["lecture", "--quick", "--figure", "open_ended", "--seeds", "1", "--output", str(tmp_path)]
    code = "import sys, pathlib, prefgym.storage.lock as lock\nwith lock.locked(pathlib.Path(sys.argv[1]), 'lecture'): "
    holder = [sys.executable, "-c", code + "print(1, flush=True); input()", str(tmp_path)]
    with subprocess.Popen(holder, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as first:
        assert first.stdout is not None
        first.stdout.readline()
        assert main(words) == 2
        assert f"is being written by process {first.pid}" in capsys.readouterr().err
        first.communicate(b"\n")


def test_the_command_writes_the_page_in_both_languages(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["lecture", "--quick", "--figure", "open_ended", "--seeds", "1", "--output", str(tmp_path / "out")]
    assert main(words) == 0
    english = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "There is no single right answer" in english
    assert main([*words, "--language", "ko"]) == 0
    assert "정답은 하나가 아니다" in (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text(encoding="utf-8"))
    assert set(metrics["figures"]) == {"open_ended"}
    assert (tmp_path / "out" / "open_ended.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--figure", "over_optimization"], 'Did you mean "over_optimisation"?'),
        (["--language", "de"], "use en or ko"),
        (["--seeds", "0"], "seeds"),
    ],
)
def test_bad_input_is_told_in_one_sentence(
    words: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["lecture", *words, "--output", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    assert main(["lecture", "--quick", "--output", str(tmp_path)]) == 2
    assert "holds other files" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
