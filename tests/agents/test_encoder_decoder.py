"""Agents on an encoder-decoder: both ways to collect agree, and runs are plain folders that resume."""

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from transformers import AutoModelForSeq2SeqLM, T5Config, T5ForConditionalGeneration

import prefgym  # noqa: F401  (registers the environments)
from prefgym.agents import PPO, REINFORCE, PolicyGradient, collect_rollout
from prefgym.models.language_model import LanguageModel

SETTINGS: dict[str, Any] = {"episodes_per_iteration": 16, "batch_size": 8, "learning_rate": 1e-2, "seed": 3}
PROMPTS = 4


@pytest.fixture
def folder(env: gym.Env, tmp_path: Path) -> str:
    """A tiny random T5 with the words of ``Enumerable-v0``."""
    tokenizer = env.unwrapped.language_model.tokenizer
    torch.manual_seed(0)
    model = T5ForConditionalGeneration(
        T5Config(
            vocab_size=len(tokenizer) + 3,
            d_model=16,
            d_ff=16,
            d_kv=8,
            num_layers=1,
            num_heads=2,
            relative_attention_num_buckets=4,
            pad_token_id=tokenizer.eos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            decoder_start_token_id=tokenizer.eos_token_id,
        )
    )
    LanguageModel(model, tokenizer).save(tmp_path / "t5")
    return str(tmp_path / "t5")


@pytest.fixture
def make_env(env: gym.Env, folder: str) -> Any:
    words = [word for word in env.unwrapped.language_model.tokenizer.get_vocab() if not word.startswith("<")]
    rows = [f"{a} {b}" for a in words for b in words][:PROMPTS]

    def make(**options: Any) -> Any:
        common: dict[str, Any] = {"max_prompt_tokens": 3, "max_new_tokens": 3, "kl_coef": 0.1, "template": "{prompt}"}
        common |= {"model": folder, "reward": "length", "prompts": rows} | options
        return gym.make_vec("Summarize-v0", **common) if "num_envs" in common else gym.make("Summarize-v0", **common)

    return make


def check_steps(agent: PolicyGradient) -> None:
    """Step the environment through the tokens of a rollout: log-probs, reference, values and rewards are the same."""
    rollout = collect_rollout(agent.env, agent.policy, 4, 3, torch.Generator().manual_seed(0))
    for row in range(len(rollout)):
        observation, _ = agent.env.reset(options={"index": rollout.prompt_indices[row]})
        for column in range(int(rollout.response_mask[row].sum())):
            token = int(rollout.response_tokens[row, column])
            if rollout.values is not None:
                value = agent.policy.act(observation)[1]
                assert float(value) == pytest.approx(float(rollout.values[row, column]), abs=1e-5)
            log_prob = agent.policy.log_prob(observation, token)
            observation, reward, _, _, info = agent.env.step(token)
            assert log_prob == pytest.approx(float(rollout.log_probs[row, column]), abs=1e-5)
            assert info["ref_log_prob"] == pytest.approx(float(rollout.ref_log_probs[row, column]), abs=1e-5)
            assert reward == pytest.approx(float(rollout.rewards[row, column]), abs=1e-5)


@pytest.mark.parametrize("estimator", ["k1", "exact"])
@pytest.mark.parametrize("options", [{}, {"lora_rank": 2}, {"value_trunk": "separate"}])
def test_training_moves_the_policy_and_both_ways_to_collect_agree(
    make_env: Any, options: dict[str, Any], estimator: str
) -> None:
    agent = PPO("default", make_env(kl_estimator=estimator), samples_per_prompt=4, **SETTINGS | options)
    reference = agent.env.unwrapped.reference
    checksum = reference.checksum()
    rollout = collect_rollout(agent.env, agent.policy, 2, 2)
    torch.testing.assert_close(rollout.log_probs, rollout.ref_log_probs, rtol=0, atol=1e-5)
    check_steps(agent)
    agent.learn(32)
    assert abs(agent.history[-1]["objective/kl"]) > 1e-3
    assert reference.checksum() == checksum
    check_steps(agent)


def test_a_vector_environment_steps_rows_that_end_at_different_times(make_env: Any) -> None:
    env = make_env(num_envs=3)
    agent = REINFORCE("default", env, **SETTINGS | {"batch_size": None}).learn(16)
    observation, _ = agent.env.reset(seed=0)
    generator = torch.Generator().manual_seed(1)
    for _ in range(12):
        actions, _, log_probs = agent.policy.act(observation, generator=generator)
        fresh = LanguageModel(agent.policy.language_model.model, agent.policy.language_model.tokenizer)
        for row in range(3):
            own = {name: values[row] for name, values in observation.items()}
            prompt, real = own["tokens"][:3], own["attention_mask"].astype(bool)
            response = own["tokens"][3:][real[3:]]
            start = fresh.model.config.decoder_start_token_id
            with torch.no_grad():
                logits = fresh.model(
                    input_ids=torch.tensor(prompt[real[:3]][None]),
                    decoder_input_ids=torch.tensor(np.concatenate([[start], response])[None]),
                ).logits[0, -1, : fresh.vocab_size]
            expected = logits.log_softmax(-1)[int(actions[row])]
            assert float(log_probs[row]) == pytest.approx(float(expected), abs=1e-4)
        observation, *_ = agent.env.step(actions.numpy())


def test_learning_reaches_a_higher_score(make_env: Any) -> None:
    agent = REINFORCE("default", make_env(kl_coef=0.0), **SETTINGS | {"batch_size": None, "episodes_per_iteration": 32})
    agent.learn(32 * 16)
    scores = [row["objective/scores"] for row in agent.history]
    assert np.mean(scores[-3:]) > np.mean(scores[:3]) + 0.5


class Killed(Exception):
    """The process died here."""


def test_the_run_folder_is_transformers_own_and_a_killed_run_resumes(make_env: Any, tmp_path: Path) -> None:
    def die(agent: PolicyGradient, scalars: dict[str, float]) -> None:
        if agent.iteration == 2:
            raise Killed

    whole = PPO("default", make_env(), **SETTINGS).learn(48)
    with pytest.raises(Killed):
        PPO("default", make_env(), **SETTINGS).learn(48, output=tmp_path / "run", save_every=1, callback=die)
    resumed = PPO.resume(tmp_path / "run", make_env()).learn(48)
    for one, other in zip(whole.policy.parameters(), resumed.policy.parameters(), strict=True):
        assert torch.equal(one, other)

    folder = whole.save(tmp_path / "final")
    assert "AutoModelForSeq2SeqLM" in (folder / "README.md").read_text()
    theirs = AutoModelForSeq2SeqLM.from_pretrained(folder)
    env = make_env()
    loaded = PPO.load(folder, env)
    for index in range(PROMPTS):
        observation, _ = env.reset(options={"index": index})
        greedy, ended = [], False
        while not ended:
            token, _ = loaded.predict(observation)
            greedy.append(int(token))
            observation, _, ended, _, _ = env.step(token)
        batch = env.unwrapped.encode_prompts([index])
        prompt = batch.tokens[batch.mask.bool()][None]
        bad = [[token] for token in range(env.unwrapped.language_model.vocab_size, theirs.config.vocab_size)]
        written = theirs.generate(prompt, max_new_tokens=3, do_sample=False, bad_words_ids=bad)[0, 1:]
        assert written.tolist()[: len(greedy)] == greedy
