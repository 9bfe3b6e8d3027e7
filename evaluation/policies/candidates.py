"""The candidates of a comparison: texts of a policy or a yardstick, their scores, and their outcomes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ...envs.prompt_source import Prompt, columns_of
from ...rewards.reward import Reward, RewardFunction
from ..win_rate import outcomes
from .decode import Scorer
from .judge import Judge
from .responses import Responses

JUDGE_SCORE = "judge_score"
"""The score of a judge that is not a reported score; kept with them, so that every text is judged once."""


@dataclass
class Candidate:
    """One text per prompt, for n prompts.

    texts: n texts; ``""`` if there is none.
    lengths: (n,) tokens without EOS; for a text that no policy wrote, by the start policy's tokenizer.
    present: (n,) bool, whether there is a text: a prompt may have no reference.
    responses: tokens and log-probabilities, for policies only.
    kl: nats from the reference, (n,) or one known number for all; ``None`` for yardsticks.
    scores: score name -> (n,).
    measures: of the text alone, name -> (n,), NaN where a prompt has none; set by ``measures.figures``.
    outcomes: figure -> (n,) outcome against an opponent on each prompt, NaN if one has no text; set by
        ``measures.figures``.
    temperature: of sampling, if it was selected.
    """

    texts: list[str]
    lengths: NDArray[np.int64]
    present: NDArray[np.bool_]
    responses: Responses | None = None
    kl: NDArray[np.float64] | float | None = None
    scores: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    measures: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    outcomes: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    temperature: float | None = None


def as_scorer(
    name: str, function: RewardFunction | Reward, encode: Callable[[str], Sequence[int]] | None = None
) -> Scorer:
    """A reward function as a scorer of prompts; its values are checked, errors name it and the prompt.

    A function alone gives NaN where it does not judge. ``encode`` gives the tokens of a text to those that ask.
    """
    reward = function if isinstance(function, Reward) else Reward({name: (function, 1.0)})
    reward.context.encode = encode or reward.context.encode

    def score(prompts: Sequence[Prompt], responses: Sequence[str]) -> NDArray[np.float64]:
        indices = [-1 if prompt.index is None else prompt.index for prompt in prompts]
        asked = [prompt.told for prompt in prompts], responses, indices, columns_of(prompts)
        return reward(*asked)[0] if reward is function else reward.values(*asked)[name]

    return score


def score_together(
    score: Scorer, prompts: Sequence[Prompt], candidates: Sequence[Candidate], rows: range
) -> NDArray[np.float64]:
    """(candidates, rows) scores of all texts to some prompts, in one call: a model may read a prompt once for them.

    A text that several candidates have is scored once, so that they tie. NaN where there is no text, which never enters
    a mean.
    """
    result = np.full((len(candidates), len(rows)), np.nan)
    there = [(of, place) for place, row in enumerate(rows) for of, one in enumerate(candidates) if one.present[row]]
    said = [(rows[place], candidates[of].texts[rows[place]]) for of, place in there]
    distinct = list(dict.fromkeys(said))
    if distinct:
        scores = score([prompts[row] for row, _ in distinct], [text for _, text in distinct])
        score_of = dict(zip(distinct, scores, strict=True))
        result[tuple(np.array(there).T)] = [score_of[one] for one in said]
    return result


def compare(judge: Judge | str, prompts: Sequence[Prompt], a: Candidate, b: Candidate) -> NDArray[np.float64]:
    """(n,) outcomes of a against b: 1 a win, 0.5 a tie, 0 a loss; NaN where one of them has no text.

    ``judge`` is a judge, or the name of a score that both have.
    """
    result = np.full(len(prompts), np.nan)
    index = np.flatnonzero(a.present & b.present).tolist()
    if isinstance(judge, str):
        judged = [i for i in index if not np.isnan(a.scores[judge][i] + b.scores[judge][i])]
        result[judged] = outcomes(a.scores[judge][judged], b.scores[judge][judged])
        return result
    kept = [prompts[i] for i in index]
    texts_a, texts_b = ([candidate.texts[i] for i in index] for candidate in (a, b))
    result[index] = judge.compare([prompt.told for prompt in kept], texts_a, texts_b, columns_of(kept))
    return result
