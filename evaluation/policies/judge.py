"""Judges of which of two texts is better: gold, a preference model, or a user's function."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ...errors import RewardError
from ...rewards.arguments import accepted_columns
from ...rewards.calling import called, number, shown, told
from ...rewards.reward import Reward, resolve_reward
from ..win_rate import outcomes, win_rate

__all__ = ["Columns", "Judge", "PairwiseJudge", "ScoreJudge", "resolve_judge", "win_rate"]

Columns = Mapping[str, Sequence[Any]]
PairwiseFunction = Callable[..., Sequence[float]]
"""``(prompts, first, second, **columns) -> P(first is better)``, one number in 0-1 per prompt."""


class Judge(Protocol):
    """Anything with a name that compares two texts for each of n prompts."""

    name: str

    def compare(
        self, prompts: Sequence[str], a: Sequence[str], b: Sequence[str], columns: Columns | None = None
    ) -> NDArray[np.float64]:
        """(n,) outcomes of a against b: 1 a win, 0.5 a tie, 0 a loss, asked in both orders."""
        ...


class ScoreJudge:
    """Judges by a score of each text on its own, so the order of the two cannot matter."""

    def __init__(self, name: str, reward: Reward) -> None:
        self.name, self.reward = name, reward

    def score(
        self, prompts: Sequence[str], responses: Sequence[str], columns: Columns | None = None
    ) -> NDArray[np.float64]:
        """(n,) the score of each response."""
        return self.reward(prompts, responses, columns=columns)[0]

    def compare(
        self, prompts: Sequence[str], a: Sequence[str], b: Sequence[str], columns: Columns | None = None
    ) -> NDArray[np.float64]:
        """(n,) 1 where a scores higher, 0 where b does, 0.5 where they tie."""
        return outcomes(self.score(prompts, a, columns), self.score(prompts, b, columns))


class PairwiseJudge:
    """Judges with a function of two texts, which may prefer whatever it reads first, so it is asked in both orders.

        outcome of a = (f(a, b) + 1 - f(b, a)) / 2

    So a judge that always says "the first" calls everything a tie.
    """

    def __init__(self, name: str, function: PairwiseFunction) -> None:
        self.name, self.function = name, function

    def compare(
        self, prompts: Sequence[str], a: Sequence[str], b: Sequence[str], columns: Columns | None = None
    ) -> NDArray[np.float64]:
        """(n,) the mean of both orders, 0-1.

        Raises:
            RewardError: the function raised, returned a number outside 0-1, or not one per prompt.
        """
        return (self._ask(prompts, a, b, columns) + 1 - self._ask(prompts, b, a, columns)) / 2

    def _ask(
        self, prompts: Sequence[str], first: Sequence[str], second: Sequence[str], columns: Columns | None
    ) -> NDArray[np.float64]:
        columns = {name: column for name, column in (columns or {}).items() if name not in ("first", "second")}
        further = accepted_columns(self.function, columns)
        try:
            values = called(self.function, prompts=prompts, first=first, second=second, **further)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # SystemExit too
            raise RewardError(f'Judge "{self.name}" raised {told(error)}.') from error
        if len(values) != len(prompts):
            raise RewardError(f'Judge "{self.name}" returned {len(values)} values for {len(prompts)} comparisons.')
        found = [number(value) for value in values]
        for index, value in enumerate(found):
            if value is None or not 0 <= value <= 1:
                raise RewardError(
                    f'Judge "{self.name}" returned {shown(values[index])} for prompt {index}; it must return the '
                    "probability, 0 to 1, that the first text is better.",
                    index,
                )
        return np.array(found, dtype=np.float64)


def resolve_judge(spec: Any = "gold", device: str = "cpu") -> Judge:
    """Turn a user's specification into a judge.

    Args:
        spec: anything that ``rewards.reward.resolve_reward`` accepts (``"gold"``, the folder of a preference model, a
            function of single texts such as ``"my_rewards.py:score"``), a function of two texts with parameters named
            ``first`` and ``second``, which returns the probability that the first is better, or a judge.
        device: where a preference model runs.

    Raises:
        InputError: nothing has that name.
    """
    if hasattr(spec, "compare"):
        return spec
    reward = resolve_reward(spec, device)
    name = str(spec) if isinstance(spec, str | os.PathLike) else " + ".join(reward.parts)
    functions = [function for function, _ in reward.parts.values()]
    if len(functions) == 1 and _is_pairwise(functions[0]):
        return PairwiseJudge(name, functions[0])
    return ScoreJudge(name, reward)


def _is_pairwise(function: Callable[..., Any]) -> bool:
    try:
        return {"first", "second"} <= set(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return False
