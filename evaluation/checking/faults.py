"""Faults of agents, each with the expected gradient of an agent with that fault.

A fault turns right advantages into wrong weights of ∇ log π, so its expected gradient is one sum over all responses
(``enumeration.py``). If the fault makes the baseline matter, there is one variant for each right form of advantage.

Notation: B all responses, R columns, D parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...agents.returns import returns_to_go
from ...models.generation import is_one_of
from .enumeration import Enumeration

SENTENCES = {
    "wrong_sign": "The gradient points downhill: the loss has the wrong sign.",
    "kl_missing": "The KL term is missing: the gradient is that of the score alone (as a loss, k1 has no gradient).",
    "kl_twice": "The KL term counts twice: it is in the reward already, so a loss must not add it again.",
    "kl_sign": "The KL term has the wrong sign: distance from the reference is rewarded.",
    "kl_without_credit": "A token pays only for its own KL, not for that of later tokens, as in a KL loss per token.",
    "kl_forward": "The gradient of the KL term is that of KL(π_ref ‖ π): k3 is used as a loss.",
    "kl_own": "A token pays only for the KL of later tokens: exact KL in the reward leaves its own to a loss.",
    "first_token": "The first token of a response is left out: the mask is off by one, or log-probs are shifted.",
    "last_token": "The last token of a response is left out: the mask is off by one.",
    "eos": "The EOS token is left out of the loss: the mask must cover it.",
    "length_normalised": "Each episode is divided by its length: sum over its tokens instead of averaging them.",
    "shifted_back": "Advantages are shifted by a step: a token gets the advantage of the token after it.",
    "shifted_forward": "Advantages are shifted by a step: a token gets the advantage of the token before it.",
    "own_reward": "A token gets its own reward only, not the return: credit for what follows is missing.",
    "early_score": "The score of a response that ends before the budget is lost: it was put on padding.",
    "leak": "The baseline leaks the sample: it contains the sample's own return, which takes a share of the gradient.",
    "leak_next_value": "The baseline leaks the action: it is the value of the state after the token, not before it.",
    "not_detached": "A gradient flows through the advantages: detach them.",
    "value_not_detached": "A gradient flows through the values in the advantages: detach them.",
    "old_log_probs": "The old log-probs are stale, so the ratio is not 1: they are the reference's or the start's.",
    "old_temperature": "The old log-probs have another temperature than the policy's, so the ratio is not 1.",
    "probability": "The loss uses the probability of a token instead of its log-probability.",
    "token_mean": "The loss is a mean over tokens, not a sum over each episode's: the gradient is too short.",
    "padding": "Padding is counted in the loss: the sum is divided by all columns, not by the number of episodes.",
    "scale": "The gradient has the right direction but the wrong length: a factor is wrong.",
    "unknown": "The mean gradient is not the exact one, and no fault on the list explains it.",
    "learning": "The gradient is right but learning falls short: look at step size, epochs and clipping.",
}
"""Each fault in one sentence."""


@dataclass(frozen=True)
class Candidate:
    """A fault (a key of ``SENTENCES``) and the expected gradient (D,) of an agent that has it, in one variant."""

    fault: str
    gradient: Tensor


def candidates(every: Enumeration, kl_coef: float) -> Iterator[Candidate]:
    """The expected gradients of agents with one fault each.

    Args:
        every: all responses, under the agent's policy.
        kl_coef: β of the objective.
    """
    ratios = [(every.log_probs - every.tempered_log_probs(temperature)).exp() for temperature in TEMPERATURES]
    for advantages in _advantages(every, kl_coef):
        for fault, weigh in RULES.items():
            yield Candidate(fault, every.expected_gradient(weigh(every, advantages)))
        for ratio in ratios:
            yield Candidate("old_temperature", every.expected_gradient(ratio * advantages))
    for fault, factor in {"kl_missing": 0.0, "kl_twice": 2.0, "kl_sign": -1.0}.items():
        yield Candidate(fault, every.exact_gradient(factor * kl_coef))
    for fault, weights in _rewards(every, kl_coef):
        yield Candidate(fault, every.expected_gradient(weights))
    yield from _undetached(every, kl_coef)


def _advantages(every: Enumeration, kl_coef: float) -> list[Tensor]:
    """Right advantages (B, R): the return (to go or whole) minus nothing, its mean, the prompt's mean, or the value."""
    rewards, mask = every.rewards(kl_coef), every.mask
    to_go, whole = returns_to_go(rewards, mask), rewards.sum(1)
    of_prompt = every.mean_of_prompt(whole)
    forms = [to_go, *(x[:, None].expand_as(rewards) for x in (whole, whole - every.mean(whole), whole - of_prompt))]
    return [*forms, to_go - every.values] if every.values.any() else forms


