"""The hyperparameters of all agents, checked when they are set.

An agent with its own hyperparameters adds fields in a subclass; the command line and the configs read them from here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from ..errors import InputError, nearest
from ..models.lora import EVERY_LINEAR, LoRA
from ..numbers import is_number, is_whole, plain
from ..rewards.kl import ESTIMATORS
from .optimizer import LR_SCHEDULES, check_optimizer

LOSS_REDUCTIONS = ("token_mean", "episode_sum")
VALUE_TRUNKS = ("shared", "separate")
PRECISIONS = ("fp32", "bf16")
GO_WITH = {"fp32": ("fp32", "bf16"), "bf16": ("fp32", "bf16"), "fp16": ("fp32",)}
"""The precisions of an agent that go with each ``dtype`` of an environment, in which frozen models are stored."""
KL_LEVELS = ("token", "sequence")


@dataclass(frozen=True)
class Hyperparameters:
    """Hyperparameters that all policy-gradient agents share.

    Attributes:
        learning_rate: the optimiser's learning rate, at its peak.
        lr_schedule: learning rate after the warm-up: ``constant``, or ``linear`` or ``cosine`` from learning_rate to 0
            at the end of one ``learn``.
        warmup: share of the training (one ``learn``), from 0 to below 1, over which the learning rate rises linearly.
        optimizer: class of torch.optim, such as ``AdamW``, ``SGD`` or ``Adafactor``, with its own defaults except that
            Adam and AdamW have an eps of 1e-5.
        weight_decay: weight decay of the optimiser, on matrices only (no biases, no norms).
        episodes_per_iteration: episodes per rollout.
        samples_per_prompt: responses to each prompt; must divide episodes_per_iteration.
        batch_size: episodes per optimiser step; None takes the whole rollout.
        gradient_accumulation: pieces that a minibatch is run in, to save memory; the result is the same.
        memory_limit: GiB that the process may take; gradient_accumulation then is the smallest number of pieces, from
            the given one on, that is predicted to fit. A resumed run keeps the number. None sets no limit.
        n_epochs: passes over a rollout.
        max_grad_norm: maximum L2 norm of the gradient; None does not clip.
        vf_coef: weight of the value loss, whose gradient flows into the shared trunk.
        ent_coef: weight of an entropy bonus.
        kl_level: where the KL is paid: ``token`` at each token, ``sequence`` all of it at the last one, with the score.
        kl_loss_coef: weight of a KL term in the loss; if above 0, set the environment's kl_coef to 0 or the KL counts
            twice (but exact KL in both places counts once).
        kl_loss_estimator: estimator of that term: ``k1``, ``k2``, ``k3`` or ``exact``; k2 per sequence has the KL's own
            gradient, k2 and exact per token that of each state's KL.
        kl_target: KL per response, in nats, to which the coefficient is steered after each iteration (Ziegler et al.
            2019): kl_loss_coef if that is above 0, else the environment's kl_coef. None keeps it fixed.
        value_trunk: where values come from: a trunk ``shared`` with the policy, or a ``separate`` model.
        precision: number format: ``fp32``, or ``bf16`` for matrix products of policy and reference in bfloat16; weights
            that are trained are fp32 either way. With an environment of ``dtype`` fp16 it is ``fp32``.
        cuda_graphs: decode in steps of fixed shape, recorded once as a CUDA graph on a GPU; the same result.
        gradient_checkpointing: recompute layers in the backward pass instead of storing activations; less memory, more
            time, the same gradients.
        lora_rank: train an adapter of this rank (LoRA) and freeze the model's weights, which policy and reference then
            share; None trains the weights. Needs the extra ``prefgym[peft]``.
        lora_alpha: the adapter is scaled by this over its rank; None is twice the rank.
        lora_targets: linear layers to adapt, separated by commas, or ``all-linear``.
        lora_layers: adapt only so many layers, the last ones: less time and memory for an update. None is all.
        loss_reduction: how losses are averaged: ``token_mean`` over the minibatch, or ``episode_sum``: sum over each
            episode's tokens, mean over episodes, which is the unbiased policy gradient.
    """

    learning_rate: float = 1e-4
    lr_schedule: str = "constant"
    warmup: float = 0.0
    optimizer: str = "AdamW"
    weight_decay: float = 0.0
    episodes_per_iteration: int = 64
    samples_per_prompt: int = 1
    batch_size: int | None = None
    gradient_accumulation: int = 1
    memory_limit: float | None = None
    n_epochs: int = 1
    max_grad_norm: float | None = 1.0
    vf_coef: float = 0.1
    ent_coef: float = 0.0
    loss_reduction: str = "token_mean"
    kl_level: str = "token"
    kl_loss_coef: float = 0.0
    kl_loss_estimator: str = "k2"
    kl_target: float | None = None
    value_trunk: str = "shared"
    precision: str = "fp32"
    gradient_checkpointing: bool = False
    cuda_graphs: bool = False
    lora_rank: int | None = None
    lora_alpha: float | None = None
    lora_targets: str = EVERY_LINEAR
    lora_layers: int | None = None

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            object.__setattr__(self, field.name, plain(getattr(self, field.name)))  # what is frozen is set this way
        self.check()

    def check(self) -> None:
        """Raise ``InputError`` for a value out of range; subclasses check their own fields too."""
        self.check_positive("learning_rate", "max_grad_norm", "kl_target", "lora_alpha", "memory_limit")
        self.check_counts(
            "episodes_per_iteration",
            "samples_per_prompt",
            "batch_size",
            "gradient_accumulation",
            "n_epochs",
            "lora_rank",
            "lora_layers",
        )
        self.check_at_least_zero("vf_coef", "ent_coef", "kl_loss_coef", "weight_decay", "warmup")
        if self.warmup >= 1:
            raise InputError(f"warmup is a share of the training from 0 to below 1, not {self.warmup}.")
        self.check_choice("lr_schedule", LR_SCHEDULES)
        self.check_choice("loss_reduction", LOSS_REDUCTIONS)
        self.check_choice("value_trunk", VALUE_TRUNKS)
        self.check_choice("precision", PRECISIONS)
        self.check_choice("kl_level", KL_LEVELS)
        self.check_choice("kl_loss_estimator", tuple(ESTIMATORS))
        check_optimizer(self)
        if self.kl_loss_coef > 0 and self.kl_level == "sequence" and self.kl_loss_estimator == "exact":
            raise InputError('kl_loss_estimator "exact" is a sum over tokens; use it with kl_level "token".')
        if self.lora_rank is not None and self.value_trunk == "separate":
            raise InputError('lora_rank does not train a second trunk; leave value_trunk at "shared".')
        if self.episodes_per_iteration % self.samples_per_prompt:
            raise InputError(
                f"episodes_per_iteration ({self.episodes_per_iteration}) must be a multiple of samples_per_prompt "
                f"({self.samples_per_prompt})."
            )
        if self.batch_size is not None and self.batch_size > self.episodes_per_iteration:
            raise InputError(
                f"batch_size ({self.batch_size}) cannot be above episodes_per_iteration "
                f"({self.episodes_per_iteration})."
            )

    def check_beside(self, dtype: str) -> None:
        """Raise ``InputError`` for a precision that does not go with the environment's ``dtype``."""
        if self.precision not in GO_WITH[dtype]:
            raise InputError(
                f'precision "{self.precision}" does not go with env.dtype "{dtype}"; set precision to '
                f"{' or '.join(GO_WITH[dtype])}, or env.dtype to "
                f"{' or '.join(name for name, known in GO_WITH.items() if self.precision in known)}."
            )

    @property
    def lora(self) -> LoRA | None:
        """The adapter to train, if any."""
        if self.lora_rank is None:
            return None
        return LoRA(self.lora_rank, self.lora_alpha, self.lora_targets, self.lora_layers)

    def check_counts(self, *names: str) -> None:
        """Each is a positive whole number (or None, if that is the default)."""
        for name, value in self._given(names):
            if not is_whole(value) or value <= 0:
                raise InputError(f"{name} must be a positive whole number, not {value!r}.")

    def check_positive(self, *names: str) -> None:
        """Each is a finite number above 0 (or None)."""
        for name, value in self._given(names):
            if not (is_number(value) and value > 0):
                raise InputError(f"{name} must be a number above 0, not {value!r}.")

    def check_at_least_zero(self, *names: str) -> None:
        """Each is a finite number of at least 0 (or None)."""
        for name, value in self._given(names):
            if not (is_number(value) and value >= 0):
                raise InputError(f"{name} must be a number of at least 0, not {value!r}.")

    def check_fraction(self, *names: str) -> None:
        """Each is a number from 0 to 1."""
        for name, value in self._given(names):
            if not (is_number(value) and 0 <= value <= 1):
                raise InputError(f"{name} must be a number from 0 to 1, not {value!r}.")

    def check_choice(self, name: str, options: tuple[str, ...]) -> None:
        """The field is one of ``options``."""
        value = getattr(self, name)
        if value not in options:
            raise InputError(f'{name} "{value}" is not one of {", ".join(options)}.{nearest(str(value), options)}')

    def _given(self, names: tuple[str, ...]) -> list[tuple[str, Any]]:
        """Names and values, without the optional fields that are None."""
        optional = {field.name for field in dataclasses.fields(self) if "None" in str(field.type)}
        values = [(name, getattr(self, name)) for name in names]
        return [(name, value) for name, value in values if value is not None or name not in optional]


H = TypeVar("H", bound=Hyperparameters)


def make_hyperparameters(kind: type[H], given: Mapping[str, Any]) -> H:
    """Build ``kind`` from keyword arguments; for an unknown one, ``InputError`` names the nearest field."""
    known = [field.name for field in dataclasses.fields(kind)]
    for name in given:
        if name not in known:
            raise InputError(f'There is no hyperparameter "{name}".{nearest(name, known)}')
    return kind(**given)
