"""The figures of the lecture on preference models and human labels: what they compute, checked by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from prefgym.cli import main
from prefgym.data import pairs, prompts
from prefgym.data.comparisons import Comparison
from prefgym.lecture import load_figure, proxies
from prefgym.lecture.budget import QUICK_BUDGET
from prefgym.lecture.figures import less_human_data as less
from prefgym.lecture.figures import over_optimisation, pairwise_or_ratings, reward_models
from prefgym.lecture.workshop import WATCH_EVERY, Workshop, _Watch
from prefgym.models.language_model import LanguageModel

LABELS = (100, 400, 1600)


def around(mean: float, half: float = 0.1) -> dict[str, float]:
    return {"mean": mean, "low": mean - half, "high": mean + half}


def test_labels_needed_lie_between_two_numbers_in_their_logarithm() -> None:
    assert less.needed(LABELS, [0.0, 1.0, 2.0], 0.5) == pytest.approx(200.0)
    assert less.needed(LABELS, [0.0, 1.0, 2.0], 1.0) == pytest.approx(400.0)
    assert less.needed(LABELS, [0.6, 1.0, 2.0], 0.5) == 100.0
    assert less.needed(LABELS, [0.0, 1.0, 0.2], 0.5) == pytest.approx(200.0)
    assert less.needed(LABELS, [0.0, 0.1, 0.2], 0.5) is None


def test_labels_of_several_seeds_have_a_geometric_mean_or_none() -> None:
    found = less.over_seeds([100.0, 400.0])
    assert found is not None
    assert found["mean"] == pytest.approx(200.0)
    # s of the logarithms is ln 4 / √2, so the half is 12.706 · (ln 4 / √2) / √2
    assert math.log(found["high"] / found["mean"]) == pytest.approx(12.706 * math.log(4) / 2, rel=1e-3)
    assert less.over_seeds([100.0, None]) is None


def labels_numbers(ai: dict[str, float], needed: dict[str, list[float | None]]) -> dict[str, Any]:
    gains = zip(LABELS, (0.2, 0.6, 1.0), strict=True)
    rows = [{"n": n, "gain": around(gain), "seeds": [gain] * 2} for n, gain in gains]
    ways = {"rlhf": rows, "own": rows}
    return {"ways": ways, "ai": {"gain": ai}, "annotator": 5000, "wanted": 0.9, "needed": needed}


@pytest.mark.parametrize(("gain", "agrees"), [(1.1, True), (0.7, False), (0.9, None)])
def test_ai_feedback_agrees_where_its_interval_is_above_the_gold_asked_for(gain: float, agrees: bool | None) -> None:
    numbers = labels_numbers(around(gain), {"rlhf": [200.0, 200.0], "own": [None, 300.0]})
    found = less.finding(numbers)
    assert found.agrees is agrees
    assert (found.values["rlhf"], found.values["rlhf_seeds"]) == ("200 [200, 200]", "2")
    assert (found.values["own"], found.values["own_seeds"]) == ("–", "1")
    rows = less.table(numbers)[1]
    assert [row[-1] for row in rows[-2:]] == ["200 [200, 200]", "never in 1 of 2 seeds"]


def test_where_human_labels_gain_nothing_there_is_nothing_to_reach(tmp_path: Path) -> None:
    numbers = labels_numbers(around(0.5), {"rlhf": [None], "own": [None]}) | {"wanted": -0.1}
    assert less.finding(numbers).agrees is None
    assert less.table(numbers)[1][-1][-1] == "never"
    less.draw(numbers, tmp_path / "labels.png")
    assert (tmp_path / "labels.png").stat().st_size > 10_000


def study(gain: float, error: float, larger: float = 0.02) -> dict[str, Any]:
    point = {"n": 500, "accuracy": around(0.7, 0.01), "ece_before": 0.09, "ece_after": error}
    last = {"by_annotator": {"3": 0.8, "1": 0.6, "2": 0.7}, "by_length": [{"from": -9, "to": -4, "accuracy": 0.66}]}
    model = {"points": [point, {**point, **last, "n": 1000}], "gain": around(gain, 0.01)}
    people = {"ceiling": 0.87, "agreement": 0.75, "longer": 0.6}
    return {"people": people, "larger": around(larger, 0.01), "models": {"small": model, "large": model}}


@pytest.mark.parametrize(
    ("gain", "error", "larger", "agrees"),
    [
        (0.05, 0.03, 0.02, True),
        (0.05, 0.06, 0.02, False),
        (-0.05, 0.03, 0.02, False),
        (0.005, 0.03, 0.02, None),
        (0.05, 0.03, 0.005, None),
        (0.05, 0.03, -0.02, False),
    ],
)
def test_reward_models_agree_where_accuracy_rises_with_data_and_size_and_all_are_calibrated(
    gain: float, error: float, larger: float, agrees: bool | None
) -> None:
    assert reward_models.finding(study(gain, error, larger)).agrees is agrees


def test_the_table_of_reward_models_ends_with_where_labels_differ() -> None:
    rows = reward_models.table(study(0.1, 0.03))[1]
    assert rows[3] == ["large", "1,000", "70 % [69, 71]", "9.0 %", "3.0 %"]
    assert rows[4][0] == "best possible"
    assert rows[7:] == [
        ["large, chosen text 4 to 9 words shorter", "1,000", "66 %", "", ""],
        ["large, lowest of 3 annotators", "1,000", "60 %", "", ""],
        ["large, median of 3 annotators", "1,000", "70 %", "", ""],
        ["large, highest of 3 annotators", "1,000", "80 %", "", ""],
    ]


@pytest.mark.parametrize(("leads", "agrees"), [((0.2, 0.3), True), ((0.05, 0.3), None), ((-0.2, 0.3), False)])
def test_comparisons_beat_ratings_where_every_interval_says_so(leads: tuple[float, ...], agrees: bool | None) -> None:
    points = [{"texts": 80, "accuracy": around(0.7), "lead": around(lead)} for lead in leads]
    numbers = {"ways": dict.fromkeys(("comparisons", "ratings", "ratings_by_person", "ratings_one_scale"), points)}
    found = pairwise_or_ratings.finding(numbers)
    assert found.agrees is agrees
    assert found.values["lead"] == "+30.0 [+20.0, +40.0]"


def test_ai_labels_take_no_notice_of_what_people_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def longer(prompts: list[str], first: list[str], second: list[str]) -> np.ndarray:
        return np.array([float(len(a) > len(b)) for a, b in zip(first, second, strict=True)])

    monkeypatch.setattr(proxies, "load_annotator", lambda name: longer)
    votes = [Comparison("p", " a long text", " b"), Comparison("p", " b", " a long text")]
    made = proxies.relabelled(votes, "embedded")
    assert [(c.chosen, c.rejected, c.annotator) for c in made] == [(" a long text", " b", "ai")] * 2


def test_posts_of_proxies_are_behind_those_of_every_other_stage() -> None:
    first, count = prompts._EMBEDDED["train"]
    assert proxies.POSTS_FROM >= first + pairs._POSTS_FROM + 1_000_000 > first + count
    assert QUICK_BUDGET.proxies[-1] < proxies.POSTS_OF_A_SEED


def test_a_lecture_that_fails_keeps_what_was_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def measure(shop: Workshop) -> Any:
        shop.remember("half", lambda: {"value": 1})
        raise KeyboardInterrupt

    figure = replace(load_figure("open_ended"), measure=measure)
    monkeypatch.setattr("prefgym.lecture.load_figure", lambda name: figure)
    main(["lecture", "--quick", "--figure", "open_ended", "--output", str(tmp_path / "out")])
    assert (tmp_path / "out" / "measured" / "half.json").is_file()


def test_a_watch_writes_down_texts_every_few_iterations(tmp_path: Path) -> None:
    posts = Workshop(tmp_path, replace(QUICK_BUDGET, posts=2), seeds=1).posts()
    policy = SimpleNamespace(language_model=LanguageModel.load("embedded/start"))
    watch = _Watch(posts)
    for iteration in range(1, WATCH_EVERY + 2):
        watch(SimpleNamespace(iteration=iteration, policy=policy), {})
    assert list(watch.seen) == [WATCH_EVERY]
    assert len(watch.seen[WATCH_EVERY]["texts"]) == 2


def over(turned: tuple[bool, ...]) -> dict[str, Any]:
    def curve(falls: bool) -> dict[str, Any]:
        peak = {"kl": 1.0, "gold": 2.0, "gold_at_end": 1.0, "proxy_rose": True, "turned": falls, "way": 0.5}
        fits = {name: {"alpha": 1.0, "beta": 0.1, "r2": r2} for name, r2 in (("fit", 0.9), ("fit_free", 0.96))}
        return {"kl": [0.0, 1.0, 4.0], "gold": [0.0, 2.0, 1.0], "proxy": [0.0, 1.0, 3.0], **fits, "peak": peak}

    runs = {"rl": [curve(falls) for falls in turned], "bon": [curve(False) for _ in turned]}
    pair = {"kl": 4.0, "single": 1.0, "ensemble": 0.5}
    held = {"0.1": [{"kl": 2.0, "proxy": 1.0, "gold": 1.5}] * 2, "0.5": [{"kl": 1.0, "proxy": 0.5, "gold": 1.0}] * 2}
    texts = [{"policy": "post", "text": "My dog.", "post": 0}, {"policy": "at the end", "text": "Dog.", "post": 0}]
    texts[1] |= {"kl": 4.0, "proxy": 3.0, "gold": 1.0}
    names = [f"proxy {i}" for i in range(len(over_optimisation.COLOURS) - 1)]  # as many as in the quick form
    return {"curves": dict.fromkeys(names, runs), "held": held, "texts": texts, "ensemble": [pair, pair]}


def test_over_optimisation_agrees_where_gold_turned_over_in_every_seed(tmp_path: Path) -> None:
    found = over_optimisation.finding(over((True, True)))
    assert found.agrees is True
    assert (found.values["turned"], found.values["halved"], found.values["held"]) == ("2", "2", "1.50, 1.00")
    assert (found.values["well"], found.values["well_free"], found.values["runs"]) == ("0", "10", "10")
    assert over_optimisation.finding(over((True, False))).agrees is False
    over_optimisation.draw(over((True, True)), tmp_path / "over.png")
    assert (tmp_path / "over.png").stat().st_size > 10_000


def test_prices_and_texts_stand_in_the_tables_of_over_optimisation() -> None:
    assert over_optimisation.table(over((True, True)))[1][-1][1:] == ["RL, β = 0.5", "", "", "1.00", "1.00", ""]
    assert over_optimisation.samples(over((True, True)))[1] == [
        ["post", "My dog.", "", "", ""],
        ["at the end", "Dog.", "4.00", "3.00", "1.00"],
    ]
