"""From candidates to their figures in ``metrics.json``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...envs.prompt_source import Prompt
from ...rewards.gold import invented_facts
from ...rewards.rouge import references_of
from ..win_rate import Interval, length_controlled_win_rate, mean_interval, win_rate_of
from .candidates import Candidate, compare
from .inventions import invented_names, invented_numbers
from .judge import Judge
from .text_metrics import ROUGE, mean_repetition, mean_words, other_references, rouge_by_text

FIGURES = (
    "gold_score",
    "preference_score",
    "kl",
    "length",
    "words",
    "eos_rate",
    "repetition",
    "invented_facts",
    "invented_names",
    "invented_numbers",
    *ROUGE,
    "win_rate_vs_references",
    "win_rate_vs_start",
    "win_rate_length_controlled",
    "win_rate_vs_start_length_controlled",
    "minus_start",
)
"""Keys of every candidate; any other key is a score that the caller requested."""

INVENTED = {"invented_names": invented_names, "invented_numbers": invented_numbers}
"""Counts of a text, given its prompt as it stands in the data, not cut."""

EVEN: Interval = {"mean": 0.5, "low": 0.5, "high": 0.5}
"""The win rate of texts against themselves: all ties, by definition."""


def figures(
    candidates: Mapping[str, Candidate],
    references: Candidate | None,
    prompts: Sequence[Prompt],
    judge: Judge | str,
    seed: int = 0,
) -> dict[str, dict[str, Any]]:
    """The figures of every candidate, by name.

    Each has ``gold_score``, ``preference_score``, ``kl``, ``length``, ``words``, ``eos_rate``, ``repetition``,
    ``invented_facts`` (``None`` if a figure does not apply), ``invented_names`` and ``invented_numbers`` per text, any
    further score by name; as ``{"mean", "low", "high"}`` the ROUGE against the references, ``rouge1``, ``rouge2`` and
    ``rougeL``, and the win rates ``win_rate_vs_references``, ``win_rate_vs_start``, ``win_rate_length_controlled``
    (against the references, or the start policy if there are none) and ``win_rate_vs_start_length_controlled``; and
    ``minus_start``: paired differences to the start policy with their intervals, in the win rate against references, in
    every score, in ROUGE and in what is invented. The values and outcomes of each prompt are stored in each candidate.

    The references' own ROUGE is that of the first of a prompt against its others, where there are several.

    Args:
        candidates: by name; the others are compared with ``"start"``.
        references: the human texts.
        prompts: the n prompts.
        judge: a judge, or the name of the score that judges.
        seed: of the bootstrap.
    """
    start = candidates["start"]
    for candidate in candidates.values():
        candidate.measures = _measures(candidate, prompts, itself=candidate is references)
    start_outcome = None if references is None else compare(judge, prompts, start, references)
    result = {}
    for name, candidate in candidates.items():
        outcome = None if references is None else compare(judge, prompts, candidate, references)
        versus_start = compare(judge, prompts, candidate, start)
        candidate.outcomes = {"win_rate_vs_start": versus_start}
        if outcome is not None:
            candidate.outcomes["win_rate_vs_references"] = outcome
        controlled = (versus_start, start) if outcome is None or references is None else (outcome, references)
        result[name] = {
            **_alone(candidate, prompts),
            "win_rate_vs_references": None if outcome is None else _win_rate(outcome, candidate is references),
            "win_rate_vs_start": _win_rate(versus_start, candidate is start),
            "win_rate_length_controlled": _length_controlled(candidate, *controlled, seed),
            "win_rate_vs_start_length_controlled": _length_controlled(candidate, versus_start, start, seed),
            "minus_start": _minus_start(candidate, start, outcome, start_outcome),
        }
    return result


def has_facts(prompts: Sequence[Prompt]) -> bool:
    """Whether the prompts carry hidden facts, so that there are gold figures."""
    return all("facts" in prompt.row and "distractors" in prompt.row for prompt in prompts)


def _alone(candidate: Candidate, prompts: Sequence[Prompt]) -> dict[str, Any]:
    """Figures that need no opponent."""
    index = np.flatnonzero(candidate.present).tolist()
    texts, kept = [candidate.texts[i] for i in index], [prompts[i] for i in index]
    return {
        "gold_score": None,
        "preference_score": None,
        **{name: _mean(values) for name, values in candidate.scores.items()},
        "kl": None if candidate.kl is None else float(np.mean(candidate.kl)),
        "length": float(candidate.lengths[index].mean()),
        "words": mean_words(texts),
        "eos_rate": None if candidate.responses is None else float(candidate.responses.ended.mean()),
        "repetition": mean_repetition(texts),
        "invented_facts": mean_invented_facts(kept, texts) if has_facts(kept) else None,
        **{name: _mean(candidate.measures[name]) for name in INVENTED},
        **{name: _estimate(candidate.measures[name]) for name in ROUGE},
    }


def _measures(candidate: Candidate, prompts: Sequence[Prompt], itself: bool) -> dict[str, NDArray[np.float64]]:
    """What can be said of each text alone, (n,) each; of the references ``itself``, the first against the others."""
    references = [(other_references if itself else references_of)(prompt.row) for prompt in prompts]
    found = rouge_by_text(candidate.texts, references)
    pairs = [(prompt.row["prompt"], text) for prompt, text in zip(prompts, candidate.texts, strict=True)]
    found |= {name: np.array([count(*pair) for pair in pairs], np.float64) for name, count in INVENTED.items()}
    return {name: np.where(candidate.present, values, np.nan) for name, values in found.items()}


def mean_invented_facts(prompts: Sequence[Prompt], texts: Sequence[str]) -> float:
    """The mean number of facts stated in a text but not in its post; for prompts with hidden facts."""
    pairs = zip(prompts, texts, strict=True)
    return float(np.mean([invented_facts(p.row["facts"], p.row["distractors"], text) for p, text in pairs]))


def _win_rate(outcome: NDArray[np.float64], itself: bool) -> Interval:
    return dict(EVEN) if itself else win_rate_of(outcome[~np.isnan(outcome)])


def _length_controlled(candidate: Candidate, outcome: NDArray[np.float64], opponent: Candidate, seed: int) -> Interval:
    if candidate is opponent:
        return dict(EVEN)
    known = ~np.isnan(outcome)
    return length_controlled_win_rate(outcome[known], candidate.lengths[known], opponent.lengths[known], seed=seed)


def _mean(values: NDArray[np.float64]) -> float | None:
    """The mean of the scores there are; None if there are none, as of a reward that judges none of these prompts."""
    judged = values[~np.isnan(values)]
    return float(judged.mean()) if len(judged) else None


def _estimate(values: NDArray[np.float64]) -> Interval | None:
    """The same with its interval."""
    known = values[~np.isnan(values)]
    return mean_interval(known) if len(known) else None


def _minus_start(
    candidate: Candidate,
    start: Candidate,
    outcome: NDArray[np.float64] | None,
    start_outcome: NDArray[np.float64] | None,
) -> dict[str, Interval] | None:
    """Paired by prompt: what the two have in common cancels, so the interval is narrower than for separate means."""
    if candidate is start:
        return None
    pairs = {name: (values, start.scores[name]) for name, values in candidate.scores.items()}
    pairs |= {name: (values, start.measures[name]) for name, values in candidate.measures.items()}
    if outcome is not None and start_outcome is not None:
        pairs["win_rate_vs_references"] = (outcome, start_outcome)
    differences = {name: mine - theirs for name, (mine, theirs) in pairs.items()}
    found = {name: _estimate(values) for name, values in differences.items()}
    return {name: interval for name, interval in found.items() if interval is not None}
