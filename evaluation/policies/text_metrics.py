"""Measures of a text that need no judge: its length, how much it repeats itself, and what references have of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...rewards.rouge import best_rouge, has_words, references_of

ROUGE = ("rouge1", "rouge2", "rougeL")


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


def other_references(row: Mapping[str, Any]) -> list[str]:
    """All but the one in ``reference``, which stands for people where candidates are compared."""
    found = references_of(row)
    if row.get("reference") in found:
        found.remove(row["reference"])
    return found


def rouge_by_text(texts: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, NDArray[np.float64]]:
    """ROUGE-1, ROUGE-2 and ROUGE-L of n texts, (n,) each: F, stemmed, against the best of each one's references.

    NaN where there is no reference that ROUGE can read.
    """
    found = {kind: np.full(len(texts), np.nan) for kind in ROUGE}
    for index, (text, targets) in enumerate(zip(texts, references, strict=True)):
        readable = [target for target in targets if has_words(target)]
        for kind, value in best_rouge(ROUGE, text, readable, stem=True).items() if readable else ():
            found[kind][index] = value
    return found
