"""Ready-made rewards in plain Python, with the signature that every reward function has.

``def reward(prompts, completions, **columns) -> list[float]``: one number per completion; each column of the prompt
data arrives as a list beside them. Any function of this form, in any file, works the same way (`resolve_reward`).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from rouge_score import rouge_scorer


@lru_cache(maxsize=1)
def _rouge_scorer() -> rouge_scorer.RougeScorer:
    return rouge_scorer.RougeScorer(["rougeL"], use_stemmer=False)


def rouge_l(
    prompts: Sequence[str], completions: Sequence[str], *, reference: Sequence[str | None], **columns: Any
) -> list[float]:
    """F-measure, 0 to 1, of the longest common word subsequence with the reference text.

    Source: C.-Y. Lin, "ROUGE: A Package for Automatic Evaluation of Summaries" (2004), as the ``rouge-score`` package
    computes it, without stemming.

    Raises:
        ValueError: a row has no reference.
    """
    if any(text is None for text in reference):
        raise ValueError("rouge_l compares with a reference, and this prompt has none")
    scorer = _rouge_scorer()
    pairs = zip(reference, completions, strict=True)
    return [scorer.score(target, completion)["rougeL"].fmeasure for target, completion in pairs]


def length(prompts: Sequence[str], completions: Sequence[str], **columns: Any) -> list[float]:
    """Number of words. With a small negative weight it makes summaries shorter; with weight 0 it is logged alone."""
    return [float(len(completion.split())) for completion in completions]
