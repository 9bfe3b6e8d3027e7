"""Writes SAMPLES.md: thirty posts of the embedded world for a reader. Run `python -m prefgym.data.world.samples`."""

from __future__ import annotations

import random
from pathlib import Path

from .posts import post
from .summaries import oracle

PATH = Path(__file__).with_name("SAMPLES.md")
_COUNT, _SEED, _RANGE = 30, 0, 100_000


def samples() -> str:
    """The text of SAMPLES.md: training posts drawn with a fixed seed."""
    lines = [
        "# Thirty random posts of the embedded world",
        "",
        "Synthetic texts, made by the generator in this folder. *Reference* is the author's own summary with its",
        "fault, *oracle* the complete one. Written by `python -m prefgym.data.world.samples`.",
    ]
    for number, index in enumerate(random.Random(_SEED).sample(range(_RANGE), _COUNT), 1):
        example = post("train", index)
        lines += [
            "",
            f"## {number}. {example.topic}, {example.register} (train {index})",
            "",
            example.text,
            "",
            f"- Reference ({example.fault}): {example.reference}",
            f"- Oracle: {oracle(example)}",
        ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PATH.write_text(samples(), encoding="utf-8")
