"""The report and the tables of the terminal."""

import copy
import dataclasses
import json
import re

import pytest

from prefgym.evaluation.reports.run_report import headline, notice, write_report
from prefgym.evaluation.reports.tables import figure_table, sample_block, summary_table, training_table

HISTORY = [{"episodes": 8 * (i + 1), "objective/scores": 0.1 * i, "objective/kl": 0.2 * i} for i in range(5)]


@pytest.fixture
def folder(tmp_path, evaluation):
    write_report(
        tmp_path / "run",
        evaluation,
        HISTORY,
        title="PPO on five posts",
        kl_coef=0.05,
        weights={"words_of": 0.5},
        config="seed: 0\nnote: <b>",
    )
    return tmp_path / "run"


def test_everything_is_written_and_nothing_else(folder):
    assert sorted(file.name for file in folder.iterdir()) == [
        "learning_curves.png",
        "report.html",
        "report.md",
        "samples.jsonl",
        "score_against_kl.png",
        "win_rates.png",
    ]


def test_the_first_line_says_what_was_measured_and_what_the_model_cannot_do(folder, evaluation):
    first = (folder / "report.md").read_text().splitlines()[0]
    for part in ("Data given by the user", "5 prompts", "M parameters", "vocabulary 3", "seed 0", "cannot"):
        assert part in first
    assert first == notice(evaluation.metrics)


def test_synthetic_data_is_called_so(evaluation):
    metrics = copy.deepcopy(evaluation.metrics)
    metrics["data"] = {"name": "embedded world (test)", "synthetic": True}
    assert notice(metrics).startswith("Synthetic data: embedded world (test)")


def test_the_embedded_model_on_real_text_is_called_unusable(evaluation):
    metrics = copy.deepcopy(evaluation.metrics)
    metrics["model"]["name"] = "embedded/start"
    assert "only read synthetic posts" in notice(metrics)
    assert "only read synthetic posts" not in notice(evaluation.metrics)


def test_a_large_model_gets_another_warning(evaluation):
    metrics = copy.deepcopy(evaluation.metrics)
    metrics["model"]["parameters"] = 1_500_000_000
    assert "1,500 M" in notice(metrics)
    assert "A model this small" not in notice(metrics)


def test_the_headline_gives_the_rates_in_percent(evaluation):
    metrics = copy.deepcopy(evaluation.metrics)
    metrics |= {"episodes": 2048, "seconds": 90.0}
    metrics["policies"]["trained"]["win_rate_vs_references"] = {"mean": 0.71, "low": 0.67, "high": 0.75}
    text = headline(metrics)
    assert "71 % [67, 75]" in text
    assert "2,048 episodes in 1.5 minutes" in text


def test_html_needs_no_other_file(folder):
    page = (folder / "report.html").read_text()
    assert page.count("<img ") == 3
    assert all(source.startswith("data:image/png;base64,") for source in re.findall(r'src="([^"]*)', page))
    assert "http" not in page
    assert 'class="token"' in page
    assert "note: &lt;b&gt;" in page


def test_samples_hold_every_text(folder, evaluation, prompts):
    rows = [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()]
    assert [row["prompt"] for row in rows] == [row["prompt"] for row in prompts]
    assert rows[2]["sampled"]["references"] == prompts[2]["reference"]
    assert rows[1]["greedy"]["trained"] == evaluation.greedy["trained"].texts[1].strip()


def test_token_rewards_add_up_to_the_weighted_score(folder, evaluation):
    text = (folder / "report.md").read_text()
    candidate = evaluation.sampled["trained"]
    paid = 0.5 * candidate.scores["words_of"][0] - (not candidate.responses.ended[0])
    total = paid - 0.05 * candidate.kl[0]
    assert f"Prompt 1: score {paid:+.2f}" in text
    assert f"is a reward of {total:+.2f}." in text


def test_without_beta_and_history_the_report_leaves_those_parts_out(tmp_path, evaluation):
    write_report(tmp_path, evaluation)
    text = (tmp_path / "report.md").read_text()
    assert "Rewards by token" not in text
    assert not (tmp_path / "learning_curves.png").exists()


def test_parts_of_the_reward_stand_side_by_side_over_training(tmp_path, evaluation):
    assert training_table(HISTORY) == ([], [])
    history = [row | {"objective/score_a": i, "objective/score_gold": -i} for i, row in enumerate(HISTORY)]
    header, rows = training_table(history, lines=2)
    assert header == ["episodes", "a", "gold", "KL"]
    assert rows == [["24", "1.00", "-1.00", "0.20"], ["40", "3.50", "-3.50", "0.70"]]
    write_report(tmp_path, evaluation, history)
    assert "Parts of the reward over training" in (tmp_path / "report.md").read_text()


def test_hostile_text_is_escaped(tmp_path, evaluation):
    attack = "<script>alert(1)</script>"
    first, *others = evaluation.prompts
    prompts = [dataclasses.replace(first, row={**first.row, "prompt": attack}), *others]
    candidate = evaluation.sampled["trained"]
    sampled = {**evaluation.sampled, "trained": dataclasses.replace(candidate, texts=[attack, *candidate.texts[1:]])}
    write_report(tmp_path, dataclasses.replace(evaluation, prompts=prompts, sampled=sampled), title=attack)
    page = (tmp_path / "report.html").read_text()
    assert "<script" not in page
    assert page.count("&lt;script&gt;alert(1)") >= 4  # page title, heading, prompt, text


def test_the_summary_is_aligned_and_in_percent(evaluation):
    text = summary_table(evaluation.metrics)
    table = text.split("\n\n")[2].splitlines()
    assert len(table) == 1 + len(evaluation.metrics["policies"])
    ends = [match.end() for match in re.finditer(r"\S+(?: \S+)*", table[0])]
    assert all(len(line) <= ends[-1] for line in table)
    rate = evaluation.metrics["policies"]["trained"]["win_rate_vs_references"]
    assert f"{100 * rate['mean']:.0f} % [{100 * rate['low']:.0f}, {100 * rate['high']:.0f}]" in text
    assert "greedy" in text
    assert "gold" not in table[0]  # nobody has one


def test_columns_that_nobody_has_are_left_out(evaluation):
    header, rows = figure_table(evaluation.metrics["policies"])
    assert "invented" not in header
    assert "words_of" in header
    assert all(len(row) == len(header) for row in rows)


def test_a_sample_shows_post_reference_start_and_trained(evaluation, prompts):
    text = sample_block(evaluation, 1)
    positions = [
        text.index(part) for part in ("post\n", prompts[1]["prompt"], "reference (", "start policy (", "trained")
    ]
    assert positions == sorted(positions)
    assert prompts[1]["reference"] in text
    assert max(len(line) for line in text.splitlines()) <= 96
