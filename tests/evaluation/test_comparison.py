"""Agents from runs: means and intervals worked by hand on an evaluation with made-up figures."""

import json
import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from prefgym.data.prompts import embedded_prompts
from prefgym.evaluation.policies.candidates import Candidate
from prefgym.evaluation.policies.comparison import CONTROLLED, Run, compare_agents
from prefgym.evaluation.policies.evaluate import evaluate_policies
from prefgym.evaluation.policies.responses import DecodeSettings
from prefgym.evaluation.reports import canvas
from prefgym.evaluation.reports.comparison_report import (
    agent_table,
    comparison_summary,
    gap_table,
    headline,
    write_comparison,
)
from prefgym.evaluation.reports.frontier import frontier
from prefgym.evaluation.win_rate import crossed_interval, t_quantile, win_rate_of

T2, Z = 4.302652729911275, 1.959963984540054
"""The 97.5 % points of Student's distribution with two degrees of freedom and of the normal one, from a table."""


def candidate(gold: list[float], kl: float = 0.0, wins: float = 0.5) -> Candidate:
    n = len(gold)
    made = Candidate([""] * n, np.full(n, 7), np.ones(n, dtype=bool), kl=np.full(n, kl))
    made.scores["gold_score"] = np.array(gold)
    made.outcomes = dict.fromkeys(("win_rate_vs_references", "win_rate_vs_start"), np.full(n, wins))
    return made


@pytest.fixture
def made_up():
    """Runs a0, a1, a2 and b0, b1, b2 of two agents, and a single run c, on two prompts."""
    means = {"a0": 3.0, "a1": 4.0, "a2": 5.0, "b0": 2.5, "b1": 3.0, "b2": 3.5, "c": 6.0}
    made = {name: candidate([mean - 1, mean + 1], mean / 2, 1.0 if name < "b" else 0.5) for name, mean in means.items()}
    made["start"] = candidate([1.0, 3.0])
    return SimpleNamespace(sampled=made, greedy=made)


RUNS = [Run(f"{agent}{seed}", agent, seed, 64, 2.0) for agent in "ab" for seed in range(3)]


def around(mean: float, half: float) -> Any:
    return pytest.approx({"mean": mean, "low": mean - half, "high": mean + half})


def test_several_runs_have_an_interval_over_seeds_and_prompts(made_up):
    """Gold 3, 4, 5 by run: standard error 1/√3. Gold 3, 5 by prompt: √2/√2 = 1, which the gain over start has not."""
    agent = compare_agents(made_up, RUNS)["agents"]["a"]
    assert (agent["runs"], agent["seeds"], agent["episodes"]) == (["a0", "a1", "a2"], [0, 1, 2], 64)
    assert agent["over"] == "seeds and prompts"
    half = T2 / math.sqrt(3)
    for way in ("sampled", "greedy"):
        assert agent[way]["gold_score"] == around(4.0, math.hypot(half, Z))
        assert agent[way]["minus_start"]["gold_score"] == around(2.0, half)
        assert agent[way]["kl"] == around(2.0, half / 2)
        assert agent[way]["win_rate_vs_references"] == around(1.0, 0.0)


def test_rates_stay_within_0_and_1(made_up):
    made_up.sampled["a0"].outcomes["win_rate_vs_references"] = np.array([0.0, 1.0])
    """1/2, 1, 1 by run and 2/3, 1 by prompt: both standard errors are 1/6."""
    rate = compare_agents(made_up, RUNS)["agents"]["a"]["sampled"]["win_rate_vs_references"]
    assert rate == {"mean": pytest.approx(5 / 6), "low": pytest.approx(5 / 6 - math.hypot(T2, Z) / 6), "high": 1.0}


def test_differences_are_paired_by_seed(made_up):
    """Gold of a minus b is 0.5, 1, 1.5 by seed: standard error 1/2/√3; it is the same on both prompts."""
    [pair] = compare_agents(made_up, RUNS)["differences"]
    assert (pair["a"], pair["b"], pair["seeds"], pair["over"]) == ("a", "b", [0, 1, 2], "seeds and prompts")
    assert pair["sampled"]["gold_score"] == around(1.0, T2 / 2 / math.sqrt(3))
    shuffled = compare_agents(made_up, [*RUNS[:3], *RUNS[:2:-1]])["differences"][0]["sampled"]
    assert shuffled["gold_score"] == pytest.approx(pair["sampled"]["gold_score"])


def test_single_runs_are_compared_over_prompts(made_up):
    """c scores 5 and 7, b0 1.5 and 3.5: every difference is 3.5, so the interval has no width."""
    result = compare_agents(made_up, [Run("c", "c", None), Run("b0", "b", 4)])
    figures = result["agents"]["c"]["sampled"]
    assert figures[CONTROLLED] == figures["win_rate_vs_start"]  # all texts have the same length
    assert result["agents"]["c"]["over"] == "prompts"
    assert figures["gold_score"] == around(6.0, Z)
    assert figures["minus_start"]["gold_score"] == around(4.0, 0.0)
    assert figures["win_rate_vs_start"] == win_rate_of([0.5, 0.5])  # Wilson's, as in the run's own figures
    [pair] = result["differences"]
    assert (pair["seeds"], pair["over"]) == ([], "prompts")
    assert pair["sampled"]["gold_score"] == around(3.5, 0.0)


