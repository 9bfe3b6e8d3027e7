"""Seconds by part."""

import gymnasium as gym
import pytest

from prefgym.agents import PPO, timing
from prefgym.agents.timing import part, recording


def test_parts_add_up_while_a_recording_is_open(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(100))
    monkeypatch.setattr(timing.time, "perf_counter", lambda: float(next(clock)))
    with part("unheard"):
        pass
    with recording() as seconds:
        for _ in range(2):
            with part("reward"):
                pass
        with part("generate"):
            next(clock)
    assert seconds == {"reward": 2.0, "generate": 2.0}
    with part("unheard"):
        pass
    assert "unheard" not in seconds


def test_an_iteration_says_what_its_parts_took(env: gym.Env) -> None:
    agent = PPO("default", env, episodes_per_iteration=8, batch_size=4)
    agent.learn(8)
    row = agent.history[-1]
    parts = [row[f"time/{name}_seconds"] for name in ("generate", "reference", "reward")]
    assert 0 < sum(parts) <= row["time/rollout_seconds"]
    parts = [row[f"time/{name}_seconds"] for name in ("forward", "backward", "optimizer")]
    assert 0 < sum(parts) <= row["time/update_seconds"]
