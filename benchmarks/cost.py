"""How the time and the memory of a PPO iteration grow, beside what arithmetic expects.

    python benchmarks/cost.py --output benchmarks/cost       about 25 minutes on two cores, resumes
    python benchmarks/cost.py --quick --output /tmp/cost     shows that it runs

One thing at a time is made smaller or larger than in the base: prompt, response, samples a prompt, episodes, minibatch,
model and vocabulary. Expected is the base's measurement times the ratio of the operations (or bytes) of both points.
Writes results.json, README.md, time.png and memory.png.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import matplotlib
import torch
from throughput import Contestant, measure, measure_here
from workload import Shape, make_workload

matplotlib.use("Agg")
import matplotlib.pyplot as plt

LAYERS, EPOCHS = 4, 4


@dataclass(frozen=True)
class Point:
    """One setting of everything that costs."""

    prompt: int = 128
    response: int = 48
    samples: int = 4
    episodes: int = 64
    minibatch: int = 16
    hidden: int = 256
    vocabulary: int = 2048

    @property
    def name(self) -> str:
        """A name for files."""
        return "-".join(str(value) for value in asdict(self).values())

    @property
    def trunk(self) -> int:
        """Parameters of the layers: attention 4 d^2 and a gated feed-forward part 3 d (2 d)."""
        return LAYERS * 10 * self.hidden**2

    def operations(self) -> float:
        """Multiplications and additions of an iteration.

        Two for each weight and token of a forward pass, three times that with the backward pass; a prompt counts once
        for its samples. Decoding, reference and reward are a forward pass each, every epoch one with its backward pass.
        The head runs only on response tokens, and the reward has none.
        """
        prompts, responses = self.episodes / self.samples * self.prompt, self.episodes * self.response
        looks = prompts * self.prompt / 2 + responses * (self.prompt + self.response / 2)  # pairs of query and key
        trunk = 2 * self.trunk * (prompts + responses) + 4 * LAYERS * self.hidden * looks
        head = 2 * self.hidden * self.vocabulary * responses
        return (3 + 3 * EPOCHS) * trunk + (2 + 3 * EPOCHS) * head

    def bytes(self) -> float:
        """Bytes of fp32 above the loaded models, at the highest point of an update or of a rollout.

        Gradient and Adam's two moments; in an update, of a minibatch, what the layers keep for the backward pass (14
        vectors of d and 5 of the feed-forward part for each token), keys and values of the prompts before every
        response, and the logits, their log-softmax and its gradient; in a rollout the keys and values of all episodes.
        """
        optimizer = 3 * (self.trunk + self.vocabulary * self.hidden)
        rows = min(self.minibatch, self.episodes)
        tokens = max(1.0, rows / self.samples) * self.prompt + rows * self.response
        kept = LAYERS * tokens * (14 * self.hidden + 5 * 2 * self.hidden)
        keys = LAYERS * 2 * rows * (self.prompt + self.response) * self.hidden
        logits = 3 * rows * self.response * self.vocabulary
        rollout = LAYERS * 2 * self.episodes * (self.prompt + self.response) * self.hidden
        return 4 * (optimizer + max(kept + keys + logits, rollout))


AXES: dict[str, tuple[int, ...]] = {
    "prompt": (32, 64, 128, 256, 512),
    "response": (12, 24, 48, 96, 192),
    "samples": (1, 2, 4, 8, 16),
    "episodes": (16, 32, 64, 128, 256),
    "minibatch": (4, 8, 16, 32, 64),
    "hidden": (64, 128, 256, 512),
    "vocabulary": (512, 2048, 8192, 32768),
}
QUICK_BASE = Point(12, 6, 2, 8, 4, 32, 64)
QUICK_AXES = {"prompt": (6, 12), "samples": (1, 2)}


def run(point: Point, iterations: int, scratch: Path, timed: Callable[..., dict[str, Any]]) -> dict[str, float]:
    """Seconds of an iteration and bytes above the loaded models, as ``timed`` measures them."""
    folder = scratch / f"models-{point.prompt}-{point.hidden}-{point.vocabulary}"
    shape = Shape("llama", point.hidden, LAYERS, 4, 2 * point.hidden, point.vocabulary)
    make_workload(folder, shape, None, point.prompt)
    told: dict[str, Any] = {
        "episodes": point.episodes,
        "minibatch": point.minibatch,
        "epochs": EPOCHS,
        "new-tokens": point.response,
        "prompt-tokens": point.prompt,
        "iterations": iterations,
    }
    contestant = Contestant("ours", "ppo", point.samples)
    found = timed(contestant, folder, told, Path(sys.executable), scratch / "result.json")
    return {"seconds": statistics.median(found["seconds"]), "bytes": float(found["peak_bytes"])}


def draw(
    measured: dict[str, dict[str, float]], base: Point, axes: dict[str, tuple[int, ...]], what: str, path: Path
) -> None:
    """One panel per varied quantity: measured and expected, both axes logarithmic."""
    figure, panels = plt.subplots(2, 4, figsize=(14, 6), layout="constrained")
    unit, scale = ("seconds", 1.0) if what == "seconds" else ("MB above the models", 1e-6)
    for panel, (axis, values) in zip(panels.flat, axes.items(), strict=False):
        points = [replace(base, **{axis: value}) for value in values]
        panel.plot(values, [scale * measured[p.name][what] for p in points], "o-", label="measured")
        panel.plot(values, [scale * expected(p, base, measured, what) for p in points], "--", label="expected")
        panel.set(xscale="log", yscale="log", xlabel=axis, xticks=values, xticklabels=[str(v) for v in values])
        panel.minorticks_off()
    panels.flat[0].set_ylabel(unit)
    panels.flat[0].legend()
    for panel in list(panels.flat)[len(axes) :]:
        panel.set_axis_off()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def expected(point: Point, base: Point, measured: dict[str, dict[str, float]], what: str) -> float:
    """The measurement at the base, times the calculated ratio."""
    ratio = point.operations() / base.operations() if what == "seconds" else point.bytes() / base.bytes()
    return measured[base.name][what] * ratio


def table(measured: dict[str, dict[str, float]], base: Point, axes: dict[str, tuple[int, ...]]) -> str:
    """The Markdown table of all points."""
    lines = ["| varied | value | seconds | expected | MB | expected |", "|" + " --- |" * 6]
    for axis, values in axes.items():
        for value in values:
            point = replace(base, **{axis: value})
            found = measured[point.name]
            times = f"{found['seconds']:.2f} | {expected(point, base, measured, 'seconds'):.2f}"
            sizes = f"{found['bytes'] / 1e6:.0f} | {expected(point, base, measured, 'bytes') / 1e6:.0f}"
            lines.append(f"| {axis} | {value} | {times} | {sizes} |")
    return "\n".join(lines)


def main() -> None:
    """Measure every missing point; write table and pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--iterations", type=int, default=3)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    base, axes = (QUICK_BASE, QUICK_AXES) if options.quick else (Point(), AXES)
    iterations, timed = (1, measure_here) if options.quick else (options.iterations, measure)
    scratch = options.output / "runs" if options.quick else Path("runs") / "cost"
    for folder in (options.output, scratch):
        folder.mkdir(parents=True, exist_ok=True)
    file = options.output / "results.json"
    measured = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    for point in (base, *(replace(base, **{axis: value}) for axis, values in axes.items() for value in values)):
        if point.name not in measured:
            measured[point.name] = run(point, iterations, scratch, timed)
            file.write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")
            print(f"{point}: {measured[point.name]['seconds']:.2f} s", flush=True)
    for what, name in (("seconds", "time.png"), ("bytes", "memory.png")):
        draw(measured, base, axes, what, options.output / name)
    text = table(measured, base, axes)
    (options.output / "README.md").write_text(
        "# How cost grows\n\n`python benchmarks/cost.py --output benchmarks/cost`\n\n"
        f"One PPO iteration, fp32, {torch.get_num_threads()} threads, torch {torch.__version__}; Llama shape of "
        f"{LAYERS} layers with random weights, {EPOCHS} epochs, every response as long as the budget. Base: {base}. "
        "Expected is the base's measurement times the ratio of operations or bytes (`Point.operations`, `Point.bytes`)."
        "\n\n"
        f"{text}\n\n![Time](time.png)\n\n![Memory](memory.png)\n",
        encoding="utf-8",
    )
    print(text)


if __name__ == "__main__":
    main()
