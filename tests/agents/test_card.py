"""The model card and the events of a run say what users' names are, and obey none of them."""

import re

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from prefgym.agents import PPO
from prefgym.agents.run_folder import model_card

ODD = "a | b\n---\ntags: x\n| <b>`c`</b> | ![x](http://x) \x1b[31m \u202e \ud83d"


@pytest.fixture
def agent(env):
    return PPO("default", env, episodes_per_iteration=16, batch_size=8)


def test_a_name_stays_in_its_cell(agent, monkeypatch):
    core = agent.env.unwrapped
    monkeypatch.setattr(core.language_model, "name", ODD)
    monkeypatch.setattr(core.reward, "parts", {ODD: (len, 1.0)})
    monkeypatch.setattr(PPO, "name", ODD)
    card = model_card(agent, {ODD: ODD})
    head, text = card.split("\n---\n")
    assert [line for line in head.splitlines() if ":" in line] == [
        "library_name: transformers",
        "pipeline_tag: text-generation",
        "tags:",
    ]
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len(rows) > 10
    assert all(len(re.findall(r"(?<!\\)\|", row)) == 3 for row in rows)
    assert not re.search(r"(?<!\\)<b>|(?<!\\)\]\(http|\x1b|\u202e|\ud83d", card)
    assert text.count("```") == 2
    assert "- a" not in text


def test_a_scalar_of_any_name_is_written(agent, tmp_path, monkeypatch):
    core = agent.env.unwrapped
    (part,) = core.reward.parts.values()
    monkeypatch.setattr(core.reward, "parts", {ODD: part})
    agent.learn(16, output=tmp_path)
    tags = EventAccumulator(str(tmp_path / "tensorboard")).Reload().Tags()["scalars"]
    assert any("\\x1b[31m \\u202e \\ud83d" in tag for tag in tags)
