"""The gauntlet: every agent on the embedded world with paired seeds, equal episodes and an equal tuning budget.

    python benchmarks/gauntlet.py --output benchmarks/gauntlet --workers 2   about an hour on two cores, resumes
    python benchmarks/gauntlet.py --quick --output /tmp/gauntlet             shows that it runs

REINFORCE with each baseline, PPO, A2C, expert iteration, DPO, stock stable-baselines3 PPO and A2C, and best-of-n of the
start policy as a yardstick. First each learner's rate is chosen among the same three, with a separate seed, by proxy
reward minus KL; then every contestant runs with every seed and is judged by gold, which was not used in any training or
choice. Every run writes its own file in ``OUTPUT/runs``; the same command again makes the missing ones. A run that
fails is named at the end, and the others continue. Writes results.json, README.md and gauntlet.png.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from gauntlet_report import draw, shares_told, summarise, table, tuning_table
from gauntlet_run import BEST_OF, CONTESTANTS, KL_COEF, STOCK, Budget, run, tune
from side_by_side import Job, read, work

from prefgym.files import write_json, write_text

TUNING_SEED = 100
QUICK = Budget(episodes=8, tuning_episodes=4, rates=(1e-4, 3e-4), posts=4, tuning_posts=4, rollout=4, step=2, samples=2)
Written = dict[str, dict[int, Any]]  # contestant -> seed -> a run's output


def main() -> None:
    """Make every missing file, and write the combined results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--workers", type=int, default=2, help="parallel processes, with one thread each")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=CONTESTANTS, default=list(CONTESTANTS))
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    budget, seeds = (QUICK, range(1)) if options.quick else (Budget(), range(options.seeds))
    folder = options.output / "runs"
    check_budget(folder, budget)
    tuned, failed = choose_rates(folder, options.only, budget, options.workers)
    rates = {"start": None, **{name: tuned[name]["learning_rate"] if name in tuned else None for name in options.only}}
    ready = [name for name in rates if rates[name] or name in ("start", *BEST_OF)]
    files = {(name, seed): folder / f"{stem(name)}-seed{seed}.json" for name in ready for seed in seeds}
    order = sorted(files, key=lambda who: (who[1], who[0] not in STOCK))  # the slowest of each seed first
    jobs = [Job(files[name, seed], run, (name, seed, rates[name], budget)) for name, seed in order]
    failed |= work(jobs, options.workers, "runs")
    runs: Written = {}
    for (name, seed), file in files.items():
        if file.is_file() and files["start", seed].is_file():
            runs.setdefault(name, {})[seed] = read(file)
    if len(runs) > 1:
        write(options.output, f"--workers {options.workers}", budget, runs, tuned, failed)
    for name, error in failed.items():
        print(f"\n{name} failed:\n{error}", file=sys.stderr)
    sys.exit(1 if failed else 0)


def check_budget(folder: Path, budget: Budget) -> None:
    """Record the budget of the runs in a folder; exit if it has runs with another budget."""
    file, now = folder / "budget.json", json.loads(json.dumps(asdict(budget)))
    if file.is_file() and read(file) != now:
        sys.exit(f"{folder} holds runs with another budget (budget.json); give another --output.")
    write_json(file, now)


def choose_rates(
    folder: Path, names: list[str], budget: Budget, workers: int
) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """The results of each learner's tuning, and what failed."""
    files = {name: folder / f"tuning-{stem(name)}.json" for name in names if name not in BEST_OF}
    order = sorted(files, key=lambda name: name not in STOCK)
    failed = work([Job(files[name], tune, (name, TUNING_SEED, budget)) for name in order], workers, "tuning")
    return {name: read(file) for name, file in files.items() if file.is_file()}, failed


def stem(name: str) -> str:
    """A contestant's name for use in file names."""
    return name.replace(" ", "-")


def write(
    output: Path, words: str, budget: Budget, runs: Written, tuned: dict[str, Any], failed: dict[str, str]
) -> None:
    """Write results.json, the picture and README.md; print the table."""
    found = summarise(runs)
    whole = {"budget": asdict(budget), "kl_coef": KL_COEF, **found, "tuning": tuned, "failed": failed}
    write_json(output / "results.json", whole)
    seeds = len(runs["start"])
    facts = f"{seeds} seeds, {budget.episodes} episodes each, {budget.posts} held-out synthetic posts"
    draw(found, output / "gauntlet.png", f"{facts}; 1.26 M parameters, β = {KL_COEF}; judge: gold")
    missing = f"\n\nFailed, and therefore missing: {', '.join(failed)}." if failed else ""
    command = f"python benchmarks/gauntlet.py --output benchmarks/gauntlet {words}"
    write_text(output / "README.md", page(command, budget, seeds, found, tuned) + missing)
    print(table(found), shares_told(found), sep="\n\n")


def page(command: str, budget: Budget, seeds: int, found: dict[str, Any], tuned: dict[str, Any]) -> str:
    """The README of the results."""
    rates = ", ".join(f"{rate:g}" for rate in budget.rates)
    return f"""# The gauntlet

`{command}`

All agents on the embedded world: Summarize-v0, β = {KL_COEF}, 1.26 M parameters, vocabulary 2,048, synthetic posts.
{seeds} seeds, the same for all; {budget.episodes} episodes (stable-baselines3 counts tokens: as close to that as
its rollouts allow), {budget.samples} samples per prompt, an optimiser step for every {budget.step} episodes, PPO
with 2 epochs; learning rates fall linearly to 0. The greedy baseline writes one more response per prompt, which
is not counted. Stable-baselines3's agents use our hyperparameters. Best of n is a yardstick: of n samples of the start
policy, the one with the highest proxy score, with its KL known exactly.

Judged on {budget.posts} held-out posts at T = 1 by gold, which is not used in training or tuning. The gain is over the
start policy with the same seed on the same posts. Intervals are 95 %, over seeds and posts; "seeds above 0" counts the
seeds whose own interval, over posts, is above 0. Proxy is the preference model's score; KL in nats. Processes with one
thread ran in parallel on a shared machine, so seconds (of training, median) are only for orientation.

{table(found)}

{shares_told(found)}

Shares are of the mean gains, paired by seed and post.

![Gains, and scores against KL](gauntlet.png)

## Tuning

The same for every learner: learning rates {rates}, each with {budget.tuning_episodes} episodes and seed {TUNING_SEED},
which is not one of the seeds above. The best by proxy reward minus KL on {budget.tuning_posts} validation posts, in
bold, was taken; gold was not used. Nothing else was tuned: the rest is as in `configs/tldr-ppo.yaml`.

{tuning_table(tuned)}
"""


if __name__ == "__main__":
    main()
