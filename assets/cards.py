"""The model card of each embedded model: what it was trained on, for how long, and how good that made it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..data.plain_text import markdown

_WHAT = {
    "pretrained": (
        "next-token prediction on synthetic posts, each followed by readers' replies that restate its facts",
        "It continues text; it was never shown a summary.",
    ),
    "start": (
        "fine-tuning of `pretrained` on the posts' TL;DRs, several of each post, such as its author writes; they fall "
        "short systematically (loss on the response only)",
        "It is the start policy and the reference of the KL.",
    ),
    "preference": (
        "Bradley-Terry training of the trunk of `start`, first on summaries with right and with wrong facts "
        "(preference model pretraining), then on comparisons by simulated annotators, who see summaries of several "
        "qualities, single-fact corruptions among them",
        "Its output minus the shift is its score, 0 for an average reference; the head is divided by the temperature.",
    ),
}
_FACTS = (
    ("posts", "posts"),
    ("comparisons", "comparisons"),
    ("parameters", "parameters"),
    ("steps", "optimiser steps"),
    ("examples", "examples"),
    ("tokens", "tokens of all examples"),
    ("seconds", "seconds of training (two CPU cores)"),
    ("train_loss", "training loss at the end (nats)"),
    ("eval_loss", "validation loss at the end (nats)"),
    ("eval_loss_minimum", "minimum of the validation loss (nats)"),
    ("eval_loss_minimum_step", "step of that minimum"),
    ("ceiling", "accuracy of the best possible predictor of the simulated labels"),
    ("temperature", "calibration temperature"),
    ("shift", "reference shift (in units of the output)"),
    ("seed", "seed"),
)


def card(name: str, metrics: Mapping[str, Any]) -> str:
    """Return the Markdown card of the model ``name`` with the metrics of its stage."""
    how, what = _WHAT[name]
    rows = [f"| {label} | {_number(metrics[key])} |" for key, label in _FACTS if metrics.get(key) is not None]
    if "pretraining" in metrics:
        first = metrics["pretraining"]
        rows.append(f"| before them: comparisons of known outcome | {_number(first['comparisons'])} |")
        rows.append(f"| seconds of training on those | {_number(first['seconds'])} |")
        rows.append(f"| accuracy on held-out ones | {_rate(first['accuracy'])} |")
    if isinstance(metrics.get("accuracy"), Mapping):
        rate = metrics["accuracy"]
        rows.append(
            f"| accuracy on held-out comparisons | {100 * rate['mean']:.1f} % "
            f"(95 % interval {100 * rate['low']:.1f} to {100 * rate['high']:.1f}, n = {rate['n']}) |"
        )
    rows += [f"| {label} | {_rate(rate)} |" for label, rate in _checks(metrics.get("checks", {}))]
    return (
        f"---\nlicense: mit\nlibrary_name: transformers\n---\n\n# prefgym embedded model: {name}\n\n"
        f"Made by {how}. {what} All data are synthetic: generated posts of the embedded world, made by "
        "`prefgym build-assets`. It knows 2,048 tokens and nothing outside these posts.\n\n"
        "| what | value |\n| --- | --- |\n" + "\n".join(rows) + "\n"
    )


_CHECKS = {
    "sampled": "beats references, sampled at temperature 1",
    "greedily": "beats references, greedily",
    "best of four by gold": "beats references as the best of four samples by gold",
    "best of four": "its choice of four samples of `start` beats references",
    "orders as gold does": "pairs of samples that it orders as gold does",
    "orders as length does": "pairs of samples that it orders as their length does",
}


def _checks(checks: Mapping[str, Any]) -> list[tuple[str, Mapping[str, float]]]:
    """Return each check's label and rate, one for each fault it was shown included."""
    plain = [(label, checks[name]) for name, label in _CHECKS.items() if name in checks]
    faults = checks.get("sees", {}).items()
    return plain + [(f"prefers a clean summary to: {name.replace('_', ' ')}", rate) for name, rate in faults]


def _rate(rate: Mapping[str, float]) -> str:
    return f"{100 * rate['mean']:.1f} % [{100 * rate['low']:.1f}, {100 * rate['high']:.1f}]"


def _number(value: Any) -> str:
    return (
        f"{value:,}" if isinstance(value, int) else f"{value:.4g}" if isinstance(value, float) else markdown(str(value))
    )