Rule = Callable[[Enumeration, Tensor], Tensor]


def _first(every: Enumeration) -> Tensor:
    first = torch.zeros_like(every.mask)
    first[:, 0] = True
    return first


def _last(every: Enumeration) -> Tensor:
    lengths = every.mask.sum(1, keepdim=True)
    return torch.arange(every.mask.shape[1]) == lengths - 1


def _after(x: Tensor) -> Tensor:
    """The values of the next column (B, R)."""
    return torch.nn.functional.pad(x[:, 1:], (0, 1))


def _before(x: Tensor) -> Tensor:
    """The values of the previous column (B, R)."""
    return torch.nn.functional.pad(x[:, :-1], (1, 0))


RULES: dict[str, Rule] = {
    "wrong_sign": lambda every, a: -a,
    "first_token": lambda every, a: a.masked_fill(_first(every), 0.0),
    "last_token": lambda every, a: a.masked_fill(_last(every), 0.0),
    "eos": lambda every, a: a.masked_fill(is_one_of(every.tokens, every.world.mdp.eos_token_ids), 0.0),
    "length_normalised": lambda every, a: a / every.mask.sum(1, keepdim=True),
    "shifted_back": lambda every, a: _after(a.masked_fill(~every.mask, 0.0)),
    "shifted_forward": lambda every, a: _before(a),
    "old_log_probs": lambda every, a: a * (every.log_probs - every.ref_log_probs).exp(),
    "probability": lambda every, a: a * every.log_probs.exp(),
}
"""Faults of the loss: right advantages (B, R) to the weights of ∇ log π."""

TEMPERATURES = (0.5, 0.6, 0.7, 0.8, 0.9, 1.1, 1.2, 1.3, 1.5, 2.0)
"""Of the old log-probs, relative to the policy's."""


def _rewards(every: Enumeration, kl_coef: float) -> Iterator[tuple[str, Tensor]]:
    """Faults of the advantages: weights (B, R)."""
    rewards, mask, score = every.rewards(kl_coef), every.mask, every.scores[:, None]
    log_ratio, to_go = every.log_probs - every.ref_log_probs, returns_to_go(rewards, mask)
    own, forward = -kl_coef * log_ratio, kl_coef * torch.expm1(-log_ratio)  # of a KL loss per token: k2 or exact, k3
    yield "own_reward", rewards
    yield "early_score", returns_to_go(rewards - (_last(every) & ~mask[:, -1:]) * score, mask)
    yield "kl_without_credit", score + own
    yield "kl_forward", score + forward
    yield "kl_twice", to_go + own
    yield "kl_twice", to_go + forward
    yield "kl_own", to_go - own
    if every.values.any():
        yield "leak_next_value", to_go - _after(every.values)


def _undetached(every: Enumeration, kl_coef: float) -> Iterator[Candidate]:
    """A loss -A log π, or -A ratio, with a gradient through the KL, or through the values, in A."""
    exact, mask = every.exact_gradient(kl_coef), every.mask

    def part(through: Callable[[Tensor, Any], Tensor]) -> Tensor:
        return every.expected(lambda log_probs, values: (through(log_probs, values) * mask).sum(1))

    for factor in (every.log_probs, torch.ones_like(every.log_probs)):
        to_go = part(lambda log_probs, _: factor * returns_to_go(log_probs, mask))  # noqa: B023
        whole = part(lambda log_probs, _: factor * log_probs.sum(1, keepdim=True))  # noqa: B023
        yield Candidate("not_detached", exact - kl_coef * to_go)
        yield Candidate("not_detached", exact - kl_coef * whole)
        if every.values.any():
            yield Candidate("value_not_detached", exact - part(lambda _, values: factor * values))  # noqa: B023
