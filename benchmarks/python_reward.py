"""A reward that no gradient passes through: how much of a response is made of the post's own words."""

from __future__ import annotations

import re
from typing import Any

_WORD = re.compile(r"[a-z']+")


def own_words(prompts: list[str], completions: list[str], **columns: Any) -> list[float]:
    """Return, for each completion, the share of its words that occur in the prompt (0 for an empty one)."""
    rewards = []
    for prompt, completion in zip(prompts, completions, strict=True):
        known, said = set(_WORD.findall(prompt.lower())), _WORD.findall(completion.lower())
        rewards.append(sum(word in known for word in said) / len(said) if said else 0.0)
    return rewards
