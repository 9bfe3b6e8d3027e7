"""Ready-made rewards in plain Python, with the signature that every reward function has.

``def reward(prompts, completions, **columns) -> list[float]``: one number per completion; each column of the prompt
data is passed as a list too, and what `arguments.py` names. Any function of this form, in any file, works the same way
(`resolve_reward`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from ..data.given import is_missing
from .rouge import best_rouge


def rouge_l(
    prompts: Sequence[str],
    completions: Sequence[str],
    *,
    reference: Sequence[str | None],
    references: Sequence[Sequence[str] | None] | None = None,
    **columns: Any,
) -> list[float]:
    """F-measure, 0 to 1, of the longest common word subsequence with the reference text.

    A row with a list of ``references`` is scored against the best of them, as for instructions with several right
    answers (Y. Wang et al., "Super-NaturalInstructions" (2022)).

    Words are not stemmed, unlike in the ROUGE of an evaluation; see :mod:`prefgym.rewards.rouge`.

    Raises:
        ValueError: a row has no reference.
    """
    pairs = zip(_accepted("rouge_l", reference, references), completions, strict=True)
    return [best_rouge(["rougeL"], text, targets, stem=False)["rougeL"] for targets, text in pairs]


def exact_match(
    prompts: Sequence[str],
    completions: Sequence[str],
    *,
    reference: Sequence[str | None],
    references: Sequence[Sequence[str] | None] | None = None,
    **columns: Any,
) -> list[float]:
    """1 if the completion is one of a row's ``references``, or else its reference; otherwise 0.

    Case, punctuation and spaces are ignored.

    Raises:
        ValueError: a row has no reference.
    """
    pairs = zip(_accepted("exact_match", reference, references), completions, strict=True)
    return [float(answer_words(text) in map(answer_words, targets)) for targets, text in pairs]


def _accepted(
    name: str, reference: Sequence[str | None], references: Sequence[Sequence[str] | None] | None
) -> list[list[str]]:
    """The right answers of every row."""
    rows: Any = zip(reference, references or [None] * len(reference), strict=True)
    accepted = [[one] if is_missing(several) or not len(several) else list(several) for one, several in rows]
    if any(is_missing(text) for targets in accepted for text in targets):
        raise ValueError(f"{name} compares with a reference, and this prompt has none")
    return [[str(text) for text in targets] for targets in accepted]


def answer_words(text: str) -> tuple[str, ...]:
    """What is compared in an answer: its words in lower case.

    >>> answer_words(" At my sister's wedding!")
    ('at', 'my', 'sister', 's', 'wedding')
    """
    return tuple(re.findall(r"\w+", text.lower()))


def length(prompts: Sequence[str], completions: Sequence[str], **columns: Any) -> list[float]:
    """Number of words. With a small negative weight it makes summaries shorter; with weight 0 it is only logged."""
    return [float(len(completion.split())) for completion in completions]
