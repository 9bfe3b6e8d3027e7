"""What a model's forward takes: some have no position ids, no cache, or return all logits."""

from __future__ import annotations

import inspect
from functools import cache
from typing import Any

from torch import nn


def taken(model: nn.Module, **options: Any) -> dict[str, Any]:
    """Keep the options that the model's forward takes."""
    inner = getattr(model, "module", model)  # multi-process models are wrapped
    known = accepted(inner)
    return {name: value for name, value in options.items() if name in known}


def accepted(model: nn.Module) -> frozenset[str]:
    """Names of the parameters of the model's forward."""
    forward: Any = model.forward
    if inspect.ismethod(forward):
        return _parameters(forward.__func__)  # the class's own, which outlives the model
    return frozenset(inspect.signature(forward).parameters)


@cache
def _parameters(function: Any) -> frozenset[str]:
    return frozenset(inspect.signature(function).parameters)
