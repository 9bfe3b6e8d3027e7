"""The model card of each embedded model: what it was trained on, for how long, and how good that made it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_WHAT = {
    "pretrained": (
        "next-token prediction on synthetic posts, each followed by readers' replies that restate its facts",
        "It continues text; it was never shown a summary.",
    ),
    "start": (
        "fine-tuning of `pretrained` on the posts' own TL;DRs, which fall short systematically "
        "(loss on the response only)",
        "It is the start policy and the reference of the KL.",
    ),
    "preference": (
        "Bradley-Terry training of the trunk of `start` on comparisons by simulated annotators, who see summaries of "
        "several qualities, single-fact corruptions among them",
        "Scores are shifted so that references average 0 and divided by a calibrated temperature.",
    ),
}
_FACTS = (
    ("posts", "posts"),
    ("comparisons", "comparisons"),
    ("parameters", "parameters"),
    ("steps", "optimiser steps"),
    ("tokens", "tokens read in training"),
    ("seconds", "seconds of training (two CPU cores)"),
    ("train_loss", "training loss at the end (nats)"),
    ("eval_loss", "validation loss at the end (nats)"),
    ("eval_loss_minimum", "minimum of the validation loss (nats)"),
    ("eval_loss_minimum_step", "step of that minimum"),
    ("ceiling", "accuracy of the best possible predictor of the simulated labels"),
    ("temperature", "calibration temperature"),
    ("shift", "reference shift (logit)"),
    ("seed", "seed"),
)


def card(name: str, metrics: Mapping[str, Any]) -> str:
    """Return the Markdown card of the model ``name`` with the metrics of its stage."""
    how, what = _WHAT[name]
    rows = [f"| {label} | {_number(metrics[key])} |" for key, label in _FACTS if metrics.get(key) is not None]
    if isinstance(metrics.get("accuracy"), Mapping):
        rate = metrics["accuracy"]
        rows.append(
            f"| accuracy on held-out comparisons | {100 * rate['mean']:.1f} % "
            f"(95 % interval {100 * rate['low']:.1f} to {100 * rate['high']:.1f}, n = {rate['n']}) |"
        )
    return (
        f"---\nlicense: mit\nlibrary_name: transformers\n---\n\n# prefgym embedded model: {name}\n\n"
        f"Made by {how}. {what} All data are synthetic: generated posts of the embedded world, made by "
        "`prefgym build-assets`. It knows 2,048 tokens and nothing outside these posts.\n\n"
        "| what | value |\n| --- | --- |\n" + "\n".join(rows) + "\n"
    )


def _number(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}" if isinstance(value, float) else str(value)
