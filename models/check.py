"""``check_model``: does a model read the same on every path? What ``check_env`` is for environments."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..errors import InputError
from .examination import Examination, examine, find_twin, try_plain, try_reading
from .language_model import LanguageModel
from .paths import inner_model, paths_of, trust

SHORT = 20
"""Columns of the texts that real weights are tried on."""
ROUNDING = {torch.float32: 1e-3}
"""Largest difference in nats that rounding makes of a model's log-probs, by the type of its weights."""
LOW_PRECISION = 1.0
AS_WORDS = {
    "behind": "a prompt read once for its responses",
    "together": "responses to a prompt in one row",
    "packed": "texts with different prompts in one row",
    "rows": "written with a cache of fixed size",
    "longer": "beginnings read as in the whole text",
    "own": "written with the model's own cache",
    "grouped": "written together after their prompt",
    "static": "written in steps of fixed shape",
    "steps": "one token at a time, as env.step does",
}


def check_model(model: str | Path | LanguageModel | nn.Module, columns: int = 256, verbose: bool = True) -> Examination:
    """Compare every path by which a model is read here with a plain forward pass of transformers, each text alone.

    Tried on a small random model of the same configuration, with texts as long as asked for: log-probs of sampling, of
    responses to one prompt, of packed texts, of single steps, and gradients. The model itself then reads short texts.

    Args:
        model: a language model, its folder or hub id, or a transformers model.
        columns: how many tokens a text has at most, prompt and response together.
        verbose: print a table.

    Returns:
        What was found, by path. ``paths`` are those that serve.

    Raises:
        InputError: no path gives the right numbers.

    >>> found = check_model("embedded", columns=64, verbose=False)
    >>> found.paths.grouped, max(trial.difference for trial in found.trials.values()) < 1e-4
    (True, True)
    """
    given = model if isinstance(model, nn.Module | LanguageModel) else LanguageModel.load(model)
    inner: Any = given.model if isinstance(given, LanguageModel) else given
    found = examine(find_twin(inner), columns)
    if verbose:
        print(_table(inner, found, columns))
    confirm(inner, given.name if isinstance(given, LanguageModel) else type(inner).__name__, every=True)
    return found


def confirm(model: nn.Module, name: str, every: bool = False) -> None:
    """Let a model with its real weights read short texts; a path that disagrees does not serve it, and this is said.

    Those by which responses are written and learned, or ``every`` path.

    Raises:
        InputError: the plain path disagrees too.
    """
    weights = next(model.parameters())
    if weights.device.type != "cpu":  # models are tried before they move
        return
    paths = paths_of(model, SHORT)
    most = ROUNDING.get(weights.dtype, LOW_PRECISION)
    difference, told = try_reading(model, paths, SHORT, every)
    if difference <= most:
        return
    plain = try_plain(model, paths.only_plain(), SHORT)
    if not plain <= most:
        raise InputError(
            f'"{name}" reads short texts {plain:.2g} nats away from a plain forward pass, where 0 is right; '
            "prefgym.check_model shows more."
        )
    warnings.warn(
        f'"{name}" reads short texts {difference:.2g} nats away from a plain forward pass ({told}); it is read by the '
        "plain path, with the right numbers but slower.",
        stacklevel=3,
    )
    trust(model, replace(paths.only_plain(), own=False))


def _table(model: nn.Module, found: Examination, columns: int) -> str:
    lines = [f"{type(inner_model(model)).__name__}, texts of up to {columns} tokens"]
    batch = {"left": "padded on the left", "right": "padded on the right", "equal": "of equal length", "alone": "alone"}
    start = "" if found.paths.positions in (0, None) else f", positions from {found.paths.positions}"
    lines.append(f"plain path: texts {batch[found.paths.batch]}{start}")
    for name, trial in found.trials.items():
        serves = "serves" if trial.agrees else "does not serve"
        told = f": {trial.reason.splitlines()[0][:80]}" if trial.reason else ""
        lines.append(f"  {AS_WORDS.get(name, name):<45} {trial.difference:8.1e}  {serves}{told}")
    return "\n".join(lines)
