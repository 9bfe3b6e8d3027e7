"""The baselines that REINFORCE subtracts from the return, one small class each.

A baseline turns a rollout into advantages. Where it does not depend on the sample it is subtracted from, the policy
gradient stays unbiased; the two group baselines, which do depend on it, say what that changes. All but ``value``
compare whole sequences: every token of a response gets the same advantage, its total return minus the baseline, as in
RLOO (Ahmadian et al. 2024). The part of the return paid before a token is noise for that token, but it is in the
baseline too, which is also a whole return: on average the two cancel, while a return-to-go minus a whole-sequence
baseline would be off by the KL already paid. ``value`` compares the return-to-go with V(s_t).
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from ..errors import InputError, nearest
from .collecting import collect_rollout
from .policy import LMPolicy
from .returns import group_mean, group_numbers, leave_one_out, returns_to_go
from .rollout import Rollout


class Baseline:
    """No baseline: the advantage is the return itself. Base class of the others."""

    min_samples_per_prompt: ClassVar[int] = 1
    needs_values: ClassVar[bool] = False

    def look(self, env: Any, policy: LMPolicy, rollout: Rollout) -> None:
        """Gather what the baseline needs beyond the rollout; called before ``advantages``."""

    def advantages(self, rollout: Rollout) -> Tensor:
        """Advantages (B, R), or (B, 1) if all tokens of a response share one."""
        return rollout.returns[:, None]

    def state_dict(self) -> dict[str, float]:
        """What a resumed run needs, as JSON; empty when nothing is remembered."""
        return {}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Restore what ``state_dict`` gave."""


class MovingAverage(Baseline):
    """Exponential moving average of the mean returns of *earlier* rollouts (Williams 1992, reinforcement comparison).

    The first rollout has no past: each episode is compared with the mean of the other episodes, which is unbiased too.
    """

    def __init__(self, decay: float = 0.8) -> None:
        self.decay = decay
        self.average: float | None = None

    def advantages(self, rollout: Rollout) -> Tensor:
        """Total return minus the average so far; then the average is updated with this rollout."""
        returns, mean = rollout.returns, float(rollout.returns.mean())
        if self.average is None:
            baseline = leave_one_out(returns, torch.zeros_like(rollout.groups)) if len(returns) > 1 else returns * 0
            self.average = mean
        else:
            baseline = torch.full_like(returns, self.average)
            self.average = self.decay * self.average + (1 - self.decay) * mean
        return (returns - baseline)[:, None]

    def state_dict(self) -> dict[str, float]:
        """The average, once there is one."""
        return {} if self.average is None else {"average": self.average}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Restore the average."""
        self.average = state.get("average")


class LeaveOneOut(Baseline):
    """Mean return of the other samples of the same prompt (RLOO)."""

    min_samples_per_prompt = 2

    def advantages(self, rollout: Rollout) -> Tensor:
        """Total return minus the mean of the other samples' total returns."""
        return (rollout.returns - leave_one_out(rollout.returns, rollout.groups))[:, None]


class GroupMean(Baseline):
    """Mean return of all samples of the same prompt, including the sample itself (GRPO without the deviation).

    With n samples per prompt the advantage is (n - 1) / n times that of ``leave_one_out``: the same direction, a
    shorter gradient (Liu et al. 2025, "Understanding R1-Zero-like training: a critical perspective", section 3.2).
    """

    min_samples_per_prompt = 2

    def advantages(self, rollout: Rollout) -> Tensor:
        """Total return minus the mean of the prompt's samples."""
        return (rollout.returns - group_mean(rollout.returns, rollout.groups))[:, None]


class GroupNormalised(GroupMean):
    """The same, divided by the standard deviation of the prompt's returns (GRPO: Shao et al. 2024, section 4.1.2).

    Biased by design: a prompt whose samples are all about equally good weighs as much as any other.
    """

    def advantages(self, rollout: Rollout) -> Tensor:
        """Standardised total return; 0 where all samples of a prompt have the same return."""
        centred = super().advantages(rollout)
        deviation = group_mean(centred[:, 0].square(), rollout.groups).sqrt()
        return centred / (deviation[:, None] + 1e-4)


class Greedy(Baseline):
    """Return of the greedy response to the same prompt (self-critical training, SCST: Rennie et al. 2017).

    Costs one more response per prompt.
    """

    def look(self, env: Any, policy: LMPolicy, rollout: Rollout) -> None:
        """Let the policy answer the rollout's prompts greedily."""
        number = group_numbers(rollout.groups)
        prompts = dict(zip(number.tolist(), rollout.prompt_indices, strict=True))
        indices = [prompts[i] for i in range(len(prompts))]
        self._returns = collect_rollout(env, policy, len(indices), prompt_indices=indices, greedy=True).returns[number]

    def advantages(self, rollout: Rollout) -> Tensor:
        """Total return minus the greedy response's."""
        return (rollout.returns - self._returns)[:, None]


class Value(Baseline):
    """The learned value V(s_t) of the policy's value head, against the return-to-go (REINFORCE with baseline)."""

    needs_values = True

    def advantages(self, rollout: Rollout) -> Tensor:
        """Return-to-go minus value, per token."""
        assert rollout.values is not None
        return returns_to_go(rollout.rewards, rollout.response_mask) - rollout.values


BASELINES: dict[str, type[Baseline]] = {
    "none": Baseline,
    "moving_average": MovingAverage,
    "value": Value,
    "greedy": Greedy,
    "leave_one_out": LeaveOneOut,
    "group_mean": GroupMean,
    "group_normalised": GroupNormalised,
}


def make_baseline(name: str) -> Baseline:
    """A new baseline by name; ``InputError`` names the nearest."""
    if name not in BASELINES:
        names = ", ".join(BASELINES)
        raise InputError(f'There is no baseline "{name}"; choose one of {names}.{nearest(name, BASELINES)}')
    return BASELINES[name]()
