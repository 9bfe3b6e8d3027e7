"""A long training run with all its output: how memory, files and open handles grow over 10,000 episodes.

    python -m benchmarks.torture.soak --output benchmarks/torture

`prefgym train` with PPO's preset at the embedded size (1.26 M parameters, synthetic posts, seed 0), a checkpoint every
fifth iteration. Writes soak.json and SOAK.md.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.memory_growth import resident, slope
from prefgym import cli
from prefgym.agents.monitor import Monitor
from prefgym.files import write_json, write_text

EPISODES = 10_000


def main() -> None:
    """Train and watch."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--episodes", type=int, default=EPISODES)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        megabytes, handles = watched(Path(folder) / "run", options.episodes)
        kept = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file()) / 1e6
    found = {"episodes": options.episodes, "megabytes": megabytes, "handles": handles, "slope": slope(megabytes)}
    write_json(options.output / "soak.json", found)
    write_text(options.output / "SOAK.md", page(found, kept))
    print(page(found, kept))


def watched(folder: Path, episodes: int) -> tuple[list[float], list[int]]:
    """Resident memory in MB and open files after each iteration of a run."""
    megabytes: list[float] = []
    handles: list[int] = []
    log = Monitor.log

    def note(monitor: Monitor, *given: Any) -> None:
        log(monitor, *given)
        megabytes.append(resident() / 1e6)
        handles.append(len(os.listdir("/proc/self/fd")))

    Monitor.log = note  # type: ignore[method-assign]
    words = ["--config", "tldr-ppo", "--evaluation.prompts", "0", "--agent.save_every", "5", "--output", str(folder)]
    try:
        code = cli.main(["train", *words, "--agent.total_episodes", str(episodes)])
    finally:
        Monitor.log = log  # type: ignore[method-assign]
    if code:
        raise SystemExit(code)
    return megabytes, handles


def page(found: dict[str, Any], kept: float) -> str:
    """The results, as Markdown."""
    memory, grown, handles = found["megabytes"], found["slope"], found["handles"]
    mean, low, high = (1000 * grown[name] for name in ("mean", "low", "high"))
    return (
        "# Soak\n\n`python -m benchmarks.torture.soak --output benchmarks/torture`\n\n"
        f"`prefgym train --config tldr-ppo`, {found['episodes']:,} episodes in {len(memory)} iterations at the "
        "embedded size (1.26 M parameters, synthetic posts, seed 0), a checkpoint every fifth iteration, on two CPU "
        "cores shared with other work. The slope is that of the last four fifths, with its 95 % interval over 20 "
        "blocks.\n\n"
        "| resident memory after the first iteration | at the end | slope | open files, most | run folder at the end "
        "|\n|---|---|---|---|---|\n"
        f"| {memory[0]:.0f} MB | {memory[-1]:.0f} MB | {mean:+.0f} kB per iteration [{low:+.0f}, {high:+.0f}] | "
        f"{max(handles)} | {kept:.0f} MB |\n"
    )


if __name__ == "__main__":
    main()
