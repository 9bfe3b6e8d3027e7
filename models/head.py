"""The layer that turns hidden states into logits: where it is, what it reads, and reading a model without it.

Logits are by far the largest tensors of a large vocabulary. Where a model's logits are what its head returns, a model
is read up to the head, and the head runs on some of the hidden states at a time (:mod:`prefgym.models.forward`). A
model that does more to them (scales, caps or masks them) is found out by reading one text, and keeps its own logits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import InputError

_MARK = "_prefgym_plain_head"


def head_of(model: nn.Module) -> Any:
    """The layer that turns hidden states into logits.

    Raises:
        InputError: there is none that can be found.
    """
    inner: Any = getattr(model, "module", model)
    head = inner.get_output_embeddings()
    if head is None:
        rows = inner.get_input_embeddings().weight.shape[0]
        linear = [module for module in inner.modules() if isinstance(module, nn.Linear) and module.out_features == rows]
        head = linear[-1] if linear else None
    if head is None:
        raise InputError(f"The layer of a {type(inner).__name__} that computes logits cannot be found.")
    return head


def head_width(model: nn.Module) -> int:
    """d, the size of the hidden states that the head reads; not every configuration states it."""
    head: Any = head_of(model)
    if hasattr(head, "weight"):
        return int(head.weight.shape[-1])
    inner: Any = getattr(model, "module", model)
    return int(inner.config.get_text_config().hidden_size)


def head_rows(model: nn.Module) -> int:
    """V_model, as far as the head says; 0 if it does not."""
    return len(getattr(head_of(model), "weight", ()))


@contextmanager
def head_input(model: nn.Module) -> Iterator[list[Tensor]]:
    """Collect the input of the language-model head: the last hidden states after the final norm."""
    captured: list[Tensor] = []

    def capture(_module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        captured.append(arguments[0])

    handle = head_of(model).register_forward_pre_hook(capture)
    try:
        yield captured
    finally:
        handle.remove()


@contextmanager
def head_output(model: nn.Module) -> Iterator[list[Tensor]]:
    """Collect what the head returns."""
    captured: list[Tensor] = []

    def capture(_module: nn.Module, _arguments: Any, output: Tensor) -> None:
        captured.append(output)

    handle = head_of(model).register_forward_hook(capture)
    try:
        yield captured
    finally:
        handle.remove()


def has_plain_head(model: nn.Module, read: Callable[[list[Tensor]], tuple[Tensor, Tensor]]) -> bool:
    """Whether a model's logits are what its head returns, unchanged; found out once for each model.

    Args:
        model: a language model. One that another module wraps, which may count on its own forward pass, never is.
        read: reads one text; given the list of what the head returned, it gives the model's logits and the same entries
            of that list.
    """
    if getattr(model, "module", None) is not None:
        return False
    if _MARK not in model.__dict__:
        with torch.no_grad(), head_output(model) as returned:
            logits, own = read(returned)
        model.__dict__[_MARK] = logits.shape == own.shape and torch.equal(logits.float(), own.float())
    return bool(model.__dict__[_MARK])


def is_known_plain(model: nn.Module) -> bool:
    """Whether :func:`has_plain_head` found it so; False before it was asked."""
    return bool(model.__dict__.get(_MARK, False))


@contextmanager
def no_head(model: nn.Module) -> Iterator[None]:
    """Here the head returns the hidden states it is given, so that the model gives them instead of logits."""
    head = head_of(model)
    before = vars(head).get("forward")
    head.forward = unchanged
    try:
        yield
    finally:
        del head.forward
        if before is not None:
            head.forward = before


def unchanged(states: Tensor) -> Tensor:
    """The forward pass of a head that does nothing."""
    return states
