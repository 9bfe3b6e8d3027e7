"""From the policies of several training runs to figures of each agent, and to what one agent has over another.

A run is one training with one seed; an agent is one recipe, trained with one seed or with several. Every rate is a
fraction 0-1, KL is in nats, length in tokens, every interval 95 %.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .candidates import Candidate
from .evaluate import Evaluation
from .win_rate import Interval, mean_interval, t_interval

RATES = ("win_rate_vs_references", "win_rate_vs_start", "win_rate_length_controlled")
WAYS = {"sampled": "policies", "greedy": "greedy"}
"""How texts were decoded, and where an evaluation's metrics hold the figures."""


@dataclass(frozen=True)
class Run:
    """One policy of an evaluation and the training that it came from.

    name: of the policy in the evaluation.
    agent: which recipe it is a run of.
    seed: of the training; ``None`` where that is not known.
    episodes: trained on.
    seconds: of training.
    """

    name: str
    agent: str
    seed: int | None
    episodes: int = 0
    seconds: float = 0.0


def compare_agents(evaluation: Evaluation, runs: Sequence[Run]) -> dict[str, Any]:
    """What ``metrics.json`` holds besides the figures of every run.

    Returns:
        ``"agents"``: agent -> ``runs``, ``seeds``, ``episodes`` and ``seconds`` (of a run, on average), ``over``, and
        under ``sampled`` and ``greedy`` the mean of every figure with its interval, ``minus_start`` among them. Of an
        agent with several runs the interval is over seeds (Student's; the prompts are held fixed), of one with a single
        run it is over prompts; ``over`` says which.
        ``"differences"``: for every pair of agents ``a``, ``b``, the ``seeds`` that pair them, ``over``, and under
        ``sampled`` and ``greedy`` the figures of a minus those of b: over the seeds both were trained with where there
        are several, over prompts where there is one pair of runs. Two agents that share no seed have none, unless each
        has a single run.
    """
    agents: dict[str, list[Run]] = {}
    for run in runs:
        agents.setdefault(run.agent, []).append(run)
    pairs = combinations(agents.items(), 2)
    differences = (_difference(evaluation, a, b, _pairs(own, other)) for (a, own), (b, other) in pairs)
    return {
        "agents": {name: _agent(evaluation, own) for name, own in agents.items()},
        "differences": [found for found in differences if found is not None],
    }


def _agent(evaluation: Evaluation, runs: Sequence[Run]) -> dict[str, Any]:
    return {
        "runs": [run.name for run in runs],
        "seeds": [run.seed for run in runs],
        "episodes": float(np.mean([run.episodes for run in runs])),
        "seconds": float(np.mean([run.seconds for run in runs])),
        "over": "seeds" if len(runs) > 1 else "prompts",
        **{way: _figures(evaluation, way, [run.name for run in runs]) for way in WAYS},
    }


def _figures(evaluation: Evaluation, way: str, names: Sequence[str]) -> dict[str, Any]:
    """Every figure of one agent, as mean and interval; what does not apply is left out."""
    rows = [evaluation.metrics[WAYS[way]][name] for name in names]
    gains: list[dict[str, Interval]] = [row["minus_start"] for row in rows]
    if len(rows) == 1:
        known = {key: rows[0][key] for key in RATES if rows[0][key] is not None}
        by_prompt = _by_prompt(_candidates(evaluation, way)[names[0]])
        return {**known, **{key: _mean(values) for key, values in by_prompt.items()}, "minus_start": gains[0]}
    return {
        **{key: _over_seeds(key, values) for key, values in _by_run(evaluation, way, names).items()},
        "minus_start": {key: t_interval([gain[key]["mean"] for gain in gains]) for key in gains[0]},
    }


def _pairs(a: Sequence[Run], b: Sequence[Run]) -> list[tuple[Run, Run]]:
    """The runs of two agents that share a seed; two single runs are a pair in any case."""
    shared = [(one, other) for one in a for other in b if one.seed == other.seed is not None]
    return shared or ([(a[0], b[0])] if len(a) == len(b) == 1 else [])


def _difference(evaluation: Evaluation, a: str, b: str, pairs: Sequence[tuple[Run, Run]]) -> dict[str, Any] | None:
    if not pairs:
        return None
    subtract = _minus_over_seeds if len(pairs) > 1 else _minus_over_prompts
    first, second = ([run.name for run in side] for side in zip(*pairs, strict=True))
    return {
        "a": a,
        "b": b,
        "seeds": [run.seed for run, other in pairs if run.seed == other.seed],
        "over": "seeds" if len(pairs) > 1 else "prompts",
        **{way: subtract(evaluation, way, first, second) for way in WAYS},
    }


def _minus_over_seeds(
    evaluation: Evaluation, way: str, first: Sequence[str], second: Sequence[str]
) -> dict[str, Interval]:
    """Paired by seed: what the two have in common (prompts drawn, random numbers) cancels."""
    mine, theirs = (_by_run(evaluation, way, names) for names in (first, second))
    return {key: t_interval(mine[key] - theirs[key]) for key in mine}


def _minus_over_prompts(
    evaluation: Evaluation, way: str, first: Sequence[str], second: Sequence[str]
) -> dict[str, Interval]:
    """Paired by prompt: one run of each, so nothing is known of other seeds."""
    mine, theirs = (_by_prompt(_candidates(evaluation, way)[name]) for [name] in (first, second))
    return {key: _mean(mine[key] - theirs[key]) for key in mine}


def _by_run(evaluation: Evaluation, way: str, names: Sequence[str]) -> dict[str, NDArray[np.float64]]:
    """Figure -> its value in each run, (number of runs,)."""
    rows: list[Mapping[str, Any]] = [evaluation.metrics[WAYS[way]][name] for name in names]
    scores = _candidates(evaluation, way)[names[0]].scores
    known = [key for key in (*RATES, *scores, "kl", "length") if rows[0][key] is not None]
    return {key: np.array([row[key]["mean"] if key in RATES else row[key] for row in rows]) for key in known}


def _by_prompt(candidate: Candidate) -> dict[str, NDArray[np.float64]]:
    """Figure -> its value on each prompt, (n,)."""
    kl = np.asarray(candidate.kl, dtype=np.float64)
    return {**candidate.scores, "kl": kl, "length": candidate.lengths.astype(np.float64)}


def _candidates(evaluation: Evaluation, way: str) -> dict[str, Candidate]:
    return evaluation.sampled if way == "sampled" else evaluation.greedy


def _over_seeds(key: str, values: NDArray[np.float64]) -> Interval:
    found = t_interval(values)
    return {name: min(1.0, max(0.0, value)) for name, value in found.items()} if key in RATES else found


def _mean(values: NDArray[np.float64]) -> Interval:
    return mean_interval(values[~np.isnan(values)])
