"""Minibatches of a rollout: shuffled prompts with all their samples, cut to their longest prompt and response.

The samples of a prompt stay together, so that the policy reads the prompt once for all of them.

Notation: b episodes, P prompt columns, R response columns, as many as the longest of these b need.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from . import processes
from .policy import LMPolicy
from .returns import group_numbers
from .rollout import Rollout, by_length


@dataclass
class Minibatch:
    """Episodes to learn from, or a piece of them.

    ``log_probs``, ``values`` and ``entropy`` are those of the current policy, with gradient; the others were fixed when
    the rollout was collected. Values at padding are meaningless.
    """

    tokens: Tensor  # (b, P + R) int64
    attention_mask: Tensor  # (b, P + R) bool
    mask: Tensor  # (b, R) bool, True = real response token
    prompt_of: Tensor  # (b,) int64 from 0, which of these episodes have the same prompt
    old_log_probs: Tensor  # (b, R)
    ref_log_probs: Tensor  # (b, R)
    old_values: Tensor | None  # (b, R)
    advantages: Tensor  # (b, R)
    returns: Tensor | None  # (b, R) targets of the values
    num_tokens: int  # real response tokens of the full minibatch, of which this may be a piece
    num_episodes: int  # episodes of the full minibatch
    denominator: float = 1.0  # what losses divide by: num_tokens or num_episodes
    log_probs: Tensor = field(init=False)  # (b, R)
    values: Tensor | None = field(init=False, default=None)  # (b, R)
    entropy: Tensor | None = field(init=False, default=None)  # (b, R)
    log_dist: Tensor | None = field(init=False, default=None)  # (b, R, V) of every token, if requested

    def evaluate(self, policy: LMPolicy, with_entropy: bool, loss_reduction: str, with_log_dist: bool = False) -> None:
        """Run the policy on the episodes and store the results."""
        result = policy.evaluate_actions(
            self.tokens, self.attention_mask, self.mask.shape[1], with_entropy, self.prompt_of, with_log_dist
        )
        self.log_dist = result.log_dist
        self.log_probs, self.values, self.entropy = result.log_probs, result.values, result.entropy
        self.denominator = self.num_tokens if loss_reduction == "token_mean" else self.num_episodes


def minibatches(
    rollout: Rollout,
    advantages: Tensor,
    returns: Tensor | None,
    batch_size: int | None,
    pieces: int,
    rng: np.random.Generator,
) -> Iterator[list[Minibatch]]:
    """Shuffle the prompts and yield minibatches of ``batch_size`` episodes (the last may be smaller), in ``pieces``.

    With several processes, each gets the pieces of its share of the prompts.

    A batch size that is not a multiple of the samples per prompt splits some prompts between minibatches. Pieces have
    prompts of similar length, so that little padding is computed.
    """
    lengths = rollout.prompt_mask.sum(1) + rollout.response_mask.sum(1)
    groups = group_numbers(rollout.groups)
    rank = torch.as_tensor(rng.permutation(int(groups.max()) + 1), device=groups.device)
    order = rank[groups].argsort(stable=True)
    for rows in order.split(batch_size or len(order)):
        num_tokens = int(rollout.response_mask[rows].sum())
        mine = rows[torch.isin(groups[rows], processes.share(groups[rows].unique()))]
        ordered = mine[by_length(groups[mine], lengths[mine])]
        yield [
            take(rollout, advantages, returns, piece, num_tokens, len(rows))
            for piece in ordered.tensor_split(min(pieces, len(mine)))
        ]


def take(
    rollout: Rollout, advantages: Tensor, returns: Tensor | None, rows: Tensor, num_tokens: int, num_episodes: int
) -> Minibatch:
    """Episodes ``rows`` of a rollout, without the columns that are padding in all of them."""
    response_mask, prompt_mask = rollout.response_mask[rows], rollout.prompt_mask[rows]
    width = int(response_mask.sum(1).max())
    left = prompt_mask.shape[1] - int(prompt_mask.sum(1).max())
    mask = response_mask[:, :width]
    return Minibatch(
        tokens=torch.cat([rollout.prompt_tokens[rows, left:], rollout.response_tokens[rows, :width]], 1),
        attention_mask=torch.cat([prompt_mask[:, left:].bool(), mask], 1),
        mask=mask,
        prompt_of=group_numbers(rollout.groups[rows]),
        old_log_probs=rollout.log_probs[rows, :width],
        ref_log_probs=rollout.ref_log_probs[rows, :width],
        old_values=None if rollout.values is None else rollout.values[rows, :width],
        advantages=advantages[rows, :width],
        returns=None if returns is None else returns[rows, :width],
        num_tokens=num_tokens,
        num_episodes=num_episodes,
    )
