"""The score of a text: named parts, each a weighted function of text; and how a user names one.

A reward function is ``def reward(prompts, completions, **columns) -> list[float]``: one finite number per completion,
or None for one that it does not judge. It may be a coroutine. A preference model has the same signature, so nothing
here knows which kind it calls; ``arguments.py`` says what a function is given.
"""

from __future__ import annotations

import importlib
import math
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, RewardError, nearest
from ..numbers import is_number, plain
from ..paths import user_path
from .arguments import Arguments, Context, arguments_of, required_columns
from .calling import LARGEST, called_together, number, shown, told
from .importing import import_function
from .waiting import Failure

RewardFunction = Callable[..., Sequence[float]]
"""``(prompts, completions, **columns) -> one number per completion``; columns are lists as long as ``prompts``."""

BUILT_IN = {
    "gold": "gold:gold",
    "rouge_l": "functions:rouge_l",
    "exact_match": "functions:exact_match",
    "length": "functions:length",
}
"""Rewards with a short name, and where in this folder they are."""


class Reward:
    """The score of a response: Σ weight · part, over named parts.

    A part of weight 0 is computed and logged, but adds nothing to the total. A part that returns None for a row adds
    nothing there, but every row needs a part that judges it.

    Args:
        parts: name -> (function, weight).
    """

    def __init__(self, parts: Mapping[str, tuple[RewardFunction, float]]) -> None:
        if not parts:
            raise InputError("A reward needs at least one part; name a function, a preference model or nothing at all.")
        self.context = Context()
        self.parts = {name: (function, plain(weight)) for name, (function, weight) in parts.items()}
        for name, (function, weight) in self.parts.items():
            if not callable(function):
                raise InputError(f'Reward "{name}" is {shown(function)}, which cannot be called.')
            if not is_number(weight):
                raise InputError(f'The weight of reward "{name}" must be a finite number, not {shown(weight)}.')

    def __call__(
        self,
        prompts: Sequence[str],
        completions: Sequence[str],
        indices: Sequence[int] | None = None,
        columns: Mapping[str, Sequence[Any]] | None = None,
    ) -> tuple[NDArray[np.float64], dict[str, NDArray[np.float64]]]:
        """Score B completions.

        Args:
            prompts: B prompt texts.
            completions: B response texts.
            indices: the prompts' indices in their prompt set, for messages; by default 0 to B - 1.
            columns: further columns of the prompt data, each of length B.

        Returns:
            The total (B,) and every part before its weight, name -> (B,), NaN where it does not judge a row.

        Raises:
            RewardError: a part raised, returned NaN, inf or a non-number, or not one value per completion; or no part
                judges a row.
            InputError: a part needs a column that the prompts do not have.
        """
        indices = range(len(prompts)) if indices is None else indices
        values = self.values(prompts, completions, indices, columns)
        unjudged = np.all([np.isnan(part) for part in values.values()], axis=0)
        if unjudged.any():
            name, index = next(iter(self.parts)), indices[int(unjudged.argmax())]
            others = ", and so did every other part" if len(self.parts) > 1 else ""
            raise RewardError(
                f'Reward "{name}" returned None for prompt {index}{others}; one part must judge each prompt.', index
            )
        total = np.zeros(len(prompts))
        for name, (_, weight) in self.parts.items():
            if weight != 0:
                total += weight * np.nan_to_num(values[name])
        return total, values

    def values(
        self,
        prompts: Sequence[str],
        completions: Sequence[str],
        indices: Sequence[int] | None = None,
        columns: Mapping[str, Sequence[Any]] | None = None,
    ) -> dict[str, NDArray[np.float64]]:
        """Every part before its weight, as from a call, but a row may be one that no part judges."""
        columns = columns or {}
        self.check_columns(columns)
        arguments = {
            name: arguments_of(name, function, prompts, completions, columns, self.context)
            for name, (function, _) in self.parts.items()
        }
        return _evaluate(self.parts, arguments, range(len(prompts)) if indices is None else indices)

    def check_columns(self, available: Sequence[str] | Mapping[str, Any]) -> None:
        """Raise ``InputError`` when a part needs a column that is not among ``available``."""
        for name, (function, _) in self.parts.items():
            for column in required_columns(function):
                if column not in available:
                    has = ", ".join(f'"{key}"' for key in available) or "no further columns"
                    near = nearest(column, available)
                    raise InputError(f'Reward "{name}" needs the column "{column}", but the prompts have {has}.{near}')


def _evaluate(
    parts: Mapping[str, tuple[RewardFunction, float]], arguments: Mapping[str, Arguments], indices: Sequence[int]
) -> dict[str, NDArray[np.float64]]:
    """Call all parts and check every value; (B,) each, NaN where a part does not judge a row."""
    results = called_together([(parts[name][0], *given) for name, given in arguments.items()])
    checked = {}
    for (name, given), values in zip(arguments.items(), results, strict=True):
        if isinstance(values, Failure):
            raise _failed(name, parts[name][0], given, values.error, indices) from values.error
        checked[name] = _checked(name, values, indices)
    return checked


def _failed(
    name: str, function: RewardFunction, given: Arguments, error: BaseException, indices: Sequence[int]
) -> RewardError:
    row = _failing_row(function, given, len(indices))
    where = f"for prompt {indices[row]}" if row is not None else f"for a batch that starts with prompt {indices[0]}"
    return RewardError(f'Reward "{name}" raised {told(error, f" {where}")}', indices[row or 0])


