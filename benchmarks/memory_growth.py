"""Whether memory grows while an agent trains: resident memory after each of many iterations, and its slope.

    python benchmarks/memory_growth.py --output benchmarks/memory_growth     500 iterations, about 15 minutes
    python benchmarks/memory_growth.py --quick --output /tmp/memory_growth   shows that it runs

PPO on the embedded posts, small iterations. The slope is that of a line through the last four fifths, by which growth
is judged, and beside it through the last half, which was added when a first result had been seen; each with the 95 %
interval that 20 blocks of iterations give. Writes results.json, README.md and a picture.
"""

from __future__ import annotations

import argparse
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
WINDOWS = {"last four fifths": 0.2, "last half": 0.5}
"""Where a line is drawn through, and the share of iterations before it."""


def slope(megabytes: list[float], skipped: float) -> dict[str, float]:
    """MB an iteration after a share of them, from block means, whose errors are nearly independent."""
    late = np.array(megabytes[round(skipped * len(megabytes)) :])
    blocks = np.array_split(np.arange(len(late)), min(BLOCKS, len(late)))
    fit = stats.linregress([block.mean() for block in blocks], [late[block].mean() for block in blocks])
    # SciPy gives no error of a line through values that are all the same: memory that stands still has none.
    half = stats.t.ppf(0.975, len(blocks) - 2) * np.nan_to_num(fit.stderr)
    return {"mean": float(fit.slope), "low": float(fit.slope - half), "high": float(fit.slope + half)}


def main() -> None:
    """Train, and watch memory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--iterations", type=int, default=500)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    iterations = 8 if options.quick else options.iterations
    megabytes: list[float] = []

    def note(agent: Any, scalars: dict[str, float]) -> None:
        megabytes.append(resident() / 1e6)

    env = gym.make("Summarize-v0", max_new_tokens=8 if options.quick else 48)
    agent = PPO("default", env, episodes_per_iteration=16, samples_per_prompt=4, batch_size=8, n_epochs=2)
    agent.learn(16 * iterations, callback=note, progress_bar=not options.quick)
    write(options.output, megabytes)


def write(folder: Path, megabytes: list[float]) -> None:
    """Write results.json, the picture and README.md; print what they say."""
    slopes = {name: slope(megabytes, skipped) for name, skipped in WINDOWS.items()}
    write_json(folder / "results.json", {"slope_mb_per_iteration": slopes, "megabytes": megabytes})
    figure, axes = plt.subplots(figsize=(6, 3.5), layout="constrained")
    axes.plot(range(1, len(megabytes) + 1), megabytes)
    axes.set(xlabel="iteration", ylabel="resident MB", ylim=(0, None))
    figure.savefig(folder / "memory.png", dpi=120)
    said = [
        f"{1000 * row['mean']:+.1f} kB an iteration ({1000 * row['low']:+.1f} to {1000 * row['high']:+.1f}) over "
        f"the {name}"
        for name, row in slopes.items()
    ]
    text = (
        f"Of {len(megabytes)} iterations: {', '.join(said)}; {megabytes[0]:.0f} MB after the first, "
        f"{megabytes[-1]:.0f} MB at the end. Growth is judged by the last four fifths; the last half was added when a "
        "first result had been seen."
    )
    page = (
        "# Memory over many iterations\n\n`python benchmarks/memory_growth.py --output benchmarks/memory_growth`\n\n"
        f"PPO, 16 episodes an iteration, the embedded model (1.26 M parameters, synthetic posts), one seed. {text}\n\n"
        "![Resident memory](memory.png)\n"
    )
    write_text(folder / "README.md", page)
    print(text)


if __name__ == "__main__":
    main()
