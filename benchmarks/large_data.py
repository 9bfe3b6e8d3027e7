"""How long 100,000 rows take until training begins, what is shown meanwhile, and how much memory it needs.

    python benchmarks/large_data.py --output benchmarks/large_data     3 commands, some minutes
    python benchmarks/large_data.py --quick --output /tmp/large_data   shows that it runs

`prefgym train`, `sft` and `reward` with default options read a file of made-up rows: beginnings of embedded posts, all
different. Each runs in its own process and is stopped where its first training step would begin. Measured from the
start of the process: seconds and CPU seconds until then, the longest time without output, and peak memory. Writes
results.json and README.md.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from prefgym.files import write_json, write_text

COMMANDS = {
    "train": ["--env.reward", "length", "--data.prompts"],
    "sft": ["--data.pairs"],
    "reward": ["--data.comparisons"],
}
"""Command -> the options before the file."""
WORDS = 40
POSTS = 2_000
"""Different posts; rows that begin alike end with different numbers."""


def main() -> None:
    """Measure all commands, each in its own process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/large_data"))
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--child", nargs=3, metavar=("COMMAND", "FILE", "FOUND"), help="what such a process does")
    options = parser.parse_args()
    if options.child:
        command, file, found = options.child
        write_json(Path(found), until_training(command, file))
        return
    rows = 100 if options.quick else options.rows
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rows.jsonl"
        tokens = write_rows(file, rows)
        measure: Callable[[str, str], dict[str, Any]] = until_training if options.quick else watched
        runs = {command: measure(command, str(file)) for command in COMMANDS}
    write(options.output, {"rows": rows, "tokens": tokens, "load": os.getloadavg()[0], "runs": runs})


def write_rows(file: Path, count: int) -> dict[str, float]:
    """Write prompts with a reference, an answer and two responses; the mean tokens of a prompt and of a response."""
    from prefgym.data.world import post
    from prefgym.models.language_model import LanguageModel

    posts = [post("train", 3_000_000 + index) for index in range(min(count, POSTS))]
    rows = []
    for index in range(count):
        made, other = posts[index % len(posts)], posts[(index * 7 + 1) % len(posts)]
        prompt = f"{' '.join(made.text.split()[:WORDS])} Case {index}."
        better, worse = f"{made.reference} {index}.", f"{other.reference} Or {index}."
        rows.append({"prompt": prompt, "reference": better, "completion": better, "chosen": better, "rejected": worse})
    write_text(file, "".join(json.dumps(row) + "\n" for row in rows))
    model, some = LanguageModel.load("embedded"), rows[:200]
    mean = {name: sum(len(model.encode(row[name])) for row in some) / len(some) for name in ("prompt", "completion")}
    return {"prompt": mean["prompt"], "response": mean["completion"]}


def until_training(command: str, file: str) -> dict[str, Any]:
    """Run a command until its first training step would begin; gives the seconds and the peak memory."""
    import transformers

    from prefgym import cli
    from prefgym.agents.base import PolicyGradient

    began, found = time.perf_counter(), dict[str, Any]()

    def begin(*given: Any, **options: Any) -> None:
        used = resource.getrusage(resource.RUSAGE_SELF)
        unit = 1 if sys.platform == "darwin" else 1024  # bytes on macOS, KiB elsewhere
        found.update(
            seconds=time.perf_counter() - began,
            cpu_seconds=used.ru_utime + used.ru_stime,
            longest_silence=0.0,  # known to the outside observer
            gib=used.ru_maxrss * unit / 2**30,
        )
        raise KeyboardInterrupt

    kept = transformers.Trainer.training_step, PolicyGradient.learn
    transformers.Trainer.training_step = PolicyGradient.learn = begin  # type: ignore[method-assign, assignment]
    try:
        with tempfile.TemporaryDirectory() as folder:
            cli.main([command, *COMMANDS[command], file, "--output", str(Path(folder) / "run")])
    finally:
        transformers.Trainer.training_step, PolicyGradient.learn = kept  # type: ignore[method-assign]
    if not found:
        raise RuntimeError(f"prefgym {command} ended without training")
    return found


def watched(command: str, file: str) -> dict[str, Any]:
    """The same in a separate process, from its start, with the longest silence on its outputs."""
    began = last = time.perf_counter()
    silence = 0.0
    said = b""
    found = Path(file).with_name(f"{command}.json")
    words = [sys.executable, __file__, "--child", command, file, str(found)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        assert process.stdout is not None
        while some := os.read(process.stdout.fileno(), 65536):
            now = time.perf_counter()
            silence, last = max(silence, now - last), now
            said += some
    if process.returncode:
        raise RuntimeError(said.decode(errors="replace")[-2000:])
    return {**json.loads(found.read_text("utf-8")), "seconds": last - began, "longest_silence": silence}


def write(folder: Path, results: dict[str, Any]) -> None:
    """Write results.json and README.md; print the table."""
    write_json(folder / "results.json", results)
    table = "\n".join(
        f"| `prefgym {command}` | {run['seconds']:.0f} | {run['cpu_seconds']:.0f} | "
        f"{run['longest_silence']:.0f} | {run['gib']:.2f} |"
        for command, run in results["runs"].items()
    )
    page = (
        "# Large data files\n\n`python benchmarks/large_data.py --output benchmarks/large_data`\n\n"
        f"{results['rows']:,} rows (JSON Lines, synthetic), about {results['tokens']['prompt']:.0f} tokens per prompt "
        f"and {results['tokens']['response']:.0f} per response, all different; the embedded model and default options; "
        f"{os.cpu_count()} CPU cores, load average {results['load']:.1f} at the end (above the number of cores, other "
        "programs took part of them; CPU seconds count only ours). Measured from the start of the process to the "
        "first training step; for `reward`, the first step of the first cross-validation fold.\n\n"
        "| command | seconds | CPU seconds | longest time without output, s | memory, GiB |\n|---|---|---|---|---|\n"
        f"{table}\n"
    )
    write_text(folder / "README.md", page)
    print(table)


if __name__ == "__main__":
    main()
