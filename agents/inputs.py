"""Hashes of what a run learns from: data, reward, reference and model. With others, a resumed run is another run."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..rewards.ensemble import PreferenceEnsemble
from ..rewards.importing import code_of
from ..rewards.preference_model import PreferenceModel

TOLD = {
    "data": "the prompts",
    "reward": "the reward",
    "reference": "the reference",
    "model": "the model that training started from",
}


def inputs_of(env: Any) -> dict[str, str]:
    """Hashes of everything that an environment of this package gives a learner.

    Those of sub-environments of a synchronous or asynchronous vector are not accessible, and are left out.
    """
    base, found = env.unwrapped, dict[str, str]()
    if getattr(base, "prompts", None) is not None:
        found["data"] = _of_prompts(base.prompts)
    if getattr(base, "reward", None) is not None:
        parts = {name: [_of_function(function), weight] for name, (function, weight) in base.reward.parts.items()}
        found["reward"] = _digest(json.dumps(parts, sort_keys=True))
    return found | models_of(env)


def models_of(env: Any) -> dict[str, str]:
    """Of :func:`inputs_of` the models alone: what training started from, and what the KL is measured from."""
    base = env.unwrapped
    models = {"model": getattr(base, "language_model", None), "reference": getattr(base, "reference", None)}
    return {name: model.checksum() for name, model in models.items() if model is not None}


def changed_input(saved: Any, given: Mapping[str, str]) -> str | None:
    """What is given now and is not as it was saved, by name; nothing is known of a run of version 0.1."""
    known = saved if isinstance(saved, dict) else {}
    return next((name for name, hashed in given.items() if known.get(name, hashed) != hashed), None)


def check_inputs(saved: Any, given: Mapping[str, str], what: Path) -> None:
    """Raise :class:`InputError` where a run was trained on something other than what is given now.

    Args:
        saved: from :func:`inputs_of`; None for a run of version 0.1.
        given: the current ones.
        what: the path of the run.
    """
    name = changed_input(saved, given)
    if name is not None:
        raise InputError(
            f"{TOLD[name]} changed since {what} was saved, and resuming would train another model; put it "
            "back, or add --accept-changes (in Python accept_changes=True)."
        )


def _of_prompts(prompts: Any) -> str:
    if getattr(prompts, "synthetic", False):  # generated from indices: name and number are enough
        return _digest(f"{prompts.name} {len(prompts)}")
    digest = hashlib.sha256()
    for index in range(len(prompts)):
        digest.update(json.dumps(prompts[index], sort_keys=True, default=str).encode() + b"\n")
    return digest.hexdigest()


def _of_function(function: Callable[..., Any]) -> str:
    if isinstance(function, PreferenceEnsemble):
        return _digest(" ".join([function.combine, *map(_of_function, function.models)]))
    if isinstance(function, PreferenceModel):
        return _digest(f"{function.checksum()} {function.shift!r} {function.temperature!r} {function.max_length}")
    kind = function if inspect.isroutine(function) else type(function)
    name = f"{getattr(kind, '__module__', '')}.{getattr(kind, '__qualname__', '')}"
    return name if name.startswith("prefgym.") else f"{name} {_of_source(kind)}"


def _of_source(kind: Any) -> str:
    """A hash of the file that defines a function and of what it imports; in a script, of the function alone."""
    if getattr(kind, "__module__", "__main__") == "__main__":
        with suppress(OSError, TypeError):  # typed into an interpreter
            return _digest(inspect.getsource(kind))
    return hashlib.sha256(code_of(kind)).hexdigest()


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
