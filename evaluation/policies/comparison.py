"""From the policies of several training runs to figures for each agent, and differences between agents.

A run is one training with one seed; an agent is one recipe, trained with one seed or several. Every rate is a fraction
0-1, KL is in nats, length in tokens, every interval 95 %.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..win_rate import Interval, crossed_interval, length_controlled_win_rate, mean_over_runs, win_rate_of
from .candidates import Candidate
from .evaluate import Evaluation

RATES = ("win_rate_vs_references", "win_rate_vs_start")
CONTROLLED = "win_rate_vs_start_length_controlled"
WAYS = {"sampled": "policies", "greedy": "greedy"}
"""How texts were decoded; the keys of every run's figures in an evaluation's metrics."""


@dataclass(frozen=True)
class Run:
    """One policy of an evaluation and the training it came from.

    name: of the policy in the evaluation.
    agent: the recipe it is a run of.
    seed: of the training; ``None`` if unknown.
    episodes: trained on.
    seconds: of training.
    """

    name: str
    agent: str
    seed: int | None
    episodes: int = 0
    seconds: float = 0.0


def compare_agents(evaluation: Evaluation, runs: Sequence[Run], seed: int = 0) -> dict[str, Any]:
    """What ``metrics.json`` contains besides the figures of every run; ``seed`` is that of the bootstrap.

    Returns:
        ``"agents"``: agent -> ``runs``, ``seeds``, ``episodes`` and ``seconds`` (per run, on average), ``over``, and
        under ``sampled`` and ``greedy`` the mean of every figure with its interval, ``minus_start`` among them. The
        intervals of an agent with several runs are over seeds and prompts (``win_rate.crossed_interval``), those of one
        with a single run over prompts; ``over`` says which. ``"differences"``: for every pair of agents ``a``, ``b``,
        the ``seeds`` that pair them, ``over``, and under ``sampled`` and ``greedy`` the figures of a minus those of b,
        seed by seed and prompt by prompt. Two agents without a common seed have none, unless each has a single run.
    """
    agents: dict[str, list[Run]] = {}
    for run in runs:
        agents.setdefault(run.agent, []).append(run)
    pairs = combinations(agents.items(), 2)
    differences = (_difference(evaluation, a, b, _pairs(own, other)) for (a, own), (b, other) in pairs)
    return {
        "agents": {name: _agent(evaluation, own, seed) for name, own in agents.items()},
        "differences": [found for found in differences if found is not None],
    }


def _agent(evaluation: Evaluation, runs: Sequence[Run], seed: int) -> dict[str, Any]:
    return {
        "runs": [run.name for run in runs],
        "seeds": [run.seed for run in runs],
        "episodes": float(np.mean([run.episodes for run in runs])),
        "seconds": float(np.mean([run.seconds for run in runs])),
        "over": _over(runs),
        **{way: _figures(candidates, runs, seed) for way, candidates in _ways(evaluation).items()},
    }


def _figures(candidates: Mapping[str, Candidate], runs: Sequence[Run], seed: int) -> dict[str, Any]:
    """Every figure of one agent, and its differences to the start policy."""
    mine, start = _by_prompt(candidates, runs), _by_prompt(candidates, [Run("start", "start", None)])
    gains = {key: mine[key] - start[key] for key in mine if key not in ("win_rate_vs_start", "kl")}
    return {
        **{key: _rate(values) if key in RATES else _interval(values) for key, values in mine.items()},
        CONTROLLED: _controlled(candidates, runs, seed),
        "minus_start": {key: _interval(values) for key, values in gains.items()},
    }


def _pairs(a: Sequence[Run], b: Sequence[Run]) -> list[tuple[Run, Run]]:
    """The runs of two agents paired by seed; two single runs are always a pair."""
    shared = [(one, other) for one in a for other in b if one.seed == other.seed is not None]
    return shared or ([(a[0], b[0])] if len(a) == len(b) == 1 else [])


def _difference(evaluation: Evaluation, a: str, b: str, pairs: Sequence[tuple[Run, Run]]) -> dict[str, Any] | None:
    """The difference a minus b: what a pair has in common (prompts, random numbers) cancels."""
    if not pairs:
        return None
    first, second = zip(*pairs, strict=True)
    difference: dict[str, Any] = {"a": a, "b": b, "over": _over(first)}
    difference["seeds"] = [run.seed for run, other in pairs if run.seed == other.seed]
    for way, candidates in _ways(evaluation).items():
        mine, theirs = _by_prompt(candidates, first), _by_prompt(candidates, second)
        difference[way] = {key: _interval(mine[key] - theirs[key]) for key in mine}
    return difference


def _over(runs: Sequence[Run]) -> str:
    return "seeds and prompts" if len(runs) > 1 else "prompts"


def _ways(evaluation: Evaluation) -> dict[str, dict[str, Candidate]]:
    return {"sampled": evaluation.sampled, "greedy": evaluation.greedy}


def _by_prompt(candidates: Mapping[str, Candidate], runs: Sequence[Run]) -> dict[str, NDArray[np.float64]]:
    """Figure -> its value for each run on each prompt, (S, n)."""
    rows = [
        {
            **own.outcomes,
            **own.scores,
            **own.measures,
            "kl": np.asarray(own.kl, dtype=np.float64),
            "length": own.lengths.astype(float),
        }
        for own in (candidates[run.name] for run in runs)
    ]
    keys = [key for key in (*RATES, *rows[0]) if key in rows[0] and not np.isnan(rows[0][key]).all()]
    return {key: np.stack([row[key] for row in rows]) for key in dict.fromkeys(keys)}


def _controlled(candidates: Mapping[str, Candidate], runs: Sequence[Run], seed: int) -> Interval:
    """The win rate against the start policy that is predicted for texts of the same length."""
    rates = []
    for own in (candidates[run.name] for run in runs):
        outcome = own.outcomes["win_rate_vs_start"]
        known = ~np.isnan(outcome)
        lengths = own.lengths[known], candidates["start"].lengths[known]
        rates.append(length_controlled_win_rate(outcome[known], *lengths, seed=seed))
    return {name: min(1.0, max(0.0, value)) for name, value in mean_over_runs(rates).items()}


def _interval(values: NDArray[np.float64]) -> Interval:
    """Over the prompts that have a text to compare."""
    return crossed_interval(values[:, ~np.isnan(values).any(0)])


def _rate(values: NDArray[np.float64]) -> Interval:
    """A win rate, within 0-1; for a single run with Wilson's interval, as in its own figures."""
    if len(values) == 1:
        return win_rate_of(values[~np.isnan(values)])
    return {name: min(1.0, max(0.0, value)) for name, value in _interval(values).items()}
