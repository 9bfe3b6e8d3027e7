"""Seconds of a training iteration, compared with TRL and with the floor: the models' own work and nothing else.

    python benchmarks/throughput.py --output benchmarks/throughput                 about 35 minutes on two cores
    python benchmarks/throughput.py --output DIR --shape neox-160m --device cuda   the larger shape, on a GPU
    python benchmarks/throughput.py --output DIR --shape smollm2-135m --weights SMOLLM2 --rounds 1
                                                     a model of real size, 8 samples a prompt
    python benchmarks/throughput.py --quick --output /tmp/throughput               shows that it runs, without TRL

TRL runs in virtual environments that this script makes, with the same version of torch. Writes results.json, README.md
and a picture.
"""

from __future__ import annotations

import argparse
import json
import os
import runpy
import statistics
import subprocess
import sys
import venv
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import matplotlib
import torch
import transformers
from workload import SHAPES, make_workload

matplotlib.use("Agg")
import matplotlib.pyplot as plt

HERE = Path(__file__).resolve().parent
COMMAND = "python benchmarks/throughput.py --output benchmarks/throughput"
ABOUT = (
    "Two workloads: W1, every response has 48 tokens; W2, a response ends about every 24 tokens, after 48 at most. 64 "
    "episodes per iteration; PPO with 4 epochs in minibatches of 16. Every contestant runs in its "
    "own process, in several rounds, as a machine's speed drifts. Seconds are medians, with the fastest and the "
    "slowest iteration; the peak is of memory above the level after loading. n is samples per prompt. "
    "`ppo_*_against_shared_trunk` compares with TRL's time if policy and value shared a trunk, estimated "
    "from its parts; `*_memory` is our peak as a share of theirs; `*_over_floor` is time over the floor: every "
    "forward and backward pass of the models once, with prompts shared too, and nothing else."
)
NOT_RUN = (
    "AgileRL's REINFORCE and PPO for language models are not compared: on Linux they refuse to start unless vllm, "
    "deepspeed, liger-kernel and bitsandbytes are installed (agilerl[llm], 2026-08-20), which need a GPU."
)
WORKLOADS = {"w1": None, "w2": 24}  # tokens to the end of a response, on average
TRL = {"trl-1.12": "trl==1.12.0", "trl-1.16": "trl==1.16.0"}


@dataclass(frozen=True)
class Contestant:
    """A script, its environment, and its arguments."""

    script: str
    method: str
    samples: int = 1
    venv: str | None = None
    options: dict[str, str] = field(default_factory=dict)


