"""Checks of what an agent's two methods return; an error names the method, its file and line."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..errors import AgentError
from ..rewards.beside import beside
from ..rewards.calling import undisturbed
from .minibatch import Minibatch
from .rollout import Rollout

if TYPE_CHECKING:
    from .base import Advantages, PolicyGradient


def advantages_of(agent: PolicyGradient, rollout: Rollout) -> Advantages:
    """The agent's advantages and value targets for a rollout.

    Raises:
        AgentError: the method returned something other than a pair of tensors with a row per episode.
    """
    with undisturbed(), beside(agent):
        answer: Any = agent.advantages(rollout)
    expected = f"Advantages(advantages, returns or None), tensors of {len(rollout)} rows as the rollout's rewards"
    if not isinstance(answer, tuple) or len(answer) != 2:
        raise _wrong(agent, "advantages", answer, expected)
    for part in answer[: 1 if answer[1] is None else 2]:
        if not isinstance(part, Tensor) or part.dim() != 2 or len(part) != len(rollout):
            raise _wrong(agent, "advantages", part, expected)
    return answer  # type: ignore[return-value]  # a plain pair will do


def loss_of(agent: PolicyGradient, piece: Minibatch) -> tuple[Tensor, dict[str, Tensor]]:
    """The agent's loss of a piece of a minibatch, and its scalars as tensors; it may return plain numbers.

    Raises:
        AgentError: the method returned something other than a scalar and a dict of scalars.
    """
    with undisturbed(), beside(agent):
        answer: Any = agent.loss(piece)
    if not isinstance(answer, tuple | list) or len(answer) != 2 or not isinstance(answer[1], Mapping):
        raise _wrong(agent, "loss", answer, "a pair, the loss and a dict of scalars to log")
    loss, scalars = answer
    if not isinstance(loss, Tensor) or loss.numel() != 1:
        raise _wrong(agent, "loss", loss, "a scalar tensor as the loss")
    for name, value in scalars.items():
        if not isinstance(value, Real) and not (isinstance(value, Tensor) and value.numel() == 1):
            raise _wrong(agent, "loss", value, f'a number or a scalar tensor as "{name}"')
    return loss, {str(name): torch.as_tensor(value) for name, value in scalars.items()}


def _wrong(agent: PolicyGradient, name: str, answer: Any, expected: str) -> AgentError:
    code = getattr(getattr(agent, name), "__code__", None)  # a decorator may have made it something else
    place = f" ({code.co_filename}, line {code.co_firstlineno})" if code is not None else ""
    size = f" of size {tuple(answer.shape)}" if isinstance(answer, Tensor) else ""
    return AgentError(
        f"{type(agent).__name__}.{name}{place} must return {expected}, not a {type(answer).__name__}{size}."
    )
