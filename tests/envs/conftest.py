"""Fakes: a tiny random Llama over a few words, a policy that reads everything anew at each question."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from prefgym.envs import TokenEnv, TokenVectorEnv
from prefgym.envs.tiny_world import tiny_language_model
from prefgym.models.language_model import LanguageModel

NUM_WORDS, EOS = 5, 5
PROMPTS = ["a b", "c", "d e a", "b b d", "e"]


def count_a(prompts: list[str], completions: list[str], **columns: Any) -> list[float]:
    """A reward in plain Python: the share of the letter a, plus one for a response that begins with b."""
    return [text.count("a") / 4 + text.startswith("b") for text in completions]


def env_options(**changes: Any) -> dict[str, Any]:
    options = {
        "model": tiny_language_model(NUM_WORDS, context=32, seed=3),
        "reward": count_a,
        "prompts": [{"prompt": text, "reference": f"summary of {text}"} for text in PROMPTS],
        "template": "{prompt}",
        "kl_coef": 0.3,
        "max_prompt_tokens": 4,
        "max_new_tokens": 5,
    }
    return {**options, **changes}


def make_env(render_mode: str | None = None, **changes: Any) -> TokenEnv:
    return TokenEnv(render_mode=render_mode, **env_options(**changes))


def make_vector_env(num_envs: int = 3, autoreset_mode: Any = "NextStep", **changes: Any) -> TokenVectorEnv:
    return TokenVectorEnv(num_envs, autoreset_mode=autoreset_mode, **env_options(**changes))


class FullForwardPolicy:
    """Answers by one plain forward of the unpadded text; no cache, no mask, no shared code with the environment."""

    def __init__(self, language_model: LanguageModel, temperature: float = 1.0) -> None:
        self.language_model = language_model
        self.temperature = temperature

    @torch.no_grad()
    def log_probs(self, observation: dict[str, np.ndarray]) -> np.ndarray:
        if observation["tokens"].ndim == 2:
            rows = range(len(observation["tokens"]))
            return np.stack([self.log_probs({name: array[i] for name, array in observation.items()}) for i in rows])
        ids = torch.from_numpy(observation["tokens"][observation["attention_mask"] == 1])
        logits = self.language_model.model(ids[None]).logits[0, -1, : NUM_WORDS + 1] / self.temperature
        return torch.log_softmax(logits.double(), -1).numpy()

    def log_prob(self, observation: dict[str, np.ndarray], action: Any) -> Any:
        return np.take_along_axis(self.log_probs(observation), np.asarray(action)[..., None], -1)[..., 0]


@pytest.fixture
def policy() -> FullForwardPolicy:
    return FullForwardPolicy(tiny_language_model(NUM_WORDS, context=32, seed=8))


def run_episode(env: Any, actions: list[int], **reset: Any) -> tuple[list[float], list[dict], list[dict]]:
    """Step through ``actions``; rewards, infos and the observations before each of them."""
    observation, _ = env.reset(**reset)
    rewards, infos, observations = [], [], []
    for action in actions:
        observations.append(observation)
        observation, reward, terminated, truncated, info = env.step(action)
        assert not truncated
        rewards.append(reward)
        infos.append(info)
    assert terminated
    return rewards, infos, observations


@pytest.fixture(name="env_options")
def env_options_fixture() -> Any:
    """The arguments of an environment on the fakes, some of them replaced."""
    return env_options


@pytest.fixture(name="make_env")
def make_env_fixture() -> Any:
    """Makes a ``TokenEnv`` on the fakes; keyword arguments replace its options."""
    return make_env


@pytest.fixture(name="make_vector_env")
def make_vector_env_fixture() -> Any:
    """Makes a ``TokenVectorEnv`` on the fakes."""
    return make_vector_env


@pytest.fixture(name="run_episode")
def run_episode_fixture() -> Any:
    """Steps an environment through given actions."""
    return run_episode


@pytest.fixture(name="make_policy")
def make_policy_fixture() -> Any:
    """Makes a policy that answers by plain forwards."""
    return FullForwardPolicy
