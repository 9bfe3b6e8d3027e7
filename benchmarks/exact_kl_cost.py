"""The cost of exact KL: an iteration with it in the reward compared with k1, at a vocabulary of 50,000.

    python benchmarks/exact_kl_cost.py --output benchmarks/exact_kl_cost     about 10 minutes on two cores
    python benchmarks/exact_kl_cost.py --quick --output /tmp/exact_kl_cost   shows that it runs

k1 needs the log-probability of the sampled token; the exact KL sums over the vocabulary, for which the policy runs once
more. Both alternate in one process, with random weights and responses of fixed length. Writes results.json and
README.md.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path
from typing import Any

import gymnasium as gym
import torch
from contestants.settings import KL_COEF, LEARNING_RATE, prompts
from tqdm import tqdm
from workload import Shape, make_workload

import prefgym  # noqa: F401  (registers the environments)
from prefgym.agents import AGENTS, PolicyGradient
from prefgym.files import write_json, write_text
from prefgym.rewards.preference_model import PreferenceModel

ESTIMATORS = ("k1", "exact")
WIDTHS, LAYERS, HEADS, VOCABULARY = (128, 256), 4, 4, 50_000
SIZES = {"episodes": 32, "prompt": 128, "response": 48, "rounds": 9, "vocabulary": VOCABULARY}
QUICK = {"episodes": 8, "prompt": 12, "response": 6, "rounds": 2, "vocabulary": 500}
AGENT: dict[str, dict[str, Any]] = {
    "ppo": {"batch_size": 16, "n_epochs": 4},
    "reinforce": {"baseline": "leave_one_out"},
}


def make_agent(name: str, estimator: str, folder: Path, sizes: dict[str, int]) -> PolicyGradient:
    """An agent that uses this KL estimator."""
    env = gym.make(
        "Summarize-v0",
        model=folder / "model",
        reward=PreferenceModel.load(folder / "reward"),
        prompts=prompts(folder),
        template="{prompt}",
        kl_coef=KL_COEF,
        kl_estimator=estimator,
        max_prompt_tokens=sizes["prompt"],
        max_new_tokens=sizes["response"],
        missing_eos_penalty=0.0,
    )
    common = {"episodes_per_iteration": sizes["episodes"], "samples_per_prompt": 4, "learning_rate": LEARNING_RATE}
    options = {**common, **AGENT[name]}
    options["batch_size"] = min(options.get("batch_size", sizes["episodes"]), sizes["episodes"])
    return AGENTS[name]("default", env, **options)


def seconds(agent: PolicyGradient) -> float:
    """Of one more iteration."""
    agent.learn(agent.hyperparameters.episodes_per_iteration)
    return agent.history[-1]["time/rollout_seconds"] + agent.history[-1]["time/update_seconds"]


def measure(name: str, width: int, scratch: Path, sizes: dict[str, int]) -> dict[str, Any]:
    """Seconds of both estimators in alternation, after a warm-up round, and the ratio of the medians."""
    shape = Shape("llama", width, LAYERS, HEADS, 2 * width, sizes["vocabulary"])
    folder = scratch / f"models-{width}-{sizes['vocabulary']}-{sizes['prompt']}"
    make_workload(folder, shape, None, sizes["prompt"])
    agents = {estimator: make_agent(name, estimator, folder, sizes) for estimator in ESTIMATORS}
    taken: dict[str, list[float]] = {estimator: [] for estimator in ESTIMATORS}
    for number in tqdm(range(sizes["rounds"] + 1), desc=f"{name}, d = {width}", unit="round"):
        for estimator in ESTIMATORS if number % 2 else ESTIMATORS[::-1]:
            taken[estimator].append(seconds(agents[estimator]))
    taken = {estimator: values[1:] for estimator, values in taken.items()}
    rounds = [exact / k1 for k1, exact in zip(*(taken[estimator] for estimator in ESTIMATORS), strict=True)]
    medians = {estimator: statistics.median(values) for estimator, values in taken.items()}
    ratio = {"median": medians["exact"] / medians["k1"], "low": min(rounds), "high": max(rounds)}
    return {"agent": name, "width": width, "seconds": taken, "ratio": ratio}


def table(rows: list[dict[str, Any]]) -> str:
    """One line for each agent and width."""
    lines = ["| agent | d | k1, seconds | exact, seconds | exact / k1 | rounds from, to |", "|" + " --- |" * 6]
    for row in rows:
        medians = [f"{statistics.median(row['seconds'][estimator]):.2f}" for estimator in ESTIMATORS]
        median, low, high = (f"{row['ratio'][key]:.2f}" for key in ("median", "low", "high"))
        lines.append(f"| {row['agent']} | {row['width']} | {' | '.join(medians)} | {median} | {low}, {high} |")
    return "\n".join(lines)


def main() -> None:
    """Measure, and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    sizes, widths = (QUICK, WIDTHS[:1]) if options.quick else (SIZES, WIDTHS)
    scratch = options.output / "runs" if options.quick else Path("runs") / "exact_kl_cost"
    rows = [measure(name, width, scratch, sizes) for width in widths for name in AGENT]
    about = {"sizes": sizes, "torch": torch.__version__, "threads": torch.get_num_threads()}
    write_json(options.output / "results.json", {"about": about, "rows": rows})
    text = table(rows)
    write_text(
        options.output / "README.md",
        "# The cost of exact KL\n\n`python benchmarks/exact_kl_cost.py --output benchmarks/exact_kl_cost`\n\n"
        f"Seconds of an iteration with `kl_estimator` k1 and exact, medians of {sizes['rounds']} alternating rounds; "
        f"threads: {about['threads']}; fp32, torch {about['torch']}. Llama shape with random weights: {LAYERS} layers, "
        f"vocabulary {sizes['vocabulary']:,}. {sizes['episodes']} episodes of {sizes['prompt']} + {sizes['response']} "
        "tokens, 4 samples per prompt; PPO with 4 epochs in minibatches of 16, REINFORCE with 1 step. The last column "
        f"is the range of the ratio over rounds.\n\n{text}\n",
    )
    print(text)


if __name__ == "__main__":
    main()
