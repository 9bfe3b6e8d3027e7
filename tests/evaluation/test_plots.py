"""Pictures are drawn, with what there is to draw."""

import copy
import math

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from prefgym.evaluation.reports import canvas, plots

KEYS = [curve.key for curve in plots.CURVES]
HISTORY = [{"episodes": 64 * (i + 1), **{key: math.sin(i) for key in KEYS}} for i in range(20)]


@pytest.fixture
def drawn(monkeypatch) -> list[Figure]:
    """The figures that were drawn, for looking at their axes."""
    figures: list[Figure] = []
    save = canvas.save

    def keep(figure, path):
        figures.append(figure)
        return save(figure, path)

    monkeypatch.setattr(canvas, "save", keep)
    return figures


def shown(figure: Figure) -> list[str]:
    return [axis.get_title(loc="left") for axis in figure.axes if axis.get_visible()]


def assert_png(path) -> None:
    with Image.open(path) as picture:
        picture.load()
        assert picture.format == "PNG"
        assert min(picture.size) > 200
        assert len(picture.convert("L").getcolors()) > 10  # not a blank page
    assert [file.name for file in path.parent.iterdir()] == [path.name]  # no temporary file stays


def test_learning_curves_have_titles_and_units(tmp_path, drawn):
    assert_png(plots.learning_curves(HISTORY, tmp_path / "curves.png", subtitle="data"))
    assert shown(drawn[0]) == [curve.title for curve in plots.CURVES]
    assert [axis.get_ylabel() for axis in drawn[0].axes] == [curve.unit for curve in plots.CURVES]
    assert {axis.get_xlabel() for axis in drawn[0].axes} == {"episodes"}


def test_a_scalar_that_is_not_there_leaves_no_panel(tmp_path, drawn):
    history = [{key: value for key, value in row.items() if key != "train/value_loss"} for row in HISTORY]
    plots.learning_curves(history, tmp_path / "curves.png")
    assert "Value loss" not in shown(drawn[0])
    assert len(shown(drawn[0])) == len(plots.CURVES) - 1


@pytest.mark.parametrize("rows", [0, 1])
def test_short_histories_can_be_drawn(tmp_path, rows):
    assert_png(plots.learning_curves(HISTORY[:rows] or [{"episodes": 1, KEYS[0]: 0.0}], tmp_path / "curves.png"))


def test_the_parts_of_a_reward_stand_beside_the_score(tmp_path, drawn):
    both = {"objective/score_preference": 1.0, "objective/score_gold": 2.0}
    plots.learning_curves([{**row, **both} for row in HISTORY], tmp_path / "curves.png")
    assert shown(drawn[0])[:3] == ["Score", "Score: preference", "Score: gold"]
    plots.learning_curves(
        [{**row, "objective/score_fit": 1.0, plots.PENALTY: 0.0} for row in HISTORY], tmp_path / "one.png"
    )
    assert shown(drawn[1]) == [curve.title for curve in plots.CURVES]  # a single part is the score itself


def test_moving_average_by_hand():
    np.testing.assert_allclose(plots.moving_average(np.array([1.0, 2.0, 6.0, 7.0])), [1.5, 3, 5, 6.5])


def test_scores_stand_over_the_root_of_kl(tmp_path, drawn, evaluation):
    metrics = copy.deepcopy(evaluation.metrics)
    metrics["policies"]["trained"]["kl"] = 9.0
    assert_png(plots.score_against_kl(metrics, HISTORY, tmp_path / "kl.png", "words_of"))
    (axis,) = drawn[0].axes  # no gold: one panel
    ticks = {text.get_text(): place for text, place in zip(axis.get_xticklabels(), axis.get_xticks(), strict=True)}
    assert all(place == pytest.approx(math.sqrt(float(text))) for text, place in ticks.items())
    places = [annotation.xy for annotation in axis.texts]
    assert (3.0, metrics["policies"]["trained"]["words_of"]) in places
    assert (0.0, metrics["policies"]["start"]["words_of"]) in places
    assert "nats" in axis.get_xlabel()


def test_gold_has_a_panel_of_its_own(tmp_path, drawn, evaluation):
    metrics = copy.deepcopy(evaluation.metrics)
    for figures in metrics["policies"].values():
        figures["gold_score"] = 1.0
    plots.score_against_kl(metrics, [], tmp_path / "kl.png", "words_of")
    assert shown(drawn[0]) == ["words_of", "Gold score: what is true"]


def test_win_rates_draw_every_candidate(tmp_path, drawn, evaluation):
    assert_png(plots.win_rates(evaluation.metrics, tmp_path / "rates.png"))
    first, second, third, fourth = drawn[0].axes
    policies = evaluation.metrics["policies"]
    names = [text.get_text() for text in first.get_yticklabels()]
    assert len(names) == len(policies)
    assert names[-1] == "start policy"
    widths = {round(bar.get_width(), 6) for bar in third.patches}
    rates = [figures["win_rate_vs_start"] for name, figures in policies.items() if name != "start"]
    assert widths == {round(rate["mean"], 6) for rate in rates if rate["low"] < rate["high"]}
    assert "references" in second.get_title(loc="left")
    assert "equal length" in fourth.get_title(loc="left")


def test_win_rates_without_references(tmp_path, drawn, evaluation):
    metrics = copy.deepcopy(evaluation.metrics)
    for figures in [*metrics["policies"].values(), *metrics["greedy"].values()]:
        figures["win_rate_vs_references"] = None
    plots.win_rates(metrics, tmp_path / "rates.png")
    assert shown(drawn[0]) == ["Against the start policy", "Against the start policy, at equal length"]
