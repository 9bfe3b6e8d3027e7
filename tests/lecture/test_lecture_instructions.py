"""The lecture's figures on instructions: what they compute, checked by hand, and one small run of all of them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from prefgym.cli import main
from prefgym.data.benchmarks import read_suites
from prefgym.data.prompts import instruction_prompts
from prefgym.data.world.instructions import SEEN, UNSEEN
from prefgym.evaluation.policies import instructions
from prefgym.evaluation.win_rate import crossed_interval, wilson_interval
from prefgym.lecture import instructed, load_figure, preferred
from prefgym.lecture.benchmark_files import BIGBENCH, MMLU, write_suites
from prefgym.lecture.budget import QUICK_BUDGET, SHIPPED
from prefgym.lecture.figures import benchmarks, intent
from prefgym.lecture.report import verdict
from prefgym.lecture.words import read_words
from prefgym.lecture.workshop import Workshop
from prefgym.models.language_model import LanguageModel
from prefgym.rewards.functions import answer_words

TWO = ("a", "b")


@pytest.fixture(scope="module", autouse=True)
def _short_answers() -> Iterator[None]:
    """Answers of a few tokens, and one small iteration of reinforcement learning."""
    recipe = {**preferred.RECIPES["reinforce"], "episodes_per_iteration": 16, "samples_per_prompt": 4}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(instructions, "SETTINGS", replace(instructions.SETTINGS, max_new_tokens=6))
        patch.setattr(preferred, "RECIPES", {"reinforce": {**recipe, "batch_size": 8}})
        yield


def answered(exact: list[int], chosen: list[int]) -> dict[str, object]:
    """The same answers to both halves of the unseen families: chance a quarter in one half, a half in the other."""
    of_family = {"exact": exact, "chosen": chosen}
    return {family: {**of_family, "chance": 0.25 if place < 2 else 0.5} for place, family in enumerate(UNSEEN)}


def test_families_are_nested_and_drawn_by_seed() -> None:
    for seed in range(3):
        assert set(instructed.drawn(1, seed)) < set(instructed.drawn(4, seed)) < set(SEEN)
        assert set(instructed.drawn(len(SEEN), seed)) == set(SEEN)
    assert len({instructed.drawn(1, seed) for seed in range(10)}) > 1


def test_answers_about_a_post_are_the_mean_over_families() -> None:
    found = {
        "a": {"exact": [1, 0], "chosen": [1, 0], "chance": 0.5},
        "b": {"exact": [0, 0], "chosen": [1, 1], "chance": 0.2},
    }
    assert instructed.by_post(found, "written", TWO).tolist() == [0.5, 0.0]
    assert instructed.by_post(found, "likeliest", TWO).tolist() == [1.0, 0.5]
    assert instructed.by_post(found, "normalised", TWO).tolist() == [1.0, 0.0]  # (0 - .5) / .5 and (1 - .2) / .8


def test_gains_are_paired_and_growth_is_their_difference() -> None:
    before, after = [answered([0, 0], [0, 1])] * 2, [answered([1, 0], [1, 1]), answered([0, 0], [1, 1])]
    found = instructed.gains(before, after)
    assert found["written"] == pytest.approx(crossed_interval([[1.0, 0.0], [0.0, 0.0]]))
    assert found["likeliest"]["mean"] == 0.5
    assert found["normalised"]["mean"] == pytest.approx((4 / 3 + 2) / 4)
    grown = instructed.growth((before, before), (before, after))
    assert {way: interval["mean"] for way, interval in grown.items()} == pytest.approx(
        {way: interval["mean"] for way, interval in found.items()}
    )
    assert instructed.growth((before, after), (before, after))["written"] == {"mean": 0.0, "low": 0.0, "high": 0.0}


def test_a_share_of_nothing_has_a_width() -> None:
    assert instructed.share(np.zeros((3, 50))) == pytest.approx(wilson_interval(0.0, 50))
    apart = np.array([[1.0] * 10, [0.0] * 10])  # seeds that disagree wholly
    assert instructed.share(apart) == {"mean": 0.5, "low": 0.0, "high": 1.0}


def test_a_summary_holds_every_family() -> None:
    found = instructed.summary([answered([1, 0], [1, 0])])
    assert found["chance"] == 0.375
    assert found["written"]["mean"] == found["likeliest"]["mean"] == 0.5
    assert found["normalised"]["mean"] == pytest.approx((1 / 3 + 0) / 2)
    assert set(found["families"]) == set(UNSEEN)
    assert found["families"][UNSEEN[0]]["normalised"]["mean"] == pytest.approx(1 / 3)


def interval(low: float, high: float) -> dict[str, float]:
    return {"mean": (low + high) / 2, "low": low, "high": high}


def test_differences_show_a_claim_only_where_all_are_above_zero() -> None:
    above, around, below = interval(0.1, 0.2), interval(-0.1, 0.1), interval(-0.2, -0.1)
    assert instructed.shown([above, above]) is True
    assert instructed.shown([above, around]) is None
    assert instructed.shown([above, around, below]) is False


@pytest.mark.parametrize(
    ("pretrained", "growth", "agrees"),
    [
        (interval(0.0, 0.1), interval(0.1, 0.2), True),
        (interval(0.0, 0.1), interval(-0.1, 0.2), None),
        (interval(0.0, 0.1), interval(-0.3, -0.2), False),
        (interval(0.1, 0.4), interval(0.1, 0.2), None),  # the gain is above 0, and the intervals are not apart
    ],
)
def test_flan_agrees_where_sizes_are_apart_and_the_gain_grows(pretrained, growth, agrees) -> None:
    def both(found):
        return dict.fromkeys(("written", "normalised"), found)

    row = {"pretrained": both(pretrained), "tuned": both(interval(0.3, 0.5)), "gain": both(interval(0.2, 0.4))}
    numbers = {"sizes": {"small": row, "large": row}, "growth": both(growth)}
    assert load_figure("flan").finding(numbers).agrees is agrees


@pytest.fixture(scope="module")
def known() -> intent.Known:
    return intent.known_answers()


@pytest.mark.parametrize("family", intent.FAMILIES)
def test_answers_to_held_out_posts_are_known(family: str, known: intent.Known) -> None:
    rows = instruction_prompts("test", 300, families=[family])
    there = [answer_words(row["reference"]) in known[family] for row in rows]
    assert np.mean(there) >= 0.98


def test_an_attempt_is_an_answer_and_nothing_else(known: intent.Known) -> None:
    right = [row["reference"] for row in instruction_prompts("test", 4, families=["who"])]
    wrong_kind = [row["reference"] for row in instruction_prompts("test", 4, families=["when"])]
    went_on = [f"{answer}. I do not know what to do." for answer in right]
    assert intent.attempts([f" {answer.upper()}." for answer in right], known["who"]) == [1.0] * 4
    assert intent.attempts(wrong_kind + went_on + [""], known["who"]) == [0.0] * 9


ROW = {"prompt": "Who?", "reference": "my brother", "references": ["my brother", "my older brother"]}


def test_people_choose_by_worth_with_slips() -> None:
    assert preferred.worth(ROW, [" my brother", "My older brother.", "the car", "my car"]) == pytest.approx(
        [4, 4, 0, 2]
    )
    rambling = "the car " * 5 + "and so on"  # thirteen words, ten more than the longest accepted answer
    assert preferred.worth(ROW, [rambling]) == pytest.approx([-0.5])
    assert preferred.first_preferred(4.0, 0.0) == pytest.approx(0.95 / (1 + np.exp(-4)) + 0.025)
    assert preferred.first_preferred(np.array([2.0]), np.array([2.0])).tolist() == [0.5]
    texts = [[" my brother", " the car", " the car"]] * 4000
    made = preferred.compare([ROW] * 4000, ["Who? ###"] * 4000, texts, seed=0)
    assert len(made) == 4000  # equal answers are compared with nobody twice
    assert {(one.prompt, *sorted([one.chosen, one.rejected])) for one in made} == {
        ("Who? ###", " my brother", " the car")
    }
    won = np.mean([one.chosen == " my brother" for one in made])
    assert won == pytest.approx(0.95 / (1 + np.exp(-4)) + 0.025, abs=0.015)


def test_written_suites_hold_the_embedded_questions(tmp_path: Path) -> None:
    sources = write_suites(tmp_path, range(1000, 1006))
    tasks = {task.name: task for task in read_suites(sources).tasks}
    assert set(tasks) == {f"bigbench/{name}" for name in BIGBENCH} | {f"mmlu/{name}" for name in MMLU}
    for family in BIGBENCH:
        rows = instruction_prompts("test", 6, 1000, [family])
        task = tasks[f"bigbench/{family}"]
        for place, (row, one) in enumerate(zip(rows, task.examples, strict=True)):
            assert one.best == row["reference"]
            assert sorted(one.options) == sorted(row["options"])
            assert task.context(place) == f"{row['prompt']} "
            assert one.chance == 1 / len(row["options"])
    for subject in MMLU:
        rows = instruction_prompts("test", 6, 1000, [subject])
        for row, one in zip(rows, tasks[f"mmlu/{subject}"].examples, strict=True):
            assert f"\n{one.best}. {row['reference']}\n" in one.prompt
            assert one.options == ("A", "B", "C", "D")


def test_a_task_file_is_scored_as_the_instructions_themselves(tmp_path: Path) -> None:
    pytest.importorskip("lm_eval")
    from prefgym.evaluation.benchmarks.harness import run_tasks
    from prefgym.evaluation.benchmarks.harness_model import HarnessModel

    lm = LanguageModel.load("embedded/pretrained")
    tasks = read_suites({"bigbench": write_suites(tmp_path, range(1000, 1004))["bigbench"]}).tasks
    found = run_tasks(HarnessModel(lm), tasks)
    asked = instructions.follow(lm, BIGBENCH, count=4, start=1000)
    for family in BIGBENCH:
        assert found[f"bigbench/{family}"].scores.tolist() == asked[family].chosen.tolist()


def result(scores: list[float], chance: float) -> dict[str, object]:
    told = {"metric": "accuracy", "cut": 0, "left_out": 0, "unmeasured": []}
    return {"scores": scores, "chances": [chance] * len(scores), **told}


def test_a_task_stands_beside_its_guess() -> None:
    runs = {
        "pretrained": [result([0, 1, 0, 0], 0.25)] * 2,
        "tuned": [result([1, 1, 0, 0], 0.25), result([1, 1, 1, 1], 0.25)],
    }
    found = benchmarks.task_numbers(runs)
    assert found["random"] == 0.25
    assert found["pretrained"]["normalised"]["mean"] == 0.0
    assert found["tuned"]["score"]["mean"] == 0.75
    assert found["tuned"]["normalised"]["mean"] == pytest.approx(2 / 3)
    assert found["gain"]["mean"] == 0.5
    other = {model: [result([1, 1, 1, 1], 0.5)] * 2 for model in runs}
    averages = benchmarks.average_numbers([runs, other])
    assert averages["pretrained"]["mean"] == pytest.approx((0 + 1) / 2)
    assert averages["tuned"]["mean"] == pytest.approx((2 / 3 + 1) / 2)
    assert averages["gain"]["mean"] == pytest.approx(1 / 3)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    small = {"examples": (2, 4), "asked": 2, "answered": 3, "episodes": 16}
    budget = replace(QUICK_BUDGET, sizes={SHIPPED: None}, **small)
    return Workshop(tmp_path_factory.mktemp("lecture"), budget, seeds=1)


@pytest.mark.parametrize("name", ["flan", "one_task_or_many", "data_and_scale", "benchmarks", "intent"])
def test_a_figure_is_measured_once_and_told(name: str, shop: Workshop, tmp_path: Path, monkeypatch) -> None:
    if name == "benchmarks":
        pytest.importorskip("lm_eval")
    figure = load_figure(name)
    numbers = figure.measure(shop)
    monkeypatch.setattr(instructed, "_tune", lambda *of: pytest.fail("tuned again"))
    monkeypatch.setattr(shop, "remember", lambda key, make: Workshop.remember(shop, key, lambda: pytest.fail(key)))
    assert figure.measure(shop) == numbers
    figure.draw(numbers, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 10_000
    header, rows = figure.table(numbers)
    assert rows
    assert all(len(row) == len(header) for row in rows)
    for language in ("en", "ko"):
        assert "{" not in verdict(figure, numbers, read_words(language))


def test_figures_share_their_models(shop: Workshop) -> None:
    for name in ("flan", "one_task_or_many", "data_and_scale"):
        load_figure(name).measure(shop)
    models = {path.name for path in (shop.folder / "instructed").iterdir()}
    every = len(SEEN)
    of_pairs = {f"{SHIPPED}-{pairs}-pairs-of-{every}-seed0" for pairs in (2, 4)}
    assert models == of_pairs | {f"{SHIPPED}-4-pairs-of-{count}-seed0" for count in (1, 4)}


def test_the_user_s_own_tasks_are_shown_and_marked(shop: Workshop, tmp_path: Path) -> None:
    pytest.importorskip("lm_eval")
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "law_test.csv").write_text("What is it?,1,2,3,4,A\nAnd this?,1,2,3,4,D\n", encoding="utf-8")
    given = Workshop(shop.folder, shop.budget, 1, suites={"mmlu": str(tmp_path), "bigbench": None})
    numbers = load_figure("benchmarks").measure(given)
    assert numbers["tasks"]["mmlu/law (given)"]["n"] == 2
    assert numbers["average"] == load_figure("benchmarks").measure(shop)["average"]  # of our own alone


def test_tasks_that_are_not_scored_are_named_by_reason(shop: Workshop) -> None:
    pytest.importorskip("lm_eval")
    unscored = {"mmlu/a": "no questions", "bigbench/b": "a program", "mmlu/c": "no questions"}
    numbers = load_figure("benchmarks").measure(shop) | {"unscored": unscored}
    last = [row[0] for row in benchmarks.table(numbers)[1][-2:]]
    assert last == ["not scored, no questions: mmlu/a, mmlu/c", "not scored, a program: bigbench/b"]


def test_the_harness_is_missed_at_once_and_only_where_it_is_needed(monkeypatch, tmp_path, capsys) -> None:
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    output = ("--output", str(tmp_path / "out"))
    for asked in ((), ("--figure", "benchmarks")):
        assert main(["lecture", "--quick", *asked, *output]) == 2
        error = capsys.readouterr().err
        assert 'pip install "prefgym[eval]"' in error
        assert error.count("\n") == 1
        assert not (tmp_path / "out").exists()
    assert main(["lecture", "--quick", "--figure", "open_ended", "--seeds", "1", *output]) == 0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--mmlu", "nowhere"], "There is no folder nowhere"),
        (["--figure", "flan", "--bigbench", "nowhere"], "--bigbench is for the figure benchmarks"),
    ],
)
def test_files_are_looked_at_before_anything_is_measured(words, told, tmp_path, capsys) -> None:
    pytest.importorskip("lm_eval")
    assert main(["lecture", "--quick", *words, "--output", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()
