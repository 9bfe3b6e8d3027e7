"""The arithmetic of benchmarks, on numbers worked by hand."""

import math

import numpy as np
import pytest

from prefgym.evaluation.benchmarks.scores import (
    Result,
    average,
    benchmark_figures,
    benchmark_metrics,
    by_model,
    gain_figures,
    gain_row,
    paired_interval,
    task_row,
)
from prefgym.evaluation.win_rate import Z


def result(right: int, n: int, chance: float, **others) -> Result:
    return Result(np.repeat([1.0, 0.0], [right, n - right]), np.full(n, chance), **others)


def test_a_row_is_normalised_by_the_chance_of_its_own_questions():
    row = task_row(Result(np.array([1.0, 1, 1, 0]), np.array([0.5, 0.25, 0.25, 0.2])))
    assert row["random"] == pytest.approx(0.3)
    assert row["score"] == 0.75
    assert row["normalised"] == pytest.approx(0.45 / 0.7)
    assert row["low"] < 0.75 < row["high"]
    assert row["normalised_low"] == pytest.approx((row["low"] - 0.3) / 0.7)
    assert row["normalised_high"] == pytest.approx((row["high"] - 0.3) / 0.7)
    assert row["n"] == 4


def test_a_guess_is_0_an_oracle_1_and_worse_than_guessing_is_below():
    assert task_row(result(25, 100, 0.25))["normalised"] == 0
    assert task_row(result(100, 100, 0.25))["normalised"] == 1
    assert task_row(result(0, 100, 0.5))["normalised"] == -1


def test_averages_give_each_task_the_same_weight():
    rows = [task_row(result(90, 100, 0.5)), task_row(result(2, 10, 0.0))]
    row = average(rows)
    assert row["score"] == pytest.approx((0.9 + 0.2) / 2)
    assert row["random"] == pytest.approx(0.25)
    assert row["normalised"] == pytest.approx((0.8 + 0.2) / 2)
    above = [one["high"] - one["score"] for one in rows]
    assert row["high"] - row["score"] == pytest.approx(math.sqrt(above[0] ** 2 + above[1] ** 2) / 2)
    assert row["normalised_high"] - row["normalised"] == pytest.approx(math.hypot(above[0] / 0.5, above[1]) / 2)
    below = [one["score"] - one["low"] for one in rows]
    assert row["score"] - row["low"] == pytest.approx(math.hypot(*below) / 2)
    assert (row["n"], row["tasks"]) == (110, 2)


def test_the_bounds_of_an_average_stay_between_0_and_1():
    for right in (0, 5):
        row = average([task_row(result(right, 5, 0.0))] * 3)
        assert 0 <= row["low"] <= row["score"] <= row["high"] <= 1


def test_suites_are_averaged_apart_and_then_together():
    scores = {"mmlu/a": 0.5, "mmlu/b": 0.7, "bbh/c": 0.2}
    found = benchmark_figures({name: result(round(10 * score), 10, 0.0) for name, score in scores.items()})
    assert found["suites"]["mmlu"]["score"] == pytest.approx(0.6)
    assert found["suites"]["bbh"]["score"] == pytest.approx(0.2)
    assert found["average"]["score"] == pytest.approx(1.4 / 3)
    assert found["average_of_suites"]["score"] == pytest.approx(0.4)
    assert found["average_of_suites"]["tasks"] == 3
    alone = benchmark_figures({"mmlu/a": result(5, 10, 0.0)})
    assert "average_of_suites" not in alone
    assert alone["tasks"].keys() == {"mmlu/a"}


def test_what_is_asked_again_in_the_cloze_form_has_an_average_of_its_own():
    scores = {"mmlu/a": 0.5, "mmlu (cloze)/a": 0.9, "bbh/b": 0.1, "bbh (cloze)/b": 0.7}
    rows = {name: result(round(10 * score), 10, 0.0) for name, score in scores.items()}
    found = benchmark_figures(rows)
    assert found["average"]["score"] == pytest.approx(0.3)
    assert found["average_of_suites"]["score"] == pytest.approx(0.3)
    assert found["average_cloze"]["score"] == pytest.approx(0.8)
    assert {suite: row["score"] for suite, row in found["suites"].items()} == pytest.approx(
        {"mmlu": 0.5, "mmlu (cloze)": 0.9, "bbh": 0.1, "bbh (cloze)": 0.7}
    )
    gains = gain_figures(rows, {name: result(10, 10, 0.0) for name in rows})
    assert gains["average_cloze"]["gain"] == pytest.approx(0.2)
    alone = benchmark_figures({name: row for name, row in rows.items() if name != "bbh/b" and name != "mmlu/a"})
    assert alone["average"]["score"] == pytest.approx(0.8)
    assert "average_cloze" not in alone


