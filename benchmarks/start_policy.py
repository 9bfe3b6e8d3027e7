"""How far supervised training on the references is from convergence: the start policy's loss against its steps.

    python benchmarks/start_policy.py --output benchmarks/start_policy     about 2.5 hours on two cores, resumes
    python benchmarks/start_policy.py --quick --output /tmp/start_policy   shows that it runs

Fine-tunes the embedded pretrained model as `prefgym build-assets` does, on a quarter, a half and twice its posts, and
measures each on the same held-out posts; the full amount is the shipped start policy with the figures of its build. For
comparison there is the loss that no model can beat: the entropy of the author, who draws a different summary each time.
Writes results.json, README.md and a picture. The data are synthetic.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from prefgym.assets.build import METRICS, finetune_start
from prefgym.assets.checks import check_start
from prefgym.assets.sizes import FULL, QUICK, Size
from prefgym.data.templates import SUMMARIZE
from prefgym.data.world import Post, post
from prefgym.data.world.posts import further_references
from prefgym.files import write_text
from prefgym.models.language_model import LanguageModel, embedded_path

SHARES = (0.25, 0.5, 1.0, 2.0)
SAVE_EVERY = 250  # steps between two resume points
DRAWS = 4000  # of each post's author, for the entropy
ASKED = 20  # of those authors
SMALL = replace(QUICK, finetune_posts=80, held_out=8)


def entropy_per_token(lm: LanguageModel, posts: list[Post], draws: int) -> float:
    """Return the entropy of the reference given its post, in nats per token: no loss can be lower on average.

    Estimated by Miller and Madow (1955) from ``draws`` references of each post; the model sees only the text, so its
    own bound is slightly higher.
    """
    nats, tokens = 0.0, 0.0
    for item in posts:
        counts = Counter(further_references(item, draws))
        nats -= sum(n / draws * math.log(n / draws) for n in counts.values()) - (len(counts) - 1) / (2 * draws)
        tokens += sum(n / draws * (len(lm.encode(SUMMARIZE.render_response(text))) + 1) for text, n in counts.items())
    return nats / tokens


def measure(size: Size, share: float, held_out: list[Post], folder: Path) -> dict[str, Any]:
    """Fine-tune on ``share`` of the posts of ``size``; return the metrics without the training curve.

    A stopped training continues from its last resume point in ``folder``.
    """
    posts = round(size.finetune_posts * share)
    if size == FULL and share == 1:
        metrics = json.loads((embedded_path("start") / METRICS).read_text(encoding="utf-8"))
    else:
        lm = LanguageModel.load("embedded/pretrained")
        kept: dict[str, Any] = {"output_dir": folder / f"share-{share:g}", "save_every": SAVE_EVERY, "resume": True}
        metrics = finetune_start(lm, replace(size, finetune_posts=posts), progress=True, **kept)
        shutil.rmtree(kept["output_dir"])
        metrics["checks"] = check_start(lm, held_out)
    metrics.pop("history")
    return {**metrics, "share": share, "posts": posts}


def table(results: dict[str, Any]) -> str:
    """The Markdown table, one line per amount of training."""
    lines = [
        "| posts | steps | validation loss | by the last doubling | beats references, T = 1 | greedily |",
        "|" + " --- |" * 6,
    ]
    before = None
    for run in results["runs"]:
        loss = run["eval_loss_minimum"]
        change = "" if before is None else f"{100 * (loss / before - 1):+.1f} %"
        rates = [
            f"{100 * rate['mean']:.1f} % ({100 * rate['low']:.1f} to {100 * rate['high']:.1f})"
            for rate in (run["checks"][way] for way in ("sampled", "greedily"))
        ]
        lines.append(f"| {run['posts']:,} | {run['steps']:,} | {loss:.4f} | {change} | {' | '.join(rates)} |")
        before = loss
    return "\n".join(lines)


def draw(results: dict[str, Any], path: Path) -> None:
    """Loss against optimiser steps, with the bound."""
    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    steps = [run["steps"] for run in results["runs"]]
    axes.plot(steps, [run["eval_loss_minimum"] for run in results["runs"]], "o-", label="validation loss")
    axes.axhline(results["entropy"], color="gray", linestyle="--", label="entropy of the references")
    axes.set(xscale="log", xlabel="optimiser steps of fine-tuning", ylabel="nats per token")
    axes.set_xticks(steps, [f"{n:,}" for n in steps])
    axes.minorticks_off()
    axes.legend()
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main() -> None:
    """Measure every share that is missing; write numbers, table and picture after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--shares", type=float, nargs="+", default=SHARES, help="of the posts, to measure now")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    size, shares, draws = (SMALL, SHARES[:2], 200) if options.quick else (FULL, options.shares, DRAWS)
    held_out = [post("validation", index) for index in range(size.held_out)]
    options.output.mkdir(parents=True, exist_ok=True)
    file = options.output / "results.json"
    lm = LanguageModel.load("embedded/pretrained")
    results = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    asked = random.Random(0).sample(held_out, min(ASKED, len(held_out)))
    results = results or {"entropy": entropy_per_token(lm, asked, draws), "runs": []}
    for share in shares:
        if all(run["share"] != share for run in results["runs"]):
            results["runs"].append(measure(size, share, held_out, options.output))
            results["runs"].sort(key=lambda run: run["share"])
            write_text(file, json.dumps(results, indent=2) + "\n")
    draw(results, options.output / "loss.png")
    write_text(
        options.output / "README.md",
        "# How far supervised training on the references is from convergence\n\n"
        "`python benchmarks/start_policy.py --output benchmarks/start_policy`\n\n"
        f"CPU, one seed; {lm.num_parameters / 1e6:.2f} M parameters, vocabulary 2,048; synthetic posts, "
        f"{size.references} references of each, {len(held_out)} held-out posts (win rates by gold, 95 % intervals). "
        f"The references' own entropy is {results['entropy']:.4f} nats per token: no model can get below it. "
        "The shipped start policy is the run on "
        f"{size.finetune_posts:,} posts, trained when it was built, with slightly different rounding of sums.\n\n"
        f"{table(results)}\n\n![Validation loss against steps](loss.png)\n",
    )
    print(table(results))


if __name__ == "__main__":
    main()
