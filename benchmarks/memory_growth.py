"""Whether memory grows while an agent trains: resident memory after each of many iterations, and its slope.

    python benchmarks/memory_growth.py --output benchmarks/memory_growth     3 runs of 500 iterations, 15 minutes
    python benchmarks/memory_growth.py --quick --output /tmp/memory_growth   shows that it runs

PPO on the embedded posts, small iterations: as it learns; at a learning rate of almost zero, where response lengths do
not change; and the same again with free memory of the C library returned to the system after each iteration, so that
only memory in use is counted. The slope is that of a line through the last four fifths, with a 95 % interval from 20
blocks of iterations. Writes results.json, README.md and a picture.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import sys
from pathlib import Path
from typing import Any

import gymnasium as gym
import matplotlib
import numpy as np
from scipy import stats

matplotlib.use("Agg")
import matplotlib.pyplot as plt

import prefgym  # noqa: F401  (registers the environments)
from prefgym.agents import PPO
from prefgym.files import write_json, write_text

sys.path.append(str(Path(__file__).parent / "contestants"))
from memory import resident

BLOCKS = 20
SKIPPED = 0.2
"""Share of the iterations before the line, while the allocator settles; fixed before anything was measured."""
STILL = 1e-12
RUNS = {
    "learning": (1e-4, False),
    "standing still": (STILL, False),
    "standing still, free memory returned": (STILL, True),
}
"""Name -> learning rate, and whether free memory is returned."""
COLOURS = ("#1f6fb2", "#d9772b", "#2f8f5b")


def slope(megabytes: list[float]) -> dict[str, float]:
    """MB an iteration, from block means, whose errors are nearly independent."""
    late = np.array(megabytes[round(SKIPPED * len(megabytes)) :])
    blocks = np.array_split(np.arange(len(late)), min(BLOCKS, len(late)))
    fit = stats.linregress([block.mean() for block in blocks], [late[block].mean() for block in blocks])
    # SciPy gives no error for a line through equal values: constant memory has none.
    half = stats.t.ppf(0.975, len(blocks) - 2) * np.nan_to_num(fit.stderr)
    return {"mean": float(fit.slope), "low": float(fit.slope - half), "high": float(fit.slope + half)}


def main() -> None:
    """Train, and watch memory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--iterations", type=int, default=500)
    parser.add_argument("--only", nargs="+", choices=RUNS, help="repeat these and keep the results of the others")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    iterations = 6 if options.quick else options.iterations
    runs = json.loads((options.output / "results.json").read_text(encoding="utf-8")) if options.only else {}
    for name in options.only or RUNS:
        runs[name] = train(*RUNS[name], iterations, options.quick)
    write(options.output, runs)


def train(learning_rate: float, returned: bool, iterations: int, quick: bool) -> dict[str, Any]:
    """Resident memory and mean response length per iteration, and the history's share of the memory."""
    megabytes: list[float] = []

    def note(agent: Any, scalars: dict[str, float]) -> None:
        if returned:
            gc.collect()
            ctypes.CDLL(None).malloc_trim(0)  # of the GNU C library
        megabytes.append(resident() / 1e6)

    episodes, samples, batch = (4, 2, 4) if quick else (16, 4, 8)
    world = {"max_new_tokens": 4, "max_prompt_tokens": 32} if quick else {"max_new_tokens": 48}
    env = gym.make("Summarize-v0", **world)
    options = {"episodes_per_iteration": episodes, "samples_per_prompt": samples, "batch_size": batch, "n_epochs": 2}
    agent = PPO("default", env, learning_rate=learning_rate, **options)
    agent.learn(episodes * iterations, callback=note, progress_bar=not quick)
    lengths = [row["rollout/response_length"] for row in agent.history]
    return {
        "slope_mb_per_iteration": slope(megabytes),
        "history_mb_per_iteration": history_size(agent.history) / len(agent.history) / 1e6,
        "megabytes": megabytes,
        "response_length": lengths,
    }


def history_size(rows: list[dict[str, float]]) -> int:
    """Bytes of the rows, their numbers and their names, each object counted once."""
    held = {id(thing): sys.getsizeof(thing) for row in rows for thing in (row, *row, *row.values())}
    return sum(held.values())


def write(folder: Path, runs: dict[str, dict[str, Any]]) -> None:
    """Write results.json, the picture and README.md; print the table."""
    write_json(folder / "results.json", runs)
    figure, axes = plt.subplots(figsize=(6, 3.5), layout="constrained")
    for colour, (name, run) in zip(COLOURS, runs.items(), strict=True):
        axes.plot(range(1, len(run["megabytes"]) + 1), run["megabytes"], color=colour, linewidth=0.9, label=name)
    axes.set(xlabel="iteration", ylabel="resident MB", ylim=(0, None))
    axes.legend(frameon=False, loc="lower right")
    figure.savefig(folder / "memory.png", dpi=120)
    table = "\n".join(
        f"| {name} | {run['megabytes'][0]:.0f} | {run['megabytes'][-1]:.0f} | {kilobytes(run)} | "
        f"{1000 * run['history_mb_per_iteration']:.1f} | {np.mean(run['response_length'][:50]):.1f} | "
        f"{np.mean(run['response_length'][-50:]):.1f} |"
        for name, run in runs.items()
    )
    page = (
        "# Memory over many iterations\n\n`python benchmarks/memory_growth.py --output benchmarks/memory_growth`\n\n"
        f"PPO, 16 episodes per iteration, the embedded model (1.26 M parameters, synthetic posts), one seed, "
        f"{len(next(iter(runs.values()))['megabytes'])} iterations. "
        "Growth is the slope over the last four fifths, with its 95 % interval; `agent.history` keeps a row of numbers "
        "per iteration, and grows accordingly.\n\n"
        "| policy | MB after the first iteration | MB at the end | growth, kB per iteration | of that `history` | "
        "tokens per response, first 50 | last 50 |\n|---|---|---|---|---|---|---|\n"
        f"{table}\n\n![Resident memory](memory.png)\n"
    )
    write_text(folder / "README.md", page)
    print(table)


def kilobytes(run: dict[str, Any]) -> str:
    """The slope in kB per iteration with its interval."""
    found = run["slope_mb_per_iteration"]
    return f"{1000 * found['mean']:+.1f} [{1000 * found['low']:+.1f}, {1000 * found['high']:+.1f}]"


if __name__ == "__main__":
    main()
