"""The demo with several seeds, along with REINFORCE with two baselines and a Python-function reward.

    python benchmarks/demo.py --seeds 3 --output benchmarks/demo          about 90 minutes on two cores
    python benchmarks/demo.py --quick --output /tmp/demo                  shows that it runs

Writes one JSON of metrics per run, results.json with the figures below, and README.md with the table. Everything is
measured on the embedded world, which is synthetic.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path
from typing import Any

from prefgym.cli import main as prefgym

HERE = Path(__file__).resolve().parent
RUNS: dict[str, list[str]] = {
    "ppo": ["--config", "tldr-ppo"],
    "reinforce-leave-one-out": ["--config", "tldr-reinforce"],
    "reinforce-moving-average": ["--config", "tldr-reinforce", "--agent.baseline", "moving_average"],
    "ppo-python-reward": ["--config", "tldr-ppo", "--env.reward", f"{HERE / 'python_reward.py'}:own_words"],
}
RATES = ("start_vs_references", "trained_vs_references", "trained_vs_start")
MEASURE = {"ppo-python-reward": "own_words"}  # what a run optimises, if not gold
SMALL = {
    "agent.total_episodes": 16,
    "agent.episodes_per_iteration": 8,
    "agent.batch_size": 8,
    "env.max_new_tokens": 8,
    "evaluation.prompts": 4,
}
QUICK = [word for key, value in SMALL.items() for word in (f"--{key}", str(value))]


def run(name: str, seed: int, output: Path, scratch: Path, extra: list[str]) -> dict[str, Any]:
    """Train and evaluate one run, unless its metrics exist; return the metrics."""
    target = output / f"{name}-seed{seed}.json"
    if not target.is_file():
        folder = scratch / f"{name}-seed{seed}"
        words = ["train", *RUNS[name], "--seed", str(seed), "--output", str(folder), "--overwrite", *extra]
        if prefgym(words) != 0:
            sys.exit(f"{name} with seed {seed} failed")
        output.mkdir(parents=True, exist_ok=True)
        shutil.copy(folder / "metrics.json", target)
        if name == "ppo" and seed == 0:
            for picture in folder.glob("*.png"):
                shutil.copy(picture, output / picture.name)
    return dict(json.loads(target.read_text(encoding="utf-8")))


def row(metrics: dict[str, Any]) -> dict[str, Any]:
    """One run's figures for the table."""
    sampled, greedy = metrics["policies"], metrics["greedy"]
    figures: dict[str, Any] = {"seed": metrics["seed"], "episodes": metrics["episodes"], "seconds": metrics["seconds"]}
    for way, policies in (("sampled", sampled), ("greedy", greedy)):
        figures[way] = {
            "start_vs_references": policies["start"]["win_rate_vs_references"],
            "trained_vs_references": policies["trained"]["win_rate_vs_references"],
            "trained_vs_start": policies["trained"]["win_rate_vs_start"],
            "kl": policies["trained"]["kl"],
            "minus_start": policies["trained"]["minus_start"],
        }
    return figures


def table(results: dict[str, list[dict[str, Any]]]) -> str:
    """The Markdown table of all runs."""
    titles = ["run", "seed", "decoded", *(rate.replace("_", " ") for rate in RATES), "KL", "gain", "share of PPO's"]
    lines = [f"| {' | '.join(titles)} |", "|" + " --- |" * len(titles)]
    for name, rows in results.items():
        measure = MEASURE.get(name, "gold_score")
        peers = results.get("ppo", []) if name not in {"ppo", *MEASURE} else []
        for figures in rows:
            for way, label in (("sampled", "T = 1"), ("greedy", "greedy")):
                part = figures[way]
                gain = part["minus_start"][measure]
                cells = [name, figures["seed"], label, *(_rate(part[rate]) for rate in RATES), f"{part['kl']:.1f}"]
                cells += [f"{_difference(gain)} {measure.replace('_', ' ')}", _share(gain, peers, figures["seed"], way)]
                lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def _share(gain: dict[str, float], ppo: list[dict[str, Any]], seed: int, way: str) -> str:
    """A gain in gold as a share of PPO's with the same seed; empty without that run."""
    gains = [row[way]["minus_start"]["gold_score"]["mean"] for row in ppo if row["seed"] == seed]
    return f"{gain['mean'] / gains[0]:.2f}" if gains else ""


def _rate(rate: dict[str, float]) -> str:
    return f"{100 * rate['mean']:.1f} % ({100 * rate['low']:.1f} to {100 * rate['high']:.1f})"


def _difference(gain: dict[str, float]) -> str:
    return f"{gain['mean']:+.2f} ({gain['low']:+.2f} to {gain['high']:+.2f})"


def main() -> None:
    """Run everything that is missing and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--runs", nargs="+", choices=RUNS, default=list(RUNS))
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    scratch = Path("runs") / "benchmark-demo" if not options.quick else options.output / "runs"
    seeds = range(1 if options.quick else options.seeds)
    extra = QUICK if options.quick else []
    results = {name: [row(run(name, seed, options.output, scratch, extra)) for seed in seeds] for name in options.runs}
    (options.output / "results.json").write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    (options.output / "README.md").write_text(
        "# The demo with several seeds\n\n"
        f"`python benchmarks/demo.py --seeds {len(seeds)} --runs {' '.join(options.runs)} --output benchmarks/demo`\n\n"
        "Two CPU cores; 1.26 M parameters, vocabulary 2,048; synthetic posts, judged by gold, never used in training. "
        "Win rates and gains over the start policy: 95 % intervals over held-out posts. KL in nats. "
        "Each agent has the same number of episodes.\n\n"
        f"{table(results)}\n",
        encoding="utf-8",
    )
    print(table(results))


if __name__ == "__main__":
    main()
