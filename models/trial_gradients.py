"""Gradients of texts, by which paths that training reads by are compared."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from .trial_texts import Texts, truths

Reads: TypeAlias = Callable[[Any, Texts], Tensor]
"""From a model and texts to the logits or log-probs (N, R, V_model) of their responses."""


def gradient(model: nn.Module, texts: Texts, read: Reads) -> Tensor:
    """The gradient of a weighted sum of the texts' log-probs in all parameters, as one vector."""
    parameters = [parameter for parameter in model.parameters() if parameter.dtype.is_floating_point]
    asked = [parameter.requires_grad for parameter in parameters]
    try:
        for parameter in parameters:
            parameter.requires_grad_(True)
        log_probs = read(model, texts).float().log_softmax(-1)
        chosen = log_probs.gather(-1, texts.responses[..., None])[..., 0]
        weights = torch.linspace(-1, 1, chosen.numel()).view_as(chosen)
        loss = (chosen * weights).masked_fill(~texts.mask, 0.0).sum()
        parts = torch.autograd.grad(loss, parameters, allow_unused=True)
        pairs = zip(parts, parameters, strict=True)
        return torch.cat([(torch.zeros_like(p) if part is None else part).flatten() for part, p in pairs])
    finally:
        for parameter, before in zip(parameters, asked, strict=True):
            parameter.requires_grad_(before)


def true_log_probs(model: nn.Module, texts: Texts) -> Tensor:
    """Those of plain forward passes, each text alone, padded to (N, R, V_model)."""
    return nn.utils.rnn.pad_sequence(truths(model, texts), batch_first=True)