CONTESTANTS = {
    "TRL PPO": Contestant("trl_ppo", "ppo", venv="trl-1.12"),
    "TRL RLOO, n = 4": Contestant("trl_group", "rloo", 4, "trl-1.16"),
    "TRL GRPO, n = 4": Contestant("trl_group", "grpo", 4, "trl-1.16"),
    "PPO": Contestant("ours", "ppo"),
    "PPO, n = 8": Contestant("ours", "ppo", 8),
    "PPO, separate value trunk": Contestant("ours", "ppo", options={"value-trunk": "separate"}),
    "PPO, bf16": Contestant("ours", "ppo", options={"precision": "bf16"}),
    "PPO, n = 8, bf16": Contestant("ours", "ppo", 8, options={"precision": "bf16"}),
    "REINFORCE, n = 4": Contestant("ours", "reinforce", 4),
    "floor of PPO": Contestant("floor", "ppo"),
    "floor of PPO, n = 8": Contestant("floor", "ppo", 8),
    "floor of REINFORCE, n = 4": Contestant("floor", "reinforce", 4),
}
LARGE = {  # of a shape of real size: 8 samples a prompt, and batches that TRL has by default and that suit it best
    "TRL RLOO, n = 8, batches of 8": Contestant("trl_group", "rloo", 8, "trl-1.16", {"minibatch": "8"}),
    "TRL GRPO, n = 8, batches of 8": Contestant("trl_group", "grpo", 8, "trl-1.16", {"minibatch": "8"}),
    "TRL GRPO, n = 8, batches of 32": Contestant("trl_group", "grpo", 8, "trl-1.16", {"minibatch": "32"}),
    "TRL GRPO, n = 8, batches of 8, bf16": Contestant(
        "trl_group", "grpo", 8, "trl-1.16", {"minibatch": "8", "precision": "bf16"}
    ),
    "REINFORCE, n = 8": Contestant("ours", "reinforce", 8, options={"minibatch": "8"}),
    "REINFORCE, n = 8, bf16": Contestant("ours", "reinforce", 8, options={"minibatch": "8", "precision": "bf16"}),
    "floor of REINFORCE, n = 8": Contestant("floor", "reinforce", 8, options={"minibatch": "8"}),
}
CONTESTANTS |= LARGE
PROMPT_TOKENS = {"smollm2-135m": 200}
RATIOS = {  # name -> (slower, timed)
    "ppo_n1": ("TRL PPO", "PPO"),
    "ppo_n8": ("TRL PPO", "PPO, n = 8"),
    "ppo_n1_separate_trunk": ("TRL PPO", "PPO, separate value trunk"),
    "ppo_n1_bf16": ("TRL PPO", "PPO, bf16"),
    "ppo_n8_bf16": ("TRL PPO", "PPO, n = 8, bf16"),
    "rloo_n4": ("TRL RLOO, n = 4", "REINFORCE, n = 4"),
    "grpo_n4": ("TRL GRPO, n = 4", "REINFORCE, n = 4"),
    "ppo_n1_over_floor": ("PPO", "floor of PPO"),
    "ppo_n8_over_floor": ("PPO, n = 8", "floor of PPO, n = 8"),
    "reinforce_n4_over_floor": ("REINFORCE, n = 4", "floor of REINFORCE, n = 4"),
    "rloo_n8": ("TRL RLOO, n = 8, batches of 8", "REINFORCE, n = 8"),
    "grpo_n8": ("TRL GRPO, n = 8, batches of 8", "REINFORCE, n = 8"),
    "grpo_n8_batches_of_32": ("TRL GRPO, n = 8, batches of 32", "REINFORCE, n = 8"),
    "grpo_n8_bf16": ("TRL GRPO, n = 8, batches of 8, bf16", "REINFORCE, n = 8, bf16"),
    "reinforce_n8_over_floor": ("REINFORCE, n = 8", "floor of REINFORCE, n = 8"),
}
MEMORY = {  # name -> (whose peak, as a share of whose)
    "ppo_n1_memory": ("PPO", "TRL PPO"),
    "ppo_n8_memory": ("PPO, n = 8", "TRL PPO"),
    "rloo_n4_memory": ("REINFORCE, n = 4", "TRL RLOO, n = 4"),
    "grpo_n4_memory": ("REINFORCE, n = 4", "TRL GRPO, n = 4"),
    "rloo_n8_memory": ("REINFORCE, n = 8", "TRL RLOO, n = 8, batches of 8"),
    "grpo_n8_memory": ("REINFORCE, n = 8", "TRL GRPO, n = 8, batches of 8"),
    "grpo_n8_batches_of_32_memory": ("REINFORCE, n = 8", "TRL GRPO, n = 8, batches of 32"),
}
SMALL = {"episodes": 8, "minibatch": 4, "epochs": 2, "new-tokens": 6, "prompt-tokens": 12, "iterations": 1}
QUICK = ["PPO", "PPO, n = 8", "floor of PPO, n = 8"]
Results = dict[str, dict[str, dict[str, Any]]]  # contestant -> workload -> what it measured


def python_of(name: str | None, home: Path) -> Path:
    """Return the interpreter of a virtual environment, created if missing; None is this one."""
    if name is None:
        return Path(sys.executable)
    python = home / name / "bin" / "python"
    if not (home / name / "ready").is_file():
        print(f"making the virtual environment {home / name}", flush=True)
        venv.create(home / name, with_pip=True, clear=True)
        same = [f"torch=={torch.__version__.partition('+')[0]}", f"transformers=={transformers.__version__}"]
        for packages in (same[:1], [TRL[name], same[1]]):
            subprocess.run([python, "-m", "pip", "install", "--quiet", *packages], check=True)
        (home / name / "ready").touch()
    return python


