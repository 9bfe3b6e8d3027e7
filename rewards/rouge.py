"""ROUGE of a text against one or several references, as the ``rouge-score`` package computes it.

Source: C.-Y. Lin, "ROUGE: A Package for Automatic Evaluation of Summaries" (2004). Papers report it with the words
stemmed; what is paid as a reward (``functions.rouge_l``) is not stemmed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from nltk.stem.porter import PorterStemmer
from rouge_score import rouge_scorer, tokenize, tokenizers


def best_rouge(kinds: Sequence[str], text: str, references: Sequence[str], *, stem: bool) -> dict[str, float]:
    """The F-measure, 0 to 1, against whichever reference fits best, of each kind.

    With several references this is the plain maximum over them. Lin (2004) takes the maximum too, but averages it over
    all sets of references with one left out (jackknifing), so that people can be measured against people.

    Args:
        kinds: of ``rouge1``, ``rouge2`` (n-grams), ``rougeL`` (longest common subsequence), ``rougeLsum``.
        text: the text.
        references: one or more.
        stem: whether words count by their stems, by Porter's stemmer.
    """
    scorer = _scorer(tuple(kinds), stem)
    scores = [scorer.score(reference, text) for reference in references]
    return {kind: max(float(score[kind].fmeasure) for score in scores) for kind in kinds}


def references_of(row: Mapping[str, Any]) -> list[str]:
    """The human texts of a prompt: all that its column ``references`` lists, or else the one in ``reference``."""
    several: Any = row.get("references")
    several, one = several.tolist() if hasattr(several, "tolist") else several, row.get("reference")
    listed = isinstance(several, list | tuple) and all(isinstance(text, str) for text in several)
    found = [text for text in several if text.strip()] if listed else []
    return found or ([one] if isinstance(one, str) and one.strip() else [])


def has_words(text: str) -> bool:
    """Whether ROUGE can read a text: its words are of the letters a to z and digits, so Korean has none.

    >>> has_words("Tom is late."), has_words("톰이 늦었다.")
    (True, False)
    """
    return bool(tokenize.tokenize(text, None))


@lru_cache
def _scorer(kinds: tuple[str, ...], stem: bool) -> rouge_scorer.RougeScorer:
    return rouge_scorer.RougeScorer(list(kinds), tokenizer=_Words(stem))


class _Words(tokenizers.Tokenizer):
    """The package's own words; a stem is found once, which takes most of the time otherwise."""

    def __init__(self, stem: bool) -> None:
        self._stemmer = _Stems() if stem else None

    def tokenize(self, text: str) -> Any:
        return tokenize.tokenize(text, self._stemmer)


class _Stems:
    def __init__(self) -> None:
        self.stem = lru_cache(maxsize=100_000)(PorterStemmer().stem)
