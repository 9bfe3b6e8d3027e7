"""A rollout: the episodes of one iteration as padded tensors, and their scalars.

Notation: B episodes (prompts x samples), P prompt columns (left padded), R response columns (right padded).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..rewards import kl as kl_estimators
from .returns import group_numbers


@dataclass
class Rollout:
    """B finished episodes. Samples of one prompt are adjacent. Padding is zero."""

    prompt_tokens: Tensor  # (B, P) int64
    prompt_mask: Tensor  # (B, P) bool
    response_tokens: Tensor  # (B, R) int64, EOS included
    response_mask: Tensor  # (B, R) bool, True = real token
    log_probs: Tensor  # (B, R) log pi of the tokens when they were sampled
    ref_log_probs: Tensor  # (B, R) log pi_ref of the same tokens
    values: Tensor | None  # (B, R) V(s_t) of the states in which they were chosen
    kl: Tensor  # (B, R) the KL estimator that was paid, per token, in nats
    rewards: Tensor  # (B, R) -beta kl, and the score on the last real token
    scores: Tensor  # (B,) everything paid at the end besides KL
    score_parts: dict[str, Tensor]  # name -> (B,), each before its weight
    groups: Tensor  # (B,) int64, 0, 0, 1, 1, ...: which prompt of this rollout
    finish_reasons: list[str]  # "eos", "stop" or "length"
    prompts: list[str]  # as the policy read them
    responses: list[str]
    references: list[str | None]  # the human text, where the data has one
    prompt_indices: list[int]  # in the environment's prompt set
    kl_coef: Tensor | None = None  # (B,) β of each episode, as paid

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def returns(self) -> Tensor:
        """(B,) sum of each episode's rewards."""
        return self.rewards.masked_fill(~self.response_mask, 0.0).sum(1)

    def select(self, rows: Tensor) -> Rollout:
        """The episodes with these row numbers (b,), in this order."""
        places = rows.tolist()

        def chosen(value: Any) -> Any:
            if isinstance(value, Tensor):
                return value[rows.to(value.device)]
            if isinstance(value, dict):
                return {name: chosen(part) for name, part in value.items()}
            return None if value is None else [value[place] for place in places]

        return Rollout(**{field.name: chosen(getattr(self, field.name)) for field in dataclasses.fields(self)})

    def scalars(self) -> dict[str, float]:
        """Means over episodes, by the names they are logged under."""
        k1 = kl_estimators.k1(self.log_probs, self.ref_log_probs).masked_fill(~self.response_mask, 0.0)
        result: dict[str, Tensor | float] = {
            "objective/kl": self.kl.sum(1).mean(),
            "objective/kl_k1": k1.sum(1).mean(),
            "objective/scores": self.scores.mean(),
            "objective/rlhf_reward": self.returns.mean(),
            "objective/entropy": -self.log_probs.masked_fill(~self.response_mask, 0.0).sum(1).mean(),
            "rollout/response_length": self.response_mask.sum(1).float().mean(),
            "rollout/repetition": repetition(self.response_tokens, self.response_mask),
            "rollout/eos_rate": self.finish_reasons.count("eos") / len(self),
        }
        for name, values in self.score_parts.items():
            judged = values[~values.isnan()]  # 0, which is what it paid, where it judged none
            result[f"objective/score_{name}"] = judged.mean() if len(judged) else 0.0
        return {name: float(value) for name, value in result.items()}


def by_length(groups: Tensor, lengths: Tensor) -> Tensor:
    """Order of rows (B,) in which those of a prompt are adjacent, and prompts are sorted by their longest row.

    >>> by_length(torch.tensor([0, 0, 1, 1]), torch.tensor([5, 9, 7, 6]))
    tensor([2, 3, 0, 1])
    """
    number = group_numbers(groups)
    longest = lengths.new_zeros(int(number.max()) + 1).scatter_reduce(0, number, lengths, "amax")
    by_prompt = number.argsort(stable=True)
    return by_prompt[longest[number[by_prompt]].argsort(stable=True)]


def at_end(scores: Tensor, mask: Tensor) -> Tensor:
    """Put each score (B,) on its row's last real token: (B, R)."""
    last = mask.sum(1, keepdim=True) - 1
    return torch.zeros(mask.shape, dtype=scores.dtype, device=mask.device).scatter(1, last, scores[:, None])


def repetition(tokens: Tensor, mask: Tensor, n: int = 3) -> float:
    """Share of token n-grams that occurred earlier in the same response; averaged over responses with any n-gram."""
    shares = []
    for row, kept in zip(tokens.tolist(), mask.sum(1).tolist(), strict=True):
        grams = [tuple(row[i : i + n]) for i in range(kept - n + 1)]
        if grams:
            shares.append(1 - len(set(grams)) / len(grams))
    return float(np.mean(shares)) if shares else 0.0
