"""Whether agents follow the gradient they claim to: mean estimates against exact and enumerated expectations.

    python benchmarks/exactness.py --output benchmarks/exactness              about 10 minutes on one core
    python benchmarks/exactness.py --quick --output /tmp/exactness            shows that it runs

Everything happens on Enumerable-v0. Unbiased configurations are compared with the exact gradient. Configurations biased
by design are compared with their own expectation, summed over all rollouts of a few episodes, and that with the exact
gradient. Then every agent learns. Writes results.json and README.md.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from prefgym.agents import AGENTS, BASELINES, PolicyGradient
from prefgym.evaluation.checking.check_agent import (
    LEARNING,
    MAX_REGRET,
    UNBIASED,
    check_gradient,
    check_learning,
    make_agent,
    make_world,
    move,
)
from prefgym.evaluation.checking.diagnosis import directions
from prefgym.evaluation.checking.enumeration import Enumeration
from prefgym.evaluation.checking.faults import candidates
from prefgym.evaluation.checking.gradient_samples import MeanTest, expectation, sample_gradients
from prefgym.files import write_json, write_text

BIASED_BASELINES = ("group_mean", "group_normalised")
QUICK = (
    "ppo",
    "reinforce, leave_one_out",
    "baseline group_normalised",
    "advantages whitened over the rollout",
    "PPO, lambda 0.5",
    "KL as a loss per token, k2",
)
"""Measured in the quick form: one of each kind."""
Options = dict[str, Any]


def policy_gradient_agents() -> dict[str, type[PolicyGradient]]:
    """Agents by name, without the yardsticks."""
    return {name: agent for name, agent in AGENTS.items() if agent.climbs_reward}


def unbiased() -> Iterator[tuple[str, type[PolicyGradient], Options]]:
    """Every agent and baseline whose mean gradient should be the exact one: label, class, hyperparameters."""
    for name, agent in policy_gradient_agents().items():
        if name != "reinforce":
            yield name, agent, {}
    for baseline in BASELINES:
        if baseline not in BIASED_BASELINES:
            yield f"reinforce, {baseline}", AGENTS["reinforce"], {"baseline": baseline}


def biased(samples: int) -> Iterator[tuple[str, type[PolicyGradient], Options]]:
    """Configurations biased by design, for rollouts of one prompt with this many samples."""
    reinforce, ppo = AGENTS["reinforce"], AGENTS["ppo"]
    plain = {"baseline": "leave_one_out"}
    for baseline in BIASED_BASELINES:
        if baseline in BASELINES:
            yield f"baseline {baseline}", reinforce, {"baseline": baseline}
    yield "advantages whitened over the rollout", reinforce, plain | {"normalize_advantage": True}
    yield "loss a mean over tokens", reinforce, plain | {"loss_reduction": "token_mean"}
    yield "PPO, lambda 0.5", ppo, {"gae_lambda": 0.5}
    yield "PPO, lambda 0", ppo, {"gae_lambda": 0.0}
    if "kl_loss_coef" in {field.name for field in dataclasses.fields(reinforce.hyperparameter_type)}:
        for estimator in ("k1", "k2", "k3"):
            options = {"kl_loss_coef": 0.5, "kl_loss_estimator": estimator}
            yield f"KL as a loss per token, {estimator}", reinforce, plain | options


def chosen(
    rows: Iterator[tuple[str, type[PolicyGradient], Options]], quick: bool
) -> Iterator[tuple[str, type[PolicyGradient], Options]]:
    """All rows, or those of the quick form."""
    return (row for row in rows if not quick or row[0] in QUICK)


def gradient_row(model: str, agent: type[PolicyGradient], options: Options, estimates: int) -> dict[str, Any]:
    """Test the mean of an agent's estimates against the exact gradient."""
    world = make_world(0.5, model=model)
    sampling = UNBIASED | {"vf_coef": 0.0, "episodes_per_iteration": 4096, "batch_size": 64}
    made = make_agent(agent, world, 0, sampling, options)
    move(made.policy, 0.7 if model == "tabular" else 0.1)
    found = check_gradient(made, world, estimates)
    return {name: found[name] for name in ("estimates", "cosine", "chi2", "components", "p_value")} | {
        "episodes": found["estimates"] * 64
    }


def biased_row(agent: type[PolicyGradient], options: Options, samples: int, estimates: int) -> dict[str, Any]:
    """Test an agent's mean against its own expectation, and measure that expectation's bias."""
    in_loss = options.get("kl_loss_coef")
    world = make_world(0.5, max_new_tokens=2, num_prompts=1)
    played = world if in_loss is None else make_world(0.0, max_new_tokens=2, num_prompts=1)
    rollouts = {"vf_coef": 0.0, "episodes_per_iteration": samples, "batch_size": samples, "samples_per_prompt": samples}
    made = make_agent(agent, played, 0, UNBIASED | rollouts, options)
    move(made.policy)
    every = Enumeration(world, made.policy)
    exact, expected = every.exact_gradient(0.5), expectation(made, every, samples, played.kl_coef)
    test = MeanTest(sample_gradients(made, estimates), directions(every, exact, list(candidates(every, 0.5))))
    own = test.fit(test.project(expected))
    return {
        "samples": samples,
        "estimates": test.count,
        "cosine_to_own": float(torch.cosine_similarity(test.full_mean, expected, dim=0)),
        "p_value_own": own.p_value,
        "p_value_exact": test.fit(test.project(exact)).p_value,
        "bias_cosine": float(torch.cosine_similarity(expected, exact, dim=0)),
        "bias_length": float(expected.norm() / exact.norm()),
    }


