"""The optimiser of an agent, by its name in ``torch.optim``, and its learning rate over a training."""

from __future__ import annotations

import inspect
import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..errors import InputError, nearest

if TYPE_CHECKING:
    from .hyperparameters import Hyperparameters

LR_SCHEDULES = ("constant", "linear", "cosine")
UNFIT = {
    "LBFGS": "needs a closure that computes the loss again",
    "SparseAdam": "takes sparse gradients, and ours are dense",
}
"""Optimisers of ``torch.optim`` that cannot take a plain step on dense gradients, and why."""
OWN_STEP_SIZES = ("Rprop",)
"""Those that read the learning rate only before their first step."""
OWN_DEFAULTS: dict[str, dict[str, Any]] = {"Adam": {"eps": 1e-5}, "AdamW": {"eps": 1e-5}}
"""Arguments that are not torch's own: the eps of OpenAI's PPO (Huang et al. 2022, detail 3)."""


def optimizers() -> dict[str, type[torch.optim.Optimizer]]:
    """The optimisers of ``torch.optim`` that an agent can use, by name."""
    found = {name: kind for name, kind in vars(torch.optim).items() if not name.startswith("_")}
    return {
        name: kind
        for name, kind in sorted(found.items())
        if inspect.isclass(kind)
        and issubclass(kind, torch.optim.Optimizer)
        and kind is not torch.optim.Optimizer
        and name not in UNFIT
    }


def check_optimizer(h: Hyperparameters) -> None:
    """Raise ``InputError`` for an optimiser that is unknown, cannot be used, or does not take what is set beside it."""
    known, name = optimizers(), h.optimizer
    if isinstance(name, str) and name in UNFIT:
        raise InputError(f'optimizer "{name}" cannot be used: it {UNFIT[name]}; take AdamW.')
    if not isinstance(name, str) or name not in known:
        alike = [one for one in known if one.lower() == str(name).lower()]  # such as sgd
        raise InputError(
            f'optimizer "{name}" is not an optimiser of torch.optim that an agent can use: {", ".join(known)}.'
            f"{nearest(alike[0] if alike else str(name), known)}"
        )
    if h.weight_decay > 0 and not _takes(known[name], "weight_decay"):
        raise InputError(f'optimizer "{name}" has no weight decay; set weight_decay to 0 or take AdamW.')
    if name in OWN_STEP_SIZES and (h.warmup > 0 or h.lr_schedule != "constant"):
        raise InputError(
            f'optimizer "{name}" sets its own step sizes after its first step; set lr_schedule to "constant" and '
            "warmup to 0, or take AdamW."
        )


def make_optimizer(policy: nn.Module, h: Hyperparameters) -> torch.optim.Optimizer:
    """The optimiser of a policy's trained parameters.

    Weight decay is for matrices alone (:func:`decays`). Where all have the same, there is one group of parameters.

    Raises:
        InputError: the optimiser does not take one of the parameters (Muon takes matrices only).
    """
    kind = optimizers()[h.optimizer]
    groups: dict[float, list[Tensor]] = {}
    for name, parameter in policy.named_parameters():
        if parameter.requires_grad:
            groups.setdefault(h.weight_decay if decays(name, parameter) else 0.0, []).append(parameter)
    weight_decay = _takes(kind, "weight_decay")
    rows = [{"params": some, **({"weight_decay": decay} if weight_decay else {})} for decay, some in groups.items()]
    make: Any = kind
    try:
        made: torch.optim.Optimizer = make(rows, lr=h.learning_rate, **OWN_DEFAULTS.get(h.optimizer, {}))
    except ValueError as error:
        raise InputError(
            f'optimizer "{h.optimizer}" cannot train this policy ({" ".join(str(error).split())}); take AdamW.'
        ) from error
    return made


def decays(name: str, parameter: Tensor) -> bool:
    """Whether weight decay is for a parameter: a matrix that is no bias (norms have vectors)."""
    return parameter.ndim >= 2 and "bias" not in name.rpartition(".")[2]


def lr_factor(schedule: str, warmup: float, progress: float, step: float) -> float:
    """What the learning rate is multiplied by in an iteration; 1 at the peak.

    With p the share of the training before the iteration (``progress``), s the share that it is itself (``step``) and w
    the share of the warm-up (``warmup``)::

        p < w:      (p + s) / (w + s)
        otherwise, with q = (p - w) / (1 - w):
            constant    1
            linear      1 - q
            cosine      (1 + cos(pi q)) / 2

    So the first rate is above 0, the first iteration after the warm-up has the peak, and 0 would follow the last one.
    """
    if progress < warmup:
        return (progress + step) / (warmup + step)
    share = (progress - warmup) / (1 - warmup)
    if schedule == "linear":
        return 1 - share
    return (1 + math.cos(math.pi * share)) / 2 if schedule == "cosine" else 1.0


def _takes(kind: type[torch.optim.Optimizer], argument: str) -> bool:
    return argument in inspect.signature(kind).parameters
