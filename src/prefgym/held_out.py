"""Which prompts a run is trained on, validated on and judged by; and how it is validated."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .config import Config
from .errors import InputError
from .experiment import world_of

if TYPE_CHECKING:
    from .agents.validation import Validation
    from .data.prompts import PromptSet


def load_splits(config: Config) -> dict[str, PromptSet]:
    """The prompt sets ``train``, ``validation`` and ``test`` of a run; no prompt is in two of them."""
    from .data.prompts import load_prompt_splits, load_prompts

    source, held_out = config["data.prompts"], config["data.held_out"]
    number = max(config["evaluation.prompts"], 1)
    few, validated = config["evaluation.validation_prompts"], config.get("evaluation.every") is not None
    few = few if validated else min(few, number)
    if source is None:
        counts = {"train": None, "validation": few, "test": number}
        made = world_of(config["env.id"]).prompts
        return {split: made(split, count) for split, count in counts.items()}
    columns = {name: config[f"data.{name}"] for name in ("prompt_column", "reference_column")}
    if held_out is None:
        found = load_prompt_splits(source, ("train", "validation", "test"), **columns)
        splits = {str(name): prompts for name, prompts in found.items()}
    else:
        splits = _divide(load_prompts(source, **columns), held_out, validated)
    return {**splits, "validation": splits["validation"][:few], "test": splits["test"][:number]}


def _divide(prompts: PromptSet, held_out: float, validated: bool) -> dict[str, PromptSet]:
    """Divide prompts by a stable hash, every row of one prompt on one side.

    ``validation`` is half of what is held out if training is ``validated``, else empty; what is trained on is the same.
    """
    from .data.prompts import PromptSet
    from .data.splits import split_prompts

    if held_out >= 1:
        raise InputError(f"data.held_out is {held_out:g}, but must be a share below 1.")
    rows = list(prompts)
    texts = [row["prompt"] for row in rows]
    sides = split_prompts(texts, {"train": 1 - held_out, "test": held_out})
    if validated:
        held = [text for text, side in zip(texts, sides, strict=True) if side == "test"]
        halves = iter(split_prompts(held, {"validation": 0.5, "test": 0.5}, seed=1))
        sides = [next(halves) if side == "test" else side for side in sides]
    return {
        name: PromptSet(
            [row for row, side in zip(rows, sides, strict=True) if side == name], f"{prompts.name} ({name})"
        )
        for name in ("train", "validation", "test")
    }


def check_validation(config: Config) -> None:
    """Raise :class:`InputError` where an option of validation has nothing to act on."""
    for key, idle in (("evaluation.patience", None), ("evaluation.keep", "last")):
        if config["evaluation.every"] is None and config[key] not in (None, idle):
            raise InputError(f"{key} is {config[key]}, but training is not validated; set evaluation.every too.")


def make_validation(config: Config, prompts: PromptSet) -> Validation | None:
    """How training is validated on these prompts, if at all."""
    from .agents.validation import Validation

    every, patience, keep = (config[f"evaluation.{name}"] for name in ("every", "patience", "keep"))
    return None if every is None else Validation(prompts, every, patience, keep or "best")
