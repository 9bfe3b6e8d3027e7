"""Every contestant's command line, and the format of its results."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

LEARNING_RATE = 1e-12  # an optimiser step is taken, but the weights, and so the response lengths, stay the same
KL_COEF = 0.05


def arguments(description: str) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--workload", type=Path, required=True)
    parser.add_argument("--result", type=Path, required=True)
    parser.add_argument("--method", required=True)
    parser.add_argument("--samples", type=int, default=1)
    parser.add_argument("--iterations", type=int, default=3)
    parser.add_argument("--episodes", type=int, default=64)
    parser.add_argument("--minibatch", type=int, default=16)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--new-tokens", type=int, default=48)
    parser.add_argument("--prompt-tokens", type=int, default=128)
    parser.add_argument("--pieces", type=int, default=1, help="that a minibatch is run in, to save memory")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--value-trunk", default="shared")
    parser.add_argument("--device", default="cpu")
    return parser.parse_args()


def prompts(workload: Path) -> list[str]:
    """The texts of a workload."""
    lines = (workload / "prompts.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["prompt"] for line in lines]


def answer(path: Path, result: dict[str, Any]) -> None:
    """Write the measurements."""
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
