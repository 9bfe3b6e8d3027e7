"""Agents from runs: means and intervals worked by hand on an evaluation with made-up figures."""

import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from prefgym.data.prompts import embedded_prompts
from prefgym.evaluation import canvas
from prefgym.evaluation.candidates import Candidate
from prefgym.evaluation.comparison import Run, compare_agents
from prefgym.evaluation.comparison_report import agent_table, comparison_summary, gap_table, headline, write_comparison
from prefgym.evaluation.decode import DecodeSettings
from prefgym.evaluation.evaluate import evaluate_policies
from prefgym.evaluation.frontier import frontier
from prefgym.evaluation.win_rate import t_interval, t_quantile

T2 = 4.302652729911275
"""The 97.5 % point of Student's distribution with two degrees of freedom, from a table."""


def candidate(gold: list[float], kl: float) -> Candidate:
    n = len(gold)
    scores = {"gold_score": np.array(gold)}
    return Candidate([""] * n, np.full(n, 7), np.ones(n, dtype=bool), kl=np.full(n, kl), scores=scores)


def row(made: Candidate, start: Candidate, rate: float) -> dict:
    gain = made.scores["gold_score"] - start.scores["gold_score"]
    wins = {"mean": rate, "low": rate - 0.1, "high": min(1.0, rate + 0.1)}
    return {
        "gold_score": float(made.scores["gold_score"].mean()),
        "kl": float(np.mean(made.kl)),
        "length": 7.0,
        "win_rate_vs_references": wins,
        "win_rate_vs_start": wins,
        "win_rate_length_controlled": wins,
        "minus_start": {"gold_score": {"mean": float(gain.mean()), "low": -1.0, "high": 9.0}},
    }


@pytest.fixture
def made_up():
    """Runs a0, a1, a2 and b0, b1, b2 of two agents, and a single run c, on two prompts."""
    start = candidate([1.0, 3.0], 0.0)
    gold = {"a0": 3.0, "a1": 4.0, "a2": 5.0, "b0": 2.5, "b1": 3.0, "b2": 3.5, "c": 6.0}
    sampled = {name: candidate([mean - 1, mean + 1], mean / 2) for name, mean in gold.items()}
    rates = {"a0": 0.9, "a1": 1.0, "a2": 1.0, "b0": 0.6, "b1": 0.6, "b2": 0.6, "c": 0.5}
    figures = {"start": row(start, start, 0.5)} | {n: row(made, start, rates[n]) for n, made in sampled.items()}
    sampled["start"] = start
    return SimpleNamespace(metrics={"policies": figures, "greedy": figures}, sampled=sampled, greedy=sampled)


RUNS = [Run(f"{agent}{seed}", agent, seed, 64, 2.0) for agent in "ab" for seed in range(3)]


def test_several_runs_have_students_interval_over_seeds(made_up):
    """Gold 3, 4, 5: mean 4, standard deviation 1, half-width t / √3; rates stay within 0-1."""
    agent = compare_agents(made_up, RUNS)["agents"]["a"]
    assert (agent["runs"], agent["seeds"], agent["episodes"], agent["over"]) == (
        ["a0", "a1", "a2"],
        [0, 1, 2],
        64,
        "seeds",
    )
    half = T2 / math.sqrt(3)
    for way in ("sampled", "greedy"):
        assert agent[way]["gold_score"] == pytest.approx({"mean": 4.0, "low": 4 - half, "high": 4 + half})
        assert agent[way]["kl"] == pytest.approx({"mean": 2.0, "low": 2 - half / 2, "high": 2 + half / 2})
    gain = agent["sampled"]["minus_start"]["gold_score"]
    assert gain == pytest.approx({"mean": 2.0, "low": 2 - half, "high": 2 + half})
    rate = agent["sampled"]["win_rate_vs_references"]
    assert rate["mean"] == pytest.approx(2.9 / 3)
    assert rate["high"] == 1.0


def test_differences_are_paired_by_seed(made_up):
    """Gold of a minus b: 0.5, 1, 1.5 by seed; mean 1, standard deviation 1/2."""
    [pair] = compare_agents(made_up, RUNS)["differences"]
    assert (pair["a"], pair["b"], pair["seeds"], pair["over"]) == ("a", "b", [0, 1, 2], "seeds")
    half = T2 / 2 / math.sqrt(3)
    assert pair["sampled"]["gold_score"] == pytest.approx({"mean": 1.0, "low": 1 - half, "high": 1 + half})
    shuffled = compare_agents(made_up, [*RUNS[:3], *RUNS[:2:-1]])["differences"][0]["sampled"]
    assert shuffled["gold_score"] == pytest.approx(pair["sampled"]["gold_score"])


def test_single_runs_are_compared_over_prompts(made_up):
    """c scores 5 and 7, b0 1.5 and 3.5: every difference is 3.5, so the interval has no width."""
    result = compare_agents(made_up, [Run("c", "c", None), Run("b0", "b", 4)])
    assert result["agents"]["c"]["over"] == "prompts"
    assert result["agents"]["c"]["sampled"]["gold_score"]["mean"] == 6
    assert result["agents"]["c"]["sampled"]["win_rate_vs_start"] == {"mean": 0.5, "low": 0.4, "high": 0.6}
    assert result["agents"]["c"]["sampled"]["minus_start"]["gold_score"] == {"mean": 4.0, "low": -1.0, "high": 9.0}
    [pair] = result["differences"]
    assert (pair["seeds"], pair["over"]) == ([], "prompts")
    assert pair["sampled"]["gold_score"] == {"mean": 3.5, "low": 3.5, "high": 3.5}


def test_agents_without_a_common_seed_have_no_difference(made_up):
    assert compare_agents(made_up, [*RUNS[:3], Run("c", "c", 7)])["differences"] == []
    [one] = compare_agents(made_up, [*RUNS[:3], Run("c", "c", 1)])["differences"]
    assert (one["seeds"], one["over"], one["sampled"]["gold_score"]["mean"]) == ([1], "prompts", -2.0)


def test_students_interval_against_a_table():
    for df, value in {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 9: 2.262, 30: 2.042, 1000: 1.962}.items():
        assert t_quantile(df) == pytest.approx(value, abs=6e-4)
    assert t_interval([2.0]) == {"mean": 2.0, "low": 2.0, "high": 2.0}


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
    for word in ("x − y", "over 2 seeds", "x 1", "Student", "not trained for the same number", "Training seeds: 0, 1"):
        assert word in text + page.read_text()
    assert page.read_text().count("<img") == 2


def test_tables_have_one_row_an_agent_and_one_a_pair(compared):
    header, rows = agent_table(compared.metrics)
    assert [line[0] for line in rows] == ["x", "y"]
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