def test_the_interval_of_an_average_holds_it_as_often_as_it_says():
    """Five tasks with known rates; Wilson's intervals err on the wide side near 0 and 1."""
    rng = np.random.default_rng(0)
    rates, n, held = np.array([0.2, 0.4, 0.5, 0.7, 0.9]), 80, 0
    for _ in range(600):
        rows = [task_row(Result((rng.random(n) < rate).astype(float), np.full(n, 0.25))) for rate in rates]
        row = average(rows)
        truth = float(((rates - 0.25) / 0.75).mean())
        held += row["normalised_low"] <= truth <= row["normalised_high"]
    assert 0.93 < held / 600 < 0.985


def test_a_gain_is_paired_by_question():
    before = Result(np.array([1.0, 0, 0, 0]), np.full(4, 0.2))
    after = Result(np.array([1.0, 1, 1, 0]), np.full(4, 0.2))
    row = gain_row(before, after)
    assert (row["before"], row["after"], row["gain"]) == (0.25, 0.75, 0.5)
    assert row["normalised_gain"] == pytest.approx(0.625)
    centre, spread = 2 / 6, math.sqrt(3 - 4 / 6) / 6  # n* = 6, Σd = 2, Σd² + 1 = 3
    assert row["low"] == pytest.approx(centre - Z * spread)
    assert row["high"] == pytest.approx(centre + Z * spread)
    assert row["normalised_low"] == pytest.approx(row["low"] / 0.8)


def test_gains_are_averaged_as_the_scores_are():
    before = {"a/x": result(2, 10, 0.0), "b/y": result(5, 10, 0.5)}
    after = {"a/x": result(4, 10, 0.0), "b/y": result(9, 10, 0.5)}
    found = gain_figures(before, after)
    assert found["average"]["gain"] == pytest.approx(0.3)
    assert found["average"]["normalised_gain"] == pytest.approx((0.2 + 0.8) / 2)
    above = [row["normalised_high"] - row["normalised_gain"] for row in found["tasks"].values()]
    width = found["average"]["normalised_high"] - found["average"]["normalised_gain"]
    assert width == pytest.approx(math.hypot(*above) / 2)
    scores = [benchmark_figures(results)["average"]["normalised"] for results in (before, after)]
    assert found["average"]["normalised_gain"] == pytest.approx(scores[1] - scores[0])


@pytest.mark.parametrize(("win", "loss"), [(0.1, 0.1), (0.3, 0.1), (0.02, 0.0)])
def test_the_paired_interval_holds_the_gain_as_often_as_it_says(win, loss):
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(800):
        found = paired_interval(rng.choice([1.0, -1.0, 0.0], size=60, p=[win, loss, 1 - win - loss]))
        held += found["low"] <= win - loss <= found["high"]
    assert held / 800 > 0.93


def test_the_paired_interval_has_a_width_where_all_are_equal():
    for value in (-1.0, 0.0, 1.0):
        found = paired_interval([value] * 20)
        assert found["mean"] == value
        assert -1 <= found["low"] <= value <= found["high"] <= 1
        assert found["high"] - found["low"] > 0.05


def test_one_model_keeps_the_flat_format_and_several_are_nested():
    results = {"a/x": result(2, 10, 0.5)}
    facts = {name: {"name": name} for name in ("one", "two")}
    alone = benchmark_metrics({"one": results}, facts)
    assert {"score", "random", "normalised", "low", "high", "n"} <= alone["tasks"]["a/x"].keys()
    assert {"tasks", "average", "suites", "model"} == alone.keys()
    both = benchmark_metrics({"one": results, "two": {"a/x": result(7, 10, 0.5)}}, facts)
    assert both.keys() == {"models", "gains"}
    assert both["models"]["one"] == alone
    assert both["gains"].keys() == {"two"}
    assert both["gains"]["two"]["tasks"]["a/x"]["gain"] == pytest.approx(0.5)
    assert by_model(alone) == {"one": alone}
    assert by_model(both) == both["models"]
