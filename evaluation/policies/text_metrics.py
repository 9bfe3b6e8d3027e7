"""Measures of a text that need no judge: its length and how much it repeats itself."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def repetition(text: str, n: int = 3) -> float:
    """The share of a text's word n-grams that occurred earlier in it, 0-1; 0 for a text of fewer than n words.

        1 - (distinct n-grams) / (n-grams)

    Source: S. Welleck et al., "Neural Text Generation With Unlikelihood Training" (2020), section 6, seq-rep-n.

    >>> repetition("my dog ate my dog ate")
    0.25
    """
    words = text.lower().split()
    grams = [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def mean_repetition(texts: Sequence[str]) -> float:
    """The mean of ``repetition`` over texts."""
    return float(np.mean([repetition(text) for text in texts]))


def mean_words(texts: Sequence[str]) -> float:
    """The mean number of words."""
    return float(np.mean([len(text.split()) for text in texts]))