def learning_row(agent: type[PolicyGradient], options: Options, seeds: int, iterations: int) -> dict[str, Any]:
    """Learn with several seeds; shares of the optimum's objective and distances to the optimum."""
    world = make_world(0.5)
    runs = [
        check_learning(make_agent(agent, world, seed, LEARNING, options), world, iterations) for seed in range(seeds)
    ]
    return {
        "share_of_optimum": [run["objective"] / run["optimum"] for run in runs],
        "kl_to_optimum": [run["kl_to_optimum"] for run in runs],
        "start_share": runs[0]["start"] / runs[0]["optimum"],
        "episodes": iterations * LEARNING["episodes_per_iteration"],
    }


def page(results: dict[str, Any], command: str) -> str:
    """The tables."""
    parts = [HEAD.format(command=command)]
    parts.append("| agent | model | estimates | episodes | cosine | chi2 (components) | p |\n" + "|" + " --- |" * 7)
    for label, models in results["unbiased"].items():
        for model, row in models.items():
            parts.append(
                f"| {label} | {model} | {row['estimates']} | {row['episodes']} | {row['cosine']:.5f} | "
                f"{row['chi2']:.1f} ({row['components']}) | {row['p_value']:.3f} |"
            )
    parts.append(BIASED_HEAD)
    for label, rows in results["biased"].items():
        for row in rows:
            parts.append(
                f"| {label} | {row['samples']} | {row['bias_cosine']:.4f} | {row['bias_length']:.3f} | "
                f"{row['estimates']} | {row['cosine_to_own']:.4f} | {row['p_value_own']:.3f} | "
                f"{row['p_value_exact']:.2g} |"
            )
    parts.append(LEARNING_HEAD.format(regret=MAX_REGRET))
    for label, row in results["learning"].items():
        shares = ", ".join(f"{share:.2%}" for share in row["share_of_optimum"])
        distances = ", ".join(f"{kl:.4f}" for kl in row["kl_to_optimum"])
        parts.append(f"| {label} | {row['episodes']} | {shares} | {distances} |")
    return "\n".join(parts) + "\n"


HEAD = """# Exactness of the agents

`{command}`

All on `Enumerable-v0`, where every response can be listed: two words and EOS, a policy moved away from its reference by
seeded noise, beta 0.5. One core.

## Unbiased configurations against the exact gradient

Loss summed over each episode's tokens and averaged over episodes, lambda 1, no whitening, clipping or division by a
standard deviation, 4 samples per prompt. An estimate is the gradient of 64 episodes; 30 responses (3 steps, 2 prompts).
*cosine* is between the mean of all estimates and the exact gradient, over all parameters. The chi-square test asks
whether their difference is noise: along fixed directions (those in which the faults that `check_agent` knows differ
most, and 6 random ones), whitened by the covariance of the estimates; its p-value allows for the covariance being
estimated.
"""
BIASED_HEAD = """
## Biased by design, against their own expectation

The expectation is a sum over all rollouts of one prompt with *n* samples (7 responses: 2 steps, 1 prompt; every
rollout is run through the agent, weighted by its probability). *cosine* and *length* compare it with the exact
gradient: that is the bias. The last columns test the mean of sampled estimates, one per rollout of *n* episodes,
against it, and against the exact gradient.

| what | n | cosine | length | estimates | cosine to own expectation | p, own | p, exact |
| --- | --- | --- | --- | --- | --- | --- | --- |"""
LEARNING_HEAD = """
## Learning

Objective reached as a share of the optimum's (more than {regret:.0%} below it is a failure), and
KL(learned || optimal) in nats; one figure per seed.

| agent | episodes | share of the optimum's objective | KL to the optimum |
| --- | --- | --- | --- |"""


def main() -> None:
    """Run everything and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    models, estimates, rollouts, sizes, seeds, iterations = (
        (("tabular",), 64, 60, (2,), 1, 2) if options.quick else (("tabular", "llama"), 1024, 2048, (2, 4), 3, 120)
    )
    results: dict[str, Any] = {"unbiased": {}, "biased": {}, "learning": {}}
    for label, agent, given in chosen(unbiased(), options.quick):
        results["unbiased"][label] = {model: gradient_row(model, agent, given, estimates) for model in models}
        results["learning"][label] = learning_row(agent, given, seeds, iterations)
        print(label, results["unbiased"][label], results["learning"][label], flush=True)
    for samples in sizes:
        for label, agent, given in chosen(biased(samples), options.quick):
            row = biased_row(agent, given, samples, rollouts)
            results["biased"].setdefault(label, []).append(row)
            print(label, row, flush=True)
    write_json(options.output / "results.json", results)
    write_text(
        options.output / "README.md", page(results, "python benchmarks/exactness.py --output benchmarks/exactness")
    )


if __name__ == "__main__":
    main()