def test_prompts_without_a_text_to_compare_are_left_out(made_up):
    made_up.sampled["c"].outcomes["win_rate_vs_references"] = np.array([np.nan, 1.0])
    figures = compare_agents(made_up, [Run("c", "c", 0)])["agents"]["c"]["sampled"]
    assert figures["win_rate_vs_references"] == win_rate_of([1.0])


def test_agents_without_a_common_seed_have_no_difference(made_up):
    assert compare_agents(made_up, [*RUNS[:3], Run("c", "c", 7)])["differences"] == []
    [one] = compare_agents(made_up, [*RUNS[:3], Run("c", "c", 1)])["differences"]
    assert (one["seeds"], one["over"], one["sampled"]["gold_score"]["mean"]) == ([1], "prompts", -2.0)


def test_students_distribution_against_a_table():
    for df, value in {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 9: 2.262, 30: 2.042, 1000: 1.962}.items():
        assert t_quantile(df) == pytest.approx(value, abs=6e-4)


@pytest.mark.parametrize("runs", [2, 3, 5])
def test_the_interval_covers_what_it_says(runs):
    """Values with a part by run, one by prompt and one by both: the truth, 0, lies inside in at least 95 % of draws."""
    rng = np.random.default_rng(runs)
    inside = 0
    for _ in range(2000):
        values = rng.standard_normal((runs, 1)) * 0.3 + rng.standard_normal(40) + rng.standard_normal((runs, 40))
        found = crossed_interval(values)
        inside += found["low"] < 0 < found["high"]
    assert inside / 2000 > 0.94


@pytest.fixture(scope="module")
def compared(start, trained, count_words):
    """A real evaluation: two agents of two runs each, on posts of the embedded world."""
    other = start.copy()
    evaluation = evaluate_policies(
        {"x 0": trained, "x 1": start.copy(), "y 0": other, "y 1": trained.copy()},
        start,
        embedded_prompts("test", 5),
        preference=count_words,
        settings=DecodeSettings(max_prompt_tokens=400, max_new_tokens=8),
    )
    runs = [Run(f"{agent} {seed}", agent, seed, 64 if agent == "x" else 32) for agent in "xy" for seed in (0, 1)]
    evaluation.metrics.update(compare_agents(evaluation, runs))
    return evaluation


def test_metrics_are_json_and_agree_with_the_runs(compared):
    metrics = compared.metrics
    assert json.loads(json.dumps(metrics, allow_nan=False)) == metrics
    for agent in metrics["agents"].values():
        golds = [metrics["policies"][run]["gold_score"] for run in agent["runs"]]
        assert agent["sampled"]["gold_score"]["mean"] == pytest.approx(np.mean(golds))
    assert metrics["differences"][0]["sampled"]["kl"]["mean"] == pytest.approx(0, abs=1e-5)  # the same two policies


def test_the_report_shows_agents_differences_and_every_run(tmp_path, compared):
    page = write_comparison(tmp_path, compared, "preference_score", title="x and y", config="seed: 0")
    names = {file.name for file in tmp_path.iterdir()}
    assert names == {"frontier.png", "win_rates.png", "samples.jsonl", "report.md", "report.html"}
    text = (tmp_path / "report.md").read_text()
    assert text.startswith("Synthetic data")
    for word in (
        "x − y",
        "over 2 seeds",
        "x 1",
        "other seeds (Student's",
        "not trained for the same number",
        "Training seeds: 0, 1",
    ):
        assert word in text + page.read_text()
    assert page.read_text().count("<img") == 2


def test_tables_have_one_row_an_agent_and_one_a_pair(compared):
    header, rows = agent_table(compared.metrics)
    assert [line[0] for line in rows] == ["start policy", "x", "y"]
    assert header[1:4] == ["runs", "episodes", "training"]
    assert {"vs references", "vs start", "gold", "preference", "KL"} <= set(header)
    header, rows = gap_table(compared.metrics)
    assert [line[:2] for line in rows] == [["x − y", "over 2 seeds"]]
    assert "points" in rows[0][header.index("vs references")]
    assert "x − y" in comparison_summary(compared.metrics)
    assert "Wins against the references" in headline(compared.metrics)


def test_the_frontier_has_a_point_for_every_run_and_agent(tmp_path, compared, monkeypatch):
    figures = []
    save = canvas.save
    monkeypatch.setattr(canvas, "save", lambda figure, path: figures.append(figure) or save(figure, path))
    with Image.open(frontier(compared.metrics, tmp_path / "f.png", "preference_score", "below")) as picture:
        assert min(picture.size) > 200
    left, right = figures[0].axes
    assert [axis.get_title(loc="left").split()[0] for axis in (left, right)] == ["Preference", "Gold"]
    assert left.get_legend_handles_labels()[1] == ["start policy", "x", "y"]
    for axis, key in ((left, "preference_score"), (right, "gold_score")):
        origin = next(line for line in axis.lines if line.get_label() == "start policy")
        assert origin.get_xydata().tolist() == [[0, compared.metrics["policies"]["start"][key]]]
        runs = [line.get_xydata() for line in axis.lines if line.get_markersize() == 5]
        expected = [compared.metrics["policies"][name] for name in ("x 0", "x 1", "y 0", "y 1")]
        points = [[math.sqrt(max(0, figures["kl"])), figures[key]] for figures in expected]
        assert np.concatenate(runs) == pytest.approx(np.array(points))
