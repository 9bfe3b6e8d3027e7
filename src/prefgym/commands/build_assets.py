"""``prefgym build-assets``: make the embedded tokenizer and weights again, from the world's generator and one seed."""

from __future__ import annotations

import shutil
from pathlib import Path

from ..config import Option, describe, parse_flags, resolve
from ..errors import InputError

OPTIONS = [
    Option("output", str, "runs/assets", "Folder for the finished stages; a stopped build goes on from it."),
    Option("quick", bool, False, "Tiny models on little data, in 3 minutes: shows that every stage works."),
    Option("restart", bool, False, "Forget finished stages and begin again."),
    Option("install", str, None, "Also copy the finished models to this folder (models/embedded in a checkout)."),
    Option("seed", int, 0, "Seed of initial weights, shuffling, sampling and annotators.", minimum=0),
]


def help_text() -> str:
    """Return the text of ``prefgym build-assets --help``."""
    return (
        "usage: prefgym build-assets [--quick] [--output DIR] [--install models/embedded]\n\n"
        "Train the byte-level BPE tokenizer, pretrain a small Llama on synthetic posts and replies, fine-tune it on\n"
        "the posts' uneven summaries, collect comparisons by simulated annotators, and train the preference model.\n"
        "The full build takes up to two hours on two cores; finished stages are kept.\n"
        f"{describe(OPTIONS)}"
    )


def run(arguments: list[str]) -> None:
    """Run the command; InputError for bad input."""
    config = resolve(OPTIONS, [("command line", parse_flags(arguments, OPTIONS))])
    folder = Path(config["output"])
    from ..assets import MODELS, STAGES, Build
    from ..sizes import FULL, QUICK

    if folder.is_dir() and any(folder.iterdir()) and not any((folder / stage).is_dir() for stage in STAGES):
        raise InputError(f"--output {folder} holds files that are no build; give an empty or new folder.")
    if config["restart"]:
        for stage in STAGES:
            shutil.rmtree(folder / stage, ignore_errors=True)
    build = Build(folder, QUICK if config["quick"] else FULL, config["seed"])
    metrics = build.run()
    for stage, facts in metrics.items():
        print(stage, " ".join(f"{key}={value}" for key, value in facts.items() if not isinstance(value, (list, dict))))
    if config["install"]:
        for name in MODELS:
            target = Path(config["install"]) / name
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(folder / name, target)
        print(f"models copied to {config['install']}")
