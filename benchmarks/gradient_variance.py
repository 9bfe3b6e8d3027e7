"""How noisy the policy gradient is under each baseline of REINFORCE, on the embedded posts.

    python benchmarks/gradient_variance.py --output benchmarks/gradient_variance     about 15 minutes on two cores
    python benchmarks/gradient_variance.py --quick --output /tmp/gradient_variance   shows that it runs

A policy trained for a while with PPO, so that its values are meaningful, writes many rollouts and is not changed. Each
baseline turns the same rollouts into gradients. The variance is the trace of their covariance, relative to that without
a baseline; intervals are from resampling rollouts. For comparison there is the best constant: with a constant b the
gradient is g - b s, where s is the gradient with every advantage 1. Writes results.json, README.md and a picture.
Synthetic data.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import gymnasium as gym
import matplotlib
import numpy as np
import torch
from tqdm import tqdm

matplotlib.use("Agg")
import matplotlib.pyplot as plt

import prefgym  # noqa: F401  (registers the environments)
from prefgym.agents import BASELINES, PPO, REINFORCE, LMPolicy, Rollout, collect_rollout
from prefgym.agents.base import Advantages
from prefgym.agents.minibatch import minibatches

EPISODES, SAMPLES, RESAMPLES = 64, 4, 2000
SMALL = {"max_new_tokens": 8, "max_prompt_tokens": 32}
TRAINING: dict[str, Any] = {"samples_per_prompt": SAMPLES, "seed": 0}


class Ones(REINFORCE):
    """Every advantage is 1: the gradient of the log-probability of what was written, whose expectation is 0."""

    def advantages(self, rollout: Rollout) -> Advantages:
        """(B, R), 0 at padding."""
        return Advantages(rollout.response_mask.float())


def gradients(
    baseline: str, policy: LMPolicy, env: Any, rollouts: list[Rollout], kind: type[REINFORCE] = REINFORCE
) -> torch.Tensor:
    """One gradient estimate per rollout except the first, which only warms up the moving average: (K, parameters)."""
    agent = kind(
        policy, env, **TRAINING, baseline=baseline, loss_reduction="episode_sum", max_grad_norm=None, vf_coef=0.0
    )
    found = []
    for place, rollout in enumerate(tqdm(rollouts, desc=baseline, unit="rollout")):
        advantages = agent.advantages(rollout)
        if place:
            (pieces,) = minibatches(rollout, *advantages, None, 4, agent.rng)
            agent.gradient(pieces)
            found.append(torch.cat([p.grad.flatten() for p in policy.model.parameters() if p.grad is not None]))
    return torch.stack(found)


def traces(gram: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """Trace of the covariance of the gradients in each resample (draws, K), from their inner products (K, K)."""
    result = []
    for rows in draws:
        inner = gram[np.ix_(rows, rows)]
        result.append((np.trace(inner) - inner.mean() * len(rows)) / (len(rows) - 1))
    return np.array(result)


def measure(num_rollouts: int, episodes: int, training: int, **world: int) -> dict[str, Any]:
    """Variance of every baseline, relative to that of ``none``; with the length of the mean gradient."""
    env = gym.make("Summarize-v0", **world)
    agent = PPO("default", env, **TRAINING, episodes_per_iteration=episodes, batch_size=min(16, episodes))
    agent.learn(training)
    policy, generator = agent.policy, torch.Generator().manual_seed(1)
    count = episodes // SAMPLES
    rollouts = [collect_rollout(agent.env, policy, count, SAMPLES, generator) for _ in range(num_rollouts + 1)]
    grams = {}
    for name in BASELINES:
        found = gradients(name, policy, agent.env, rollouts).double()
        grams[name] = (found @ found.T).numpy()
        if name == "none":
            ones = gradients(name, policy, agent.env, rollouts, Ones).double()
            constant = constants(found, ones, [float(rollout.returns.mean()) for rollout in rollouts[1:]])
    rng, whole = np.random.default_rng(0), np.arange(num_rollouts)[None]
    draws = rng.integers(num_rollouts, size=(RESAMPLES, num_rollouts))
    nothing = traces(grams["none"], draws)
    results = {}
    for name, gram in grams.items():
        variance, ratio = traces(gram, whole)[0], traces(gram, draws) / np.maximum(nothing, 1e-12)
        signal = (gram.sum() - np.trace(gram)) / (num_rollouts * (num_rollouts - 1))
        low, high = np.quantile(ratio[nothing > 0], [0.025, 0.975])
        results[name] = {
            "variance": float(variance),
            "relative": {
                "mean": float(variance / traces(grams["none"], whole)[0]),
                "low": float(low),
                "high": float(high),
            },
            "squared_mean_gradient": float(signal),
        }
    told = {"rollouts": num_rollouts, "episodes": episodes, "samples": SAMPLES, "training": training}
    return {**told, "constant": constant, **results}


def constants(plain: torch.Tensor, ones: torch.Tensor, mean_returns: list[float]) -> dict[str, float]:
    """The effect of a constant baseline on the variance, which is a parabola in it.

    Tr Cov(g - b s) = Tr Cov(g) - 2 b Tr Cov(g, s) + b² Tr Cov(s), least at b = Tr Cov(g, s) / Tr Cov(s).

    Args:
        plain: (K, parameters) g, the gradients without a baseline.
        ones: (K, parameters) s, those where every advantage is 1.
        mean_returns: of the K rollouts.
    """
    g, s = plain - plain.mean(0), ones - ones.mean(0)
    whole, both, square = (float((a * b).sum()) for a, b in ((g, g), (g, s), (s, s)))
    best, mean = both / square, float(np.mean(mean_returns))
    relative = {name: 1 + (b * b * square - 2 * b * both) / whole for name, b in (("best", best), ("mean", mean))}
    return {
        "best": best,
        "relative_at_best": relative["best"],
        "mean_return": mean,
        "relative_at_mean_return": relative["mean"],
        "spread_of_mean_returns": float(np.std(mean_returns, ddof=1)),
    }


def told_of_constants(found: dict[str, float]) -> str:
    """The effect of a constant here, in words; and why a moving average may add noise."""
    text = (
        f"The best constant to subtract from every return would be {found['best']:.2f} and leave "
        f"{found['relative_at_best']:.3f} of the variance; the mean return is {found['mean_return']:.2f} (standard "
        f"deviation from rollout to rollout {found['spread_of_mean_returns']:.2f}), and subtracting that leaves "
        f"{found['relative_at_mean_return']:.3f}."
    )
    if found["relative_at_mean_return"] > 1:
        text += (
            " So a baseline that only knows the mean of past returns, as the moving average does, adds noise here: "
            "responses with low returns have longer gradients and weigh more in the variance than in the mean."
        )
    return text


def table(results: dict[str, Any]) -> str:
    """One line per baseline."""
    lines = ["| baseline | variance, none = 1 | 95 % interval | squared length of the mean gradient |"]
    lines.append("|" + " --- |" * 4)
    for name in BASELINES:
        row = results[name]
        r = row["relative"]
        cells = [name, f"{r['mean']:.3f}", f"{r['low']:.3f} to {r['high']:.3f}", f"{row['squared_mean_gradient']:.2g}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def draw(results: dict[str, Any], path: Path) -> None:
    """Variances with their intervals."""
    figure, axis = plt.subplots(figsize=(6, 3), layout="constrained")
    for place, name in enumerate(BASELINES):
        r = results[name]["relative"]
        axis.barh(place, r["mean"], color="#4c78a8")
        axis.plot([r["low"], r["high"]], [place, place], color="black")
    axis.set(yticks=range(len(BASELINES)), yticklabels=list(BASELINES), xlabel="variance of the gradient, none = 1")
    axis.invert_yaxis()
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main() -> None:
    """Measure, and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--rollouts", type=int, default=100)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    results = measure(3, 8, 8, **SMALL) if options.quick else measure(options.rollouts, EPISODES, 1024)
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "results.json").write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    draw(results, options.output / "variance.png")
    text = table(results)
    (options.output / "README.md").write_text(
        "# How noisy the gradient is\n\n`python benchmarks/gradient_variance.py --output benchmarks/gradient_variance`"
        f"\n\nREINFORCE, gradient of the sum over tokens and the mean over {EPISODES} episodes ({SAMPLES} samples per "
        f"prompt), at one policy (the embedded one after {results['training']} episodes of PPO, seed 0; 1.26 M "
        f"parameters, synthetic posts). The same {results['rollouts']} rollouts for every baseline; 95 % intervals by "
        f"resampling. `group_mean` is `leave_one_out` scaled by (n - 1) / n; `group_normalised` estimates a different "
        f"gradient, so its variance is in other units.\n\n{text}\n\n{told_of_constants(results['constant'])}\n\n"
        "![Variance by baseline](variance.png)\n",
        encoding="utf-8",
    )
    print(text)


if __name__ == "__main__":
    main()
