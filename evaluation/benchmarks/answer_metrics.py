"""The score, 0-1, of a written answer against the right ones: benchmark metrics by name.

With several right answers, the best match counts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from ...rewards.functions import exact_match, rouge_l
from ...rewards.rouge import best_rouge

Metric = Callable[[str, Sequence[str]], float]
"""``(written answer, right answers) -> 0-1``."""


def exact_str_match(text: str, answers: Sequence[str]) -> float:
    """Whether an answer was written exactly; white space around it is ignored.

    >>> exact_str_match(" Paris", ["Paris", "paris"]), exact_str_match("Paris.", ["Paris"])
    (1.0, 0.0)
    """
    return float(text.strip() in [answer.strip() for answer in answers])


def bleu(text: str, answers: Sequence[str]) -> float:
    """BLEU of one answer, ``sacrebleu``'s sentence BLEU divided by 100.

    BIG-bench computes it over all answers together, which gives no value per answer and so no interval.

    Source: K. Papineni et al., "BLEU: a Method for Automatic Evaluation of Machine Translation" (2002).
    """
    import sacrebleu  # comes with the harness

    return float(sacrebleu.sentence_bleu(text, list(answers)).score) / 100


def rouge(kind: str, text: str, answers: Sequence[str]) -> float:
    """The F-measure of ``rouge1``, ``rouge2``, ``rougeL`` or ``rougeLsum``, stemmed, as in BIG-bench."""
    return best_rouge([kind], text, answers, stem=True)[kind]


def _reward(function: Callable[..., list[float]], text: str, answers: Sequence[str]) -> float:
    """One of the package's rewards, on one text."""
    return function([""], [text], reference=[answers[0]], references=[list(answers)])[0]


ANSWER_METRICS: Mapping[str, Metric] = {
    "exact_str_match": exact_str_match,
    "exact_match": partial(_reward, exact_match),
    "rouge_l": partial(_reward, rouge_l),
    "bleu": bleu,
    **{kind: partial(rouge, kind) for kind in ("rouge1", "rouge2", "rougeL", "rougeLsum")},
}