def _checked(name: str, values: list[Any], indices: Sequence[int]) -> NDArray[np.float64]:
    """The values of a part as numbers."""
    if len(values) != len(indices):
        raise RewardError(
            f'Reward "{name}" returned {len(values)} values for {len(indices)} completions, in a batch that starts '
            f"with prompt {indices[0]}; it must return one number per completion.",
            indices[0],
        )
    found = [math.nan if value is None else number(value) for value in values]
    if None in found:
        row = found.index(None)
        raise RewardError(
            f'Reward "{name}" returned {shown(values[row])} for prompt {indices[row]}; it must return a finite number '
            f"of at most {LARGEST:g}, or None where it does not judge.",
            indices[row],
        )
    return np.array(found, dtype=np.float64)


def _failing_row(function: RewardFunction, given: Arguments, count: int) -> int | None:
    """Find the first row that raises when scored alone, so that the message can name it; None if none does."""
    for row in range(count):
        (alone,) = called_together([(function, *given.of_row(row))])
        if isinstance(alone, Failure):
            return row
    return None


def resolve_reward(spec: Any = None, device: str = "cpu", **where: Any) -> Reward:
    """Turn a user's specification of the reward into a ``Reward``.

    Args:
        spec: one of

            - ``None`` or ``"embedded"``: the embedded preference model;
            - a short name: ``"gold"``, ``"rouge_l"``, ``"exact_match"``, ``"length"``;
            - a folder or hub id: a preference model;
            - ``"package.module:function"``, ``"package.module.function"`` or ``"my_rewards.py:function"``: a Python
              function, looked up in the current directory too;
            - a callable with the reward signature, or a ``Reward``;
            - ``{"models": [a, b, c], "combine": "worst"}``: several preference models as one (see ``ensemble.py``);
            - a list of these, each of weight 1, or a dict ``{name: these}``, in which
              ``{"function": these, "weight": 0.5}`` sets a weight.
        device: where preference models run.
        where: ``dtype``, in which their weights are stored.

    Raises:
        InputError: nothing has that name; the message names the nearest.
    """
    if isinstance(spec, Reward):
        return spec
    where["device"] = device
    if isinstance(spec, Mapping) and not _is_ensemble(spec):
        return Reward({str(name): _weighted(str(name), part, where) for name, part in spec.items()})
    if isinstance(spec, list | tuple):
        parts: dict[str, tuple[RewardFunction, float]] = {}
        for part in spec:
            parts[_unused(_name(part), parts)] = (_function(part, where), 1.0)
        return Reward(parts)
    return Reward({_name(spec): (_function(spec, where), 1.0)})


def code_named(spec: Any) -> list[str]:
    """The paths to Python functions in a specification for :func:`resolve_reward`, if text; nothing is imported."""
    if isinstance(spec, Mapping):
        return [] if _is_ensemble(spec) else [path for part in spec.values() for path in code_named(_function_in(part))]
    if isinstance(spec, list | tuple):
        return [path for part in spec for path in code_named(part)]
    is_code = isinstance(spec, str) and spec not in BUILT_IN and not _is_preference(spec) and set(spec) & set(":.")
    return [str(spec)] if is_code else []


def _function_in(part: Any) -> Any:
    return part["function"] if isinstance(part, Mapping) and "function" in part else part


def _is_preference(text: str) -> bool:
    """Whether a name is that of a preference model: embedded, a folder or a hub id."""
    return (
        text == "embedded" or user_path(text).is_dir() or ("/" in text and ":" not in text and not text.endswith(".py"))
    )


def _weighted(name: str, spec: Any, where: Mapping[str, Any]) -> tuple[RewardFunction, float]:
    if not isinstance(spec, Mapping) or _is_ensemble(spec):
        return _function(spec, where), 1.0
    for key in spec:
        if key not in ("function", "weight"):
            raise InputError(f'Reward "{name}" has the unknown key "{key}".{nearest(key, ("function", "weight"))}')
    if "function" not in spec:
        raise InputError(f'Reward "{name}" names no "function".')
    return _function(spec["function"], where), spec.get("weight", 1.0)


def _is_ensemble(spec: Mapping[str, Any]) -> bool:
    """Whether a mapping is an ensemble rather than named parts: a list cannot be a part."""
    return "models" in spec and (isinstance(spec["models"], list | tuple) or "combine" in spec)


def _name(spec: Any) -> str:
    if spec is None or spec == "embedded":
        return "preference"
    if isinstance(spec, Mapping):
        return "ensemble"
    if isinstance(spec, str | os.PathLike):
        return os.fspath(spec).rstrip("/").replace(":", ".").replace("/", ".").split(".")[-1]
    return getattr(spec, "__name__", type(spec).__name__)


def _unused(name: str, taken: Mapping[str, Any]) -> str:
    number = 2
    candidate = name
    while candidate in taken:
        candidate, number = f"{name}_{number}", number + 1
    return candidate


def _function(spec: Any, where: Mapping[str, Any]) -> RewardFunction:
    if isinstance(spec, Mapping) and _is_ensemble(spec):
        from .ensemble import PreferenceEnsemble

        return PreferenceEnsemble.load(spec, **where)
    if spec is not None and not isinstance(spec, str | os.PathLike):
        if not callable(spec):
            raise InputError(f"A reward is a name, a function or a folder of a preference model, not {shown(spec)}.")
        return spec
    text = "embedded" if spec is None else os.fspath(spec)
    if text in BUILT_IN:
        module, attribute = BUILT_IN[text].split(":")
        return getattr(importlib.import_module(f".{module}", __package__), attribute)
    if _is_preference(text):
        from .preference_model import PreferenceModel  # imported late: a Python reward does not need torch

        return PreferenceModel.load(text, **where)
    if ":" in text or "." in text:
        return import_function(text)
    raise InputError(
        f'There is no reward "{text}"; name a folder, one of {", ".join(BUILT_IN)}, or a function as '
        f'"module:function" or "file.py:function".{nearest(text, BUILT_IN)}'
    )
