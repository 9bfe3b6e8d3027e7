"""Several preference models as one reward, so that an agent cannot exploit what only one of them gets wrong.

Coste et al. 2023, "Reward Model Ensembles Help Mitigate Overoptimization" (section 3): members with different data or
seeds agree on their training distribution and disagree where a policy has left it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from operator import or_
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data.chat_template import Asked
from ..errors import InputError, nearest
from .preference_model import PreferenceModel
from .training_rows import TrainingRows

Combination = Callable[[NDArray[np.float64]], NDArray[np.float64]]


def mean(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Average over members: (M, B) -> (B,); their independent errors cancel.

    >>> mean(np.array([[0.0], [4.0]])).tolist()
    [2.0]
    """
    return scores.mean(axis=0)


def worst(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Lowest of the members' scores, worst-case optimisation: (M, B) -> (B,).

    >>> worst(np.array([[0.0], [4.0]])).tolist()
    [0.0]
    """
    return scores.min(axis=0)


def mean_minus_std(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean minus the standard deviation over members, uncertainty-weighted optimisation: (M, B) -> (B,).

    The paper subtracts the variance times a tuned coefficient. The deviation, like the score, is in units of log-odds,
    so it needs none.

    >>> mean_minus_std(np.array([[0.0], [4.0]])).tolist()
    [0.0]
    """
    return scores.mean(axis=0) - scores.std(axis=0)


COMBINATIONS: dict[str, Combination] = {"mean": mean, "worst": worst, "mean_minus_std": mean_minus_std}


class PreferenceEnsemble:
    """Scores text with several preference models, each with its own shift and calibration, and combines the scores.

    Args:
        models: two or more members.
        combine: ``"mean"``, ``"worst"`` or ``"mean_minus_std"``.

    Raises:
        InputError: fewer than two members, or an unknown rule.
    """

    def __init__(self, models: Sequence[PreferenceModel], combine: str = "mean") -> None:
        _check(models, combine)
        self.models = list(models)
        self.combine = combine

    @classmethod
    def load(cls, spec: Mapping[str, Any], **where: Any) -> PreferenceEnsemble:
        """Load ``{"models": [folder or hub id, ...], "combine": "worst"}``; ``combine`` may be left out.

        ``where`` are further arguments of ``PreferenceModel.load``: ``device`` and ``dtype``.

        Raises:
            InputError: an unknown key or rule, fewer than two models, or one that cannot be loaded.
        """
        for key in spec:
            if key not in ("models", "combine"):
                raise InputError(f'An ensemble has no key "{key}".{nearest(key, ("models", "combine"))}')
        models, combine = spec["models"], spec.get("combine", "mean")
        _check(models, combine)
        return cls([_member(model, where) for model in models], combine)

    @property
    def rows(self) -> TrainingRows:
        """Hashes of what any member was trained on."""
        return reduce(or_, (model.rows for model in self.models))

    def scores(self, prompts: Sequence[Asked], responses: Sequence[str], batch_size: int = 64) -> NDArray[np.float64]:
        """Return the scores of B responses by each of M members: (M, B)."""
        return np.stack([model.score(prompts, responses, batch_size) for model in self.models])

    def score(self, prompts: Sequence[Asked], responses: Sequence[str], batch_size: int = 64) -> NDArray[np.float64]:
        """Return the combined scores (B,) of B responses to B prompts; the same in any batch."""
        return COMBINATIONS[self.combine](self.scores(prompts, responses, batch_size))

    def __call__(
        self,
        prompts: Sequence[str],
        completions: Sequence[str],
        conversation: Sequence[Any] | None = None,
        prompt_body: Sequence[str | None] | None = None,
        prompt_framed: Sequence[bool] | None = None,
        **columns: Any,
    ) -> list[float]:
        """Score completions, with the signature of every reward."""
        each = np.stack(
            [model(prompts, completions, conversation, prompt_body, prompt_framed) for model in self.models]
        )
        return COMBINATIONS[self.combine](each).tolist()


def _member(model: Any, where: Mapping[str, Any]) -> PreferenceModel:
    if isinstance(model, PreferenceModel):
        return model
    if not isinstance(model, str | os.PathLike):
        raise InputError(f"A model of an ensemble is the folder or hub id of a preference model, not {model!r}.")
    return PreferenceModel.load(os.fspath(model), **where)


def _check(models: Any, combine: Any) -> None:
    if not isinstance(combine, str) or combine not in COMBINATIONS:
        known = ", ".join(COMBINATIONS)
        raise InputError(f'An ensemble combines by {known}, not by "{combine}".{nearest(str(combine), COMBINATIONS)}')
    if isinstance(models, str) or not isinstance(models, Sequence) or len(models) < 2:
        raise InputError(f'"models" of an ensemble is a list of two or more preference models, not {models!r}.')