def command_line(contestant: Contestant, workload: Path, options: dict[str, Any], result: Path) -> list[str]:
    """A contestant's script and its arguments."""
    words = {"workload": workload, "result": result, "method": contestant.method, "samples": contestant.samples}
    words |= options | contestant.options
    script = HERE / "contestants" / f"{contestant.script}.py"
    return [str(script), *(text for name, value in words.items() for text in (f"--{name}", str(value)))]


def measure_here(
    contestant: Contestant, workload: Path, options: dict[str, Any], python: Path, result: Path
) -> dict[str, Any]:
    """Like ``measure``, but in this process, without re-imports; its memory is not a fair starting point."""
    words = command_line(contestant, workload, options, result)
    with patch.object(sys, "argv", words), patch.object(sys, "path", [str(HERE / "contestants"), *sys.path]):
        runpy.run_path(words[0], run_name="__main__")
    return dict(json.loads(result.read_text(encoding="utf-8")))


def measure(
    contestant: Contestant, workload: Path, options: dict[str, Any], python: Path, result: Path
) -> dict[str, Any]:
    """Run one contestant in its own process; gives its results."""
    result.unlink(missing_ok=True)
    command = [python, *command_line(contestant, workload, options, result)]
    quiet = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(command, env=quiet, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{contestant} failed:\n{done.stderr[-3000:]}")
    return dict(json.loads(result.read_text(encoding="utf-8")))


def remembered(kept: Path, what: list[Any], run: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What was measured under this name and kept in a file, or else is now."""
    for line in kept.read_text(encoding="utf-8").splitlines() if kept.is_file() else []:
        if (row := json.loads(line))["what"] == what:
            return dict(row["measured"])
    now = run()
    with kept.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"what": what, "measured": now}) + "\n")
    return now


def merge(before: dict[str, Any] | None, now: dict[str, Any]) -> dict[str, Any]:
    """Combine the rounds of one contestant: all seconds, the parts of the last round, the highest peak."""
    if before is None:
        return now
    return {
        **now,
        "seconds": before["seconds"] + now["seconds"],
        "peak_bytes": max(before["peak_bytes"], now["peak_bytes"]),
    }


def ratios(results: Results) -> dict[str, dict[str, float]]:
    """Return how many times as long the first of each pair took, by workload, without pairs that were not run."""
    found: dict[str, dict[str, float]] = {}
    for name, pair in RATIOS.items():
        if all(who in results for who in pair):
            found[name] = {w: median(results[pair[0]][w]) / median(results[pair[1]][w]) for w in results[pair[0]]}
    for name, (who, other) in MEMORY.items():
        if {who, other} <= set(results):
            found[name] = {w: row["peak_bytes"] / results[other][w]["peak_bytes"] for w, row in results[who].items()}
    if "TRL PPO" in results:
        for name, who in (("ppo_n1_against_shared_trunk", "PPO"), ("ppo_n8_against_shared_trunk", "PPO, n = 8")):
            found[name] = {w: shared_trunk(results["TRL PPO"][w]) / median(results[who][w]) for w in results[who]}
    if {"rloo_n4", "grpo_n4"} <= set(found):
        found["reinforce_n4"] = {w: min(found["rloo_n4"][w], found["grpo_n4"][w]) for w in found["rloo_n4"]}
    return found


def shared_trunk(row: dict[str, Any]) -> float:
    """Estimate TRL's seconds if policy and value had one trunk.

    The value trunk's forward passes are removed, and its part of the backward pass, in proportion to the update's.
    """
    parts = row["parts"]
    value, policy = parts["value forward (update)"], parts["policy forward (update)"]
    saved = value + parts["value forward (rollout)"] + parts["backward"] * value / (value + policy)
    return median(row) - saved


def median(row: dict[str, Any]) -> float:
    """Median seconds of an iteration."""
    return statistics.median(row["seconds"])


def table(results: Results, found: dict[str, dict[str, float]]) -> str:
    """The Markdown tables: seconds and memory of each contestant, then the ratios."""
    workloads = list(next(iter(results.values())))
    head = ["contestant", *(f"{w.upper()}: seconds, peak MB" for w in workloads)]
    lines = [f"| {' | '.join(head)} |", "|" + " --- |" * len(head)]
    for name, rows in results.items():
        cells = [
            f"{median(rows[w]):.2f} ({min(rows[w]['seconds']):.2f} to {max(rows[w]['seconds']):.2f}), "
            f"{rows[w]['peak_bytes'] / 1e6:.0f}"
            for w in workloads
        ]
        lines.append(f"| {' | '.join([name, *cells])} |")
    lines += [
        "",
        f"| ratio of medians | {' | '.join(w.upper() for w in workloads)} |",
        "|" + " --- |" * (1 + len(workloads)),
    ]
    lines += [f"| {name} | {' | '.join(f'{row[w]:.2f}' for w in workloads)} |" for name, row in found.items()]
    return "\n".join(lines)


def rounding(results: Results) -> str:
    """The Markdown table of how far the update's log-probs are from those of sampling, before any step."""
    rows = {name: found for name, found in results.items() if all("log_ratio" in row for row in found.values())}
    workloads = list(next(iter(results.values())))
    lines = [
        f"| abs(log ratio) before any step: mean, largest | {' | '.join(w.upper() for w in workloads)} |",
        "|" + " --- |" * (1 + len(workloads)),
    ]
    for name, found in rows.items():
        cells = [f"{found[w]['log_ratio']['mean']:.1e}, {found[w]['log_ratio']['max']:.1e}" for w in workloads]
        lines.append(f"| {' | '.join([name, *cells])} |")
    return "\n".join(lines)


def draw(results: Results, path: Path) -> None:
    """Bars of an iteration's parts, one per contestant that reports them."""
    workloads = list(next(iter(results.values())))
    figure, axes = plt.subplots(1, len(workloads), figsize=(6 * len(workloads), 0.4 * len(results) + 1.5), sharey=True)
    names = list(results)
    parts = list(
        dict.fromkeys(part for rows in results.values() for row in rows.values() for part in row.get("parts", {}))
    )
    colours = dict(zip(parts, plt.get_cmap("tab20").colors, strict=False))
    for axis, workload in zip(figure.axes if len(workloads) > 1 else [axes], workloads, strict=True):
        for place, name in enumerate(names):
            row, left = results[name][workload], 0.0
            for part, seconds in row.get("parts", {}).items():
                axis.barh(place, seconds, left=left, color=colours[part], label=part)
                left += seconds
            axis.barh(place, max(0.0, median(row) - left), left=left, color="lightgray", label="everything else")
        axis.set(yticks=range(len(names)), yticklabels=names, xlabel="seconds an iteration", title=workload.upper())
    figure.axes[0].invert_yaxis()  # of all: they share it
    handles = {label: h for a in figure.axes for h, label in zip(*a.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=4, fontsize=8)
    figure.set_layout_engine("constrained")
    figure.savefig(path, dpi=120)
    plt.close(figure)


def stepping(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Tokens per second of ``step()``, of a bare decoding loop and of one that re-reads the prefix."""
    told = (
        {**SMALL, "device": options.device}
        if options.quick
        else {"iterations": 3, "new-tokens": 64, "device": options.device}
    )
    contestant = Contestant("stepping", "step")
    timed = measure_here if options.quick else measure
    measured = timed(contestant, folder / "w1", told, Path(sys.executable), folder / "stepping.json")
    seconds = {name: statistics.median(values or [float("nan")]) for name, values in measured["seconds"].items()}
    return {
        "seconds": seconds,
        "share_of_bare": seconds["bare"] / seconds["step"],
        "times_recompute": seconds["recompute"] / seconds["step"],
    }


def main() -> None:
    """Measure, and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--shape", choices=SHAPES, default="llama-3m")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=3, help="rounds per contestant")
    parser.add_argument("--iterations", type=int, default=2, help="timed iterations per round")
    parser.add_argument("--only", nargs="+", choices=CONTESTANTS, help="default: those that suit the shape")
    parser.add_argument("--weights", type=Path, help="folder with a model of the shape (default: random weights)")
    parser.add_argument("--venvs", type=Path, default=Path("runs/venvs"), help="where TRL is installed")
    parser.add_argument("--resume", action="store_true", help="keep what was measured before it was stopped")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    scratch = options.output / "runs" if options.quick else Path("runs") / "throughput"
    scratch.mkdir(parents=True, exist_ok=True)
    options.output.mkdir(parents=True, exist_ok=True)
    shape = "tiny" if options.quick else options.shape
    told: dict[str, Any] = SMALL if options.quick else {"iterations": options.iterations}
    large = shape in PROMPT_TOKENS
    if large:
        told["prompt-tokens"] = PROMPT_TOKENS[shape]
    suited = [name for name in CONTESTANTS if (name in LARGE) == large]
    names = QUICK if options.quick else options.only or suited
    timed = measure_here if options.quick else measure
    workloads = ["w1"] if options.quick or large else list(WORKLOADS)
    for workload in workloads:
        given = (WORKLOADS[workload], told.get("prompt-tokens", 128))
        make_workload(scratch / shape / workload, SHAPES[shape], *given, weights=options.weights)
    results: Results = {name: {} for name in names}
    kept = scratch / shape / "measured.jsonl"
    if not options.resume:
        kept.unlink(missing_ok=True)
    for number in range(1 if options.quick else options.rounds):
        for workload in workloads:
            for name in names:
                contestant, folder = CONTESTANTS[name], scratch / shape / workload
                python = python_of(contestant.venv, options.venvs.resolve())
                given = (contestant, folder, {**told, "device": options.device}, python, scratch / "result.json")
                now = remembered(kept, [number, workload, name], partial(timed, *given))
                results[name][workload] = merge(results[name].get(workload), now)
                print(f"{workload} {name}: {statistics.median(now['seconds']):.2f} s", flush=True)
    found = ratios(results)
    steps = None if large else stepping(options, scratch / shape)
    if steps is not None:
        found["step_share_of_bare"] = {"w1": steps["share_of_bare"]}
        found["step_times_recompute"] = {"w1": steps["times_recompute"]}
    write(options, shape, results, found, steps)


def write(
    options: argparse.Namespace,
    shape: str,
    results: Results,
    found: dict[str, dict[str, float]],
    steps: dict[str, Any] | None,
) -> None:
    """Write results.json, the picture and README.md; print the tables."""
    text = table(results, {name: row for name, row in found.items() if not name.startswith("step_")})
    about = {"shape": shape, "device": options.device, "torch": torch.__version__, "threads": torch.get_num_threads()}
    whole = {"about": about, "ratios": found, "stepping": steps, "contestants": results}
    (options.output / "results.json").write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")
    draw(results, options.output / "parts.png")
    weights = "random weights" if options.weights is None else f"weights of {options.weights.name}"
    page = (
        f"# Seconds of a training iteration\n\n`{COMMAND} --shape {shape} --device {options.device}`\n\n{ABOUT} "
        f"Shape {shape}, {weights}, prompts of {PROMPT_TOKENS.get(shape, 128)} tokens; device {options.device}, "
        f"{about['threads']} threads, torch {about['torch']}; fp32 unless stated otherwise. {NOT_RUN}\n\n{text}\n\n"
        f"The effect of bf16 on the probability ratios that PPO clips:\n\n{rounding(results)}\n\n"
        f"{'' if steps is None else stepping_told(steps)}"
        "![Where the time goes](parts.png)\n"
    )
    (options.output / "README.md").write_text(page, encoding="utf-8")
    print(text)


def stepping_told(steps: dict[str, Any]) -> str:
    """The sentence about ``step()``."""
    return (
        f"`step()` of the native vector environment with a policy: {100 * steps['share_of_bare']:.0f} % of the tokens "
        "per second of a bare loop that decodes policy and reference, and "
        f"{steps['times_recompute']:.1f} times those of a loop that re-reads the prefix for each token.\n\n"
    )


if __name__ == "__main__":
    main()
