"""What a run leaves to look at."""

import json
from pathlib import Path

import gymnasium as gym
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from prefgym.agents import PPO
from prefgym.agents.monitor import describe, shown

SCALARS = {
    "objective/kl",
    "objective/kl_k1",
    "objective/scores",
    "objective/rlhf_reward",
    "objective/entropy",
    "objective/score_score_table",
    "rollout/response_length",
    "rollout/eos_rate",
    "rollout/repetition",
    "train/approx_kl",
    "train/clip_fraction",
    "train/explained_variance",
    "train/value_loss",
    "train/policy_loss",
    "train/grad_norm",
    "train/learning_rate",
    "time/episodes_per_second",
}


def events(folder: Path) -> EventAccumulator:
    return EventAccumulator(str(folder), size_guidance={"tensors": 0, "scalars": 0, "histograms": 0}).Reload()


def test_tensorboard_holds_scalars_texts_histograms_and_hyperparameters(env: gym.Env, tmp_path: Path) -> None:
    agent = PPO("default", env, episodes_per_iteration=16, batch_size=8)
    agent.learn(48, output=tmp_path)
    log = events(tmp_path / "tensorboard")
    tags = log.Tags()
    assert set(tags["scalars"]) >= SCALARS
    assert {"rollout/score", "rollout/kl"} <= set(tags["histograms"])
    samples = {f"sample/{place}/text_summary" for place in range(3)}
    assert {tag for tag in tags["tensors"] if tag.startswith(("sample/", "hyper"))} == {
        *samples,
        "hyperparameters/text_summary",
    }
    assert [point.step for point in log.Scalars("objective/kl")] == [16, 32, 48]
    for point, row in zip(log.Scalars("objective/scores"), agent.history, strict=True):
        assert point.value == pytest.approx(row["objective/scores"])
    assert "_hparams_/session_start_info" in log.summary_metadata
    rows = [json.loads(line) for line in (tmp_path / "history.jsonl").read_text().splitlines()]
    assert rows == agent.history


def test_the_first_point_is_written_before_the_second_iteration(env: gym.Env, tmp_path: Path) -> None:
    points = []

    def look(agent: PPO, scalars: dict[str, float]) -> None:
        points.append(len(events(tmp_path / "tb").Scalars("objective/scores")))

    agent = PPO("default", env, tensorboard_log=tmp_path / "tb", episodes_per_iteration=16)
    agent.learn(32, callback=look)
    assert points == [1, 2]


def test_a_resumed_run_draws_one_curve(env: gym.Env, tmp_path: Path) -> None:
    PPO("default", env, episodes_per_iteration=16).learn(48, output=tmp_path, save_every=2)
    PPO.resume(tmp_path, gym.make("Enumerable-v0", kl_coef=0.1)).learn(64, output=tmp_path, save_every=2)
    steps = [point.step for point in events(tmp_path / "tensorboard").Scalars("objective/kl")]
    assert steps == [16, 32, 48, 64]


def test_without_an_output_folder_nothing_is_written(
    env: gym.Env, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    PPO("default", env, episodes_per_iteration=16).learn(16)
    assert not list(tmp_path.iterdir())


def test_the_progress_bar_shows_score_and_kl(env: gym.Env, capsys: pytest.CaptureFixture[str]) -> None:
    PPO("default", env, episodes_per_iteration=16).learn(32, progress_bar=True)
    shown = capsys.readouterr().err
    assert "32/32" in shown
    assert "score=" in shown
    assert "kl=" in shown


def test_an_episode_in_words(env: gym.Env) -> None:
    import torch

    from prefgym.agents import collect_rollout

    agent = PPO("default", env)
    rollout = collect_rollout(env, agent.policy, 2, 1, torch.Generator().manual_seed(0))
    text = describe(rollout, 1)
    assert rollout.prompts[1] in text
    assert rollout.responses[1] in text
    assert f"{rollout.scores[1]:+.3f}" in text


def test_the_bar_shows_the_parts_of_a_reward_where_there_are_several() -> None:
    scalars = {"objective/scores": 1.0, "objective/kl": 0.5, "objective/score_a": 1.0}
    scalars |= {"objective/score_missing_eos_penalty": 0.0}
    assert shown(scalars) == {"score": "+1.000", "kl": "0.50"}
    both = {**scalars, "objective/score_gold": -2.0}
    assert shown(both) == {"score": "+1.000", "a": "+1.000", "gold": "-2.000", "kl": "0.50"}
