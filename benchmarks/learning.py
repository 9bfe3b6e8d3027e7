"""Whether speed costs learning: gold after equal episodes, with and without what makes a step fast.

    python benchmarks/learning.py --seeds 5 --output benchmarks/learning     about 50 minutes on two cores, resumes
    python benchmarks/learning.py --quick --output /tmp/learning             shows that it runs

The demo's PPO (a prompt read once for its samples, one trunk for policy and value), the same with every row read
separately, and with a separate value trunk. Differences are paired by seed. Writes one JSON per run, results.json and
README.md. The data are synthetic; gold judges and is never used in training.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from demo import QUICK
from scipy import stats

from prefgym.cli import main as prefgym

VARIANTS: dict[str, list[str]] = {
    "shared": [],
    "plain": [],
    "separate value trunk": ["--agent.value_trunk", "separate"],
}


def run(variant: str, seed: int, output: Path, scratch: Path, extra: list[str]) -> dict[str, Any]:
    """Train and evaluate one run, unless its metrics exist; return the metrics."""
    name = f"{variant.replace(' ', '-')}-seed{seed}"
    target = output / f"{name}.json"
    if not target.is_file():
        words = ["train", "--config", "tldr-ppo", *VARIANTS[variant], *extra]
        words += ["--seed", str(seed), "--overwrite"]
        plain = patch("prefgym.models.forward.shares_prompts", lambda model, columns: False)
        with plain if variant == "plain" else nullcontext():
            if prefgym([*words, "--output", str(scratch / name)]) != 0:
                sys.exit(f"{name} failed")
        output.mkdir(parents=True, exist_ok=True)
        shutil.copy(scratch / name / "metrics.json", target)
    return dict(json.loads(target.read_text(encoding="utf-8")))


def gold(metrics: dict[str, Any]) -> float:
    """Mean gold score of the trained policy, sampled at T = 1."""
    return float(metrics["policies"]["trained"]["gold_score"])


def difference(first: list[float], second: list[float]) -> dict[str, float]:
    """Mean of the paired differences with its 95 % interval (t distribution over seeds)."""
    d = np.subtract(first, second)
    half = stats.t.ppf(0.975, len(d) - 1) * d.std(ddof=1) / np.sqrt(len(d)) if len(d) > 1 else float("nan")
    return {"mean": float(d.mean()), "low": float(d.mean() - half), "high": float(d.mean() + half)}


def main() -> None:
    """Run everything that is missing and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    scratch = options.output / "runs" if options.quick else Path("runs") / "learning"
    seeds = range(1 if options.quick else options.seeds)
    extra = QUICK if options.quick else []
    rows = {name: [run(name, seed, options.output, scratch, extra) for seed in seeds] for name in VARIANTS}
    scores = {name: [gold(metrics) for metrics in runs] for name, runs in rows.items()}
    results = {
        name: {
            "gold": scores[name],
            "seconds": [metrics["seconds"] for metrics in rows[name]],
            "shared_minus_this": difference(scores["shared"], scores[name]),
        }
        for name in VARIANTS
    }
    (options.output / "results.json").write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    lines = ["| PPO | gold, T = 1 (mean over seeds) | seconds of training | shared minus this |", "|" + " --- |" * 4]
    for name, row in results.items():
        d = row["shared_minus_this"]
        interval = "" if name == "shared" else f"{d['mean']:+.3f} ({d['low']:+.3f} to {d['high']:+.3f})"
        lines.append(f"| {name} | {np.mean(row['gold']):.3f} | {np.median(row['seconds']):.0f} | {interval} |")
    table = "\n".join(lines)
    (options.output / "README.md").write_text(
        "# Learning after equal episodes\n\n"
        f"`python benchmarks/learning.py --seeds {len(seeds)} --output benchmarks/learning`\n\n"
        "Two CPU cores; 1.26 M parameters; synthetic posts judged by gold, which is never used in training; "
        f"{len(seeds)} seeds, differences paired by seed with their 95 % interval (t distribution). *shared* is the "
        "demo's PPO: a prompt is read once for its samples, and policy and value share one trunk. *plain* reads every "
        f"row separately, *separate value trunk* gives the value its own trunk. Runs may have shared "
        f"the machine, so the seconds are not comparable.\n\n{table}\n",
        encoding="utf-8",
    )
    print(table)


if __name__ == "__main__":
    main()
