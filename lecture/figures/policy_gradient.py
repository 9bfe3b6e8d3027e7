"""``policy_gradient``: any reward can be optimised, differentiable or not."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ...evaluation.reports import canvas
from ...evaluation.reports.formats import estimate, percent
from ...evaluation.win_rate import crossed_interval
from ..figure import Figure, Finding, Numbers
from ..workshop import Workshop

STEPS, EPISODES = 100, 64
"""Of REINFORCE in the small world, and the episodes of each."""
_WORD = re.compile(r"[a-z']+")


def own_words(prompts: list[str], completions: list[str], **columns: Any) -> list[float]:
    """Share of a completion's words that occur in the prompt (0 for an empty one): no gradient passes through it."""
    rewards = []
    for prompt, completion in zip(prompts, completions, strict=True):
        known, said = set(_WORD.findall(prompt.lower())), _WORD.findall(completion.lower())
        rewards.append(sum(word in known for word in said) / len(said) if said else 0.0)
    return rewards


def measure(shop: Workshop) -> Numbers:
    """REINFORCE where the optimum is known, then a Python function as the reward of text."""
    worlds = [shop.remember(f"policy_gradient-world-seed{seed}", partial(_world, seed)) for seed in shop.seeds]
    texts = [shop.remember(f"policy_gradient-text-seed{seed}", partial(_text, shop, seed)) for seed in shop.seeds]
    gains = [[after - before for before, after in zip(t["before"], t["after"], strict=True)] for t in texts]
    return {
        "worlds": worlds,
        "texts": [{"history": text["history"]} for text in texts],
        "python_reward_gain": crossed_interval(gains),
        "share_of_optimum": [
            (world["objective"][-1] - world["objective"][0]) / (world["optimum"] - world["objective"][0])
            for world in worlds
        ],
    }


def _world(seed: int) -> dict[str, Any]:
    """The exact objective after every step of REINFORCE in Enumerable-v0, and the optimum."""
    import gymnasium as gym

    from ...agents import REINFORCE

    env = gym.make("Enumerable-v0", seed=seed, model="tabular")
    agent = REINFORCE(
        "default",
        env,
        seed=seed,
        baseline="leave_one_out",
        samples_per_prompt=8,
        episodes_per_iteration=EPISODES,
        learning_rate=0.1,
        lr_schedule="linear",
        loss_reduction="episode_sum",
    )
    core: Any = env.unwrapped
    objective = [float(core.objective(agent.policy).detach())]

    def note(agent: Any, scalars: Any) -> None:
        objective.append(float(core.objective(agent.policy).detach()))

    agent.learn(STEPS * EPISODES, callback=note)
    return {"objective": objective, "optimum": core.optimal_objective()}


def _text(shop: Workshop, seed: int) -> dict[str, Any]:
    """The reward of a Python function on held-out posts, before and after training on it."""
    from ...evaluation.policies.decode import decode

    policy, history = shop.trained("own-words", shop.largest, seed, reward=own_words)
    posts = shop.posts()
    prompts = [row["prompt"] for row in posts]
    start = shop.model(shop.largest, "start")
    before, after = (own_words(prompts, decode(lm, posts, seed=seed).texts) for lm in (start, policy))
    return {
        "before": before,
        "after": after,
        "history": [[row["episodes"], row["objective/scores"]] for row in history],
    }


def draw(numbers: Numbers, path: Path) -> None:
    """Left: the share of the way to the optimum; right: the Python function's reward."""
    figure = canvas.figure(9.4, 3.6, "Climbing a reward without its gradient", "synthetic data; one line a seed")
    left, right = figure.subplots(1, 2)
    for world in numbers["worlds"]:
        values = np.array(world["objective"])
        left.plot((values - values[0]) / (world["optimum"] - values[0]), color="#1f6fb2", linewidth=1.5)
    left.axhline(1, color="#5f6c78", linestyle="--", linewidth=1)
    canvas.style(left, "REINFORCE where the optimum is known", "steps", "share of the way to the optimum")
    for text in numbers["texts"]:
        episodes, scores = zip(*text["history"], strict=True)
        right.plot(episodes, scores, color="#2f8f5b", linewidth=1.5)
    canvas.style(right, "A Python function as reward", "episodes", "share of words from the post")
    canvas.save(figure, path)


def table(numbers: Numbers) -> tuple[list[str], list[list[str]]]:
    """One row for each world."""
    shares = ", ".join(f"{100 * share:.0f} %" for share in numbers["share_of_optimum"])
    gain = estimate(numbers["python_reward_gain"], 3)
    return ["what", "value"], [
        ["way to the optimum of Enumerable-v0, by seed", shares],
        ["Python function's reward on held-out posts, after minus before", gain],
    ]


def finding(numbers: Numbers) -> Finding:
    """Whether REINFORCE came near the optimum and the Python function's reward rose."""
    gain, least = numbers["python_reward_gain"], min(numbers["share_of_optimum"])
    return Finding(gain["low"] > 0 and least > 0.9, {"share": percent(least), "gain": estimate(gain, 3)})


FIGURE = Figure("policy_gradient", measure, draw, table, finding)
