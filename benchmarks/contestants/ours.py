"""Iterations of a prefgym agent."""

from __future__ import annotations

import statistics
from typing import Any

import gymnasium as gym
import torch
from memory import Peak
from settings import KL_COEF, LEARNING_RATE, answer, arguments, prompts

import prefgym  # noqa: F401  (registers the environments)
from prefgym.agents import PPO, REINFORCE
from prefgym.agents.base import PolicyGradient
from prefgym.agents.rollout import Rollout
from prefgym.rewards.preference_model import PreferenceModel


def log_ratio(agent: PolicyGradient, rollout: Rollout) -> dict[str, float]:
    """How far the update's log-probs are from those of sampling, before any step: 0 without rounding."""
    tokens = torch.cat([rollout.prompt_tokens, rollout.response_tokens], 1)
    mask = torch.cat([rollout.prompt_mask, rollout.response_mask], 1)
    with torch.no_grad():
        again = agent.policy.evaluate_actions(tokens, mask, rollout.response_mask.shape[1], with_entropy=False)
    difference = (again.log_probs - rollout.log_probs)[rollout.response_mask].abs()
    return {"mean": float(difference.mean()), "max": float(difference.max())}


def main() -> None:
    """Train, and report the time of each iteration."""
    options = arguments(__doc__ or "")
    env = gym.make(
        "Summarize-v0",
        model=options.workload / "model",
        reward=PreferenceModel.load(options.workload / "reward", device=options.device),
        prompts=prompts(options.workload),
        template="{prompt}",
        kl_coef=KL_COEF,
        max_prompt_tokens=options.prompt_tokens,
        max_new_tokens=options.new_tokens,
        missing_eos_penalty=0.0,
        device=options.device,
    )
    common: dict[str, Any] = {
        "episodes_per_iteration": options.episodes,
        "samples_per_prompt": options.samples,
        "learning_rate": LEARNING_RATE,
        "precision": options.precision,
        "cuda_graphs": options.device.startswith("cuda"),
    }
    agent: PolicyGradient
    if options.method == "ppo":
        value = {"value_trunk": options.value_trunk, "batch_size": options.minibatch, "n_epochs": options.epochs}
        value["gradient_accumulation"] = options.pieces
        agent = PPO("default", env, **common, **value)
    else:
        pieces = options.pieces * max(1, options.episodes // options.minibatch)
        agent = REINFORCE("default", env, **common, baseline="leave_one_out", gradient_accumulation=pieces)
    peak = Peak()
    agent.learn(options.episodes * (options.iterations + 1))
    rows = agent.history[1:]  # the first one warms up
    wholes = ("time/rollout_seconds", "time/update_seconds")
    names = [name for name in rows[0] if name.startswith("time/") and name.endswith("_seconds") and name not in wholes]
    from prefgym.agents import collect_rollout

    num_prompts = options.episodes // options.samples
    rollout = collect_rollout(agent.env, agent.policy, num_prompts, options.samples, agent.generator)
    answer(
        options.result,
        {
            "seconds": [row["time/rollout_seconds"] + row["time/update_seconds"] for row in rows],
            "parts": {name[5:-8]: statistics.median(row[name] for row in rows) for name in names},
            "peak_bytes": peak.above(),
            "mean_length": statistics.mean(row["rollout/response_length"] for row in rows),
            "log_ratio": log_ratio(agent, rollout),
        },
    )


if __name__ == "__main__":
    main()
