"""The score of a text: named parts, each a weighted function of text; and how a user names one.

A reward function is ``def reward(prompts, completions, **columns) -> list[float]``: one finite number per completion. A
preference model has the same signature, so nothing here knows which kind it calls.
"""

from __future__ import annotations

import importlib
import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, RewardError, nearest
from ..numbers import is_number, plain
from ..paths import user_path
from .calling import LARGEST, called, number, shown, told
from .importing import import_function

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

    A part of weight 0 is computed and logged, but adds nothing to the total.

    Args:
        parts: name -> (function, weight).
    """

    def __init__(self, parts: Mapping[str, tuple[RewardFunction, float]]) -> None:
        if not parts:
            raise InputError("A reward needs at least one part; name a function, a preference model or nothing at all.")
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
            The total (B,) and every part before its weight, name -> (B,).

        Raises:
            RewardError: a part raised, returned NaN, inf or a non-number, or not one value per completion.
            InputError: a part needs a column that the prompts do not have.
        """
        indices = range(len(prompts)) if indices is None else indices
        columns = columns or {}
        self.check_columns(columns)
        values = {
            name: _evaluate(name, function, prompts, completions, indices, columns)
            for name, (function, _) in self.parts.items()
        }
        total = np.zeros(len(prompts))
        for name, (_, weight) in self.parts.items():
            if weight != 0:
                total += weight * values[name]
        return total, values

    def check_columns(self, available: Sequence[str] | Mapping[str, Any]) -> None:
        """Raise ``InputError`` when a part needs a column that is not among ``available``."""
        for name, (function, _) in self.parts.items():
            for column in _required_columns(function):
                if column not in available:
                    has = ", ".join(f'"{key}"' for key in available) or "no further columns"
                    near = nearest(column, available)
                    raise InputError(f'Reward "{name}" needs the column "{column}", but the prompts have {has}.{near}')


def _parameters(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    try:
        return dict(inspect.signature(function).parameters)
    except (TypeError, ValueError):  # a builtin without a signature: pass everything
        return {"columns": inspect.Parameter("columns", inspect.Parameter.VAR_KEYWORD)}


def _required_columns(function: RewardFunction) -> list[str]:
    ours = {"prompts", "completions"}
    kinds = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [
        name
        for name, parameter in _parameters(function).items()
        if name not in ours and parameter.kind in kinds and parameter.default is inspect.Parameter.empty
    ]


def accepted_columns(function: Callable[..., Any], columns: Mapping[str, Sequence[Any]]) -> dict[str, Sequence[Any]]:
    """The columns that ``function`` has parameters for; all of them if it takes ``**columns``."""
    parameters = _parameters(function)
    if not any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values()):
        columns = {name: column for name, column in columns.items() if name in parameters}
    return {name: column for name, column in columns.items() if name not in ("prompts", "completions")}


def _evaluate(
    name: str,
    function: RewardFunction,
    prompts: Sequence[str],
    completions: Sequence[str],
    indices: Sequence[int],
    columns: Mapping[str, Sequence[Any]],
) -> NDArray[np.float64]:
    """Call one part and check every value; (B,)."""
    columns = accepted_columns(function, columns)
    try:
        values = called(function, prompts=prompts, completions=completions, **columns)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # SystemExit too: sys.exit() in a reward must not look like the end of a run
        row = _failing_row(function, prompts, completions, columns)
        where = f"for prompt {indices[row]}" if row is not None else f"for a batch that starts with prompt {indices[0]}"
        raise RewardError(f'Reward "{name}" raised {told(error, f" {where}")}', indices[row or 0]) from error
    if len(values) != len(prompts):
        raise RewardError(
            f'Reward "{name}" returned {len(values)} values for {len(prompts)} completions, in a batch that starts '
            f"with prompt {indices[0]}; it must return one number per completion.",
            indices[0],
        )
    found = [number(value) for value in values]
    if None in found:
        row = found.index(None)
        raise RewardError(
            f'Reward "{name}" returned {shown(values[row])} for prompt {indices[row]}; it must return a finite number '
            f"of at most {LARGEST:g}.",
            indices[row],
        )
    return np.array(found, dtype=np.float64)


def _failing_row(
    function: RewardFunction, prompts: Sequence[str], completions: Sequence[str], columns: Mapping[str, Sequence[Any]]
) -> int | None:
    """Find the first row that raises when scored alone, so that the message can name it; None if none does."""
    for row in range(len(prompts)):
        try:
            alone = {name: [column[row]] for name, column in columns.items()}
            called(function, prompts=[prompts[row]], completions=[completions[row]], **alone)
        except KeyboardInterrupt:
            raise
        except BaseException:
            return row
    return None


def resolve_reward(spec: Any = None, device: str = "cpu") -> Reward:
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

    Raises:
        InputError: nothing has that name; the message names the nearest.
    """
    if isinstance(spec, Reward):
        return spec
    if isinstance(spec, Mapping) and not _is_ensemble(spec):
        return Reward({str(name): _weighted(str(name), part, device) for name, part in spec.items()})
    if isinstance(spec, list | tuple):
        parts: dict[str, tuple[RewardFunction, float]] = {}
        for part in spec:
            parts[_unused(_name(part), parts)] = (_function(part, device), 1.0)
        return Reward(parts)
    return Reward({_name(spec): (_function(spec, device), 1.0)})


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


def _weighted(name: str, spec: Any, device: str) -> tuple[RewardFunction, float]:
    if not isinstance(spec, Mapping) or _is_ensemble(spec):
        return _function(spec, device), 1.0
    for key in spec:
        if key not in ("function", "weight"):
            raise InputError(f'Reward "{name}" has the unknown key "{key}".{nearest(key, ("function", "weight"))}')
    if "function" not in spec:
        raise InputError(f'Reward "{name}" names no "function".')
    return _function(spec["function"], device), spec.get("weight", 1.0)


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


def _function(spec: Any, device: str) -> RewardFunction:
    if isinstance(spec, Mapping) and _is_ensemble(spec):
        from .ensemble import PreferenceEnsemble

        return PreferenceEnsemble.load(spec, device)
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

        return PreferenceModel.load(text, device=device)
    if ":" in text or "." in text:
        return import_function(text)
    raise InputError(
        f'There is no reward "{text}"; name a folder, one of {", ".join(BUILT_IN)}, or a function as '
        f'"module:function" or "file.py:function".{nearest(text, BUILT_IN)}'
    )
