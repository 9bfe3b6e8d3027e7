"""Whole episodes as minibatches, and transitions put back together into texts.

stable-baselines3 learns from single transitions, and all transitions of an episode contain prefixes of the same text: a
minibatch of n random transitions reads up to n texts, one of whole episodes only as many as it has episodes.

Notation: n transitions, E texts, L columns, V usable vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.buffers import DictRolloutBuffer
from torch import Tensor


class EpisodeRolloutBuffer(DictRolloutBuffer):
    """``rollout_buffer_class`` of PPO and A2C: minibatches are whole episodes, so that each is read only once."""

    def get(self, batch_size: int | None = None) -> Iterator[Any]:  # type: ignore[override]
        """Yield minibatches of about ``batch_size`` transitions, in random order; None: one with all of them.

        An episode cut by the rollout's end counts as a whole one, and so does its rest in the next rollout.
        """
        next(super().get(1))  # on first use the arrays are laid out, one row of the environment after the other
        starts = self.episode_starts.astype(bool)  # (n_steps, n_envs)
        starts[0] = True
        bounds = np.append(np.flatnonzero(starts.T), starts.size)
        episodes = [np.arange(begin, end) for begin, end in pairwise(bounds)]
        for rows in _pack(episodes, batch_size or starts.size):
            yield self._get_samples(rows)


def _pack(episodes: list[np.ndarray], size: int) -> Iterator[np.ndarray]:
    """Shuffle episodes and cut the sequence at each multiple of ``size`` transitions."""
    shuffled = [episodes[place] for place in np.random.permutation(len(episodes))]
    begins = np.cumsum([0] + [len(episode) for episode in shuffled[:-1]])
    count = max(1, round(sum(map(len, episodes)) / size))
    batch_of = begins * count // sum(map(len, episodes))
    for batch in np.unique(batch_of):
        yield np.concatenate([shuffled[place] for place in np.flatnonzero(batch_of == batch)])


@dataclass
class Texts:
    """Transitions as positions in E texts.

    Attributes:
        tokens: (E, W) prompt, then response, without unused columns on the right.
        mask: (E, W) bool, True on real tokens.
        num_response: R, the columns of the response.
        prompt_of: (E,) int64 from 0, which texts have the same prompt.
        text: (n,) each transition's text.
        column: (n,) its position among the R columns.
    """

    tokens: Tensor
    mask: Tensor
    num_response: int
    prompt_of: Tensor
    text: Tensor
    column: Tensor


def join_transitions(tokens: Tensor, attention_mask: Tensor, actions: Tensor, max_prompt_tokens: int) -> Texts:
    """Find the fewest texts that contain all transitions, whatever their order.

    A transition is the text of its observation followed by the action. When sorted, a text comes directly before those
    that continue it, so comparing neighbours finds, for each transition, the longest text it is a prefix of.

    Args:
        tokens: (n, L) observations; each row is a run of real tokens with padding on either side.
        attention_mask: (n, L), 1 on real tokens; the action goes to the first column after them.
        actions: (n,) tokens.
        max_prompt_tokens: P, where responses begin.
    """
    ids, real = tokens.cpu().numpy().copy(), attention_mask.cpu().numpy().astype(bool)
    rows, columns = np.arange(len(ids)), np.arange(ids.shape[1])
    place = np.where(real, columns, 0).max(1) + 1  # (n,) the action's column
    ids[rows, place] = actions.cpu().numpy()
    real[rows, place] = True
    keys = np.where(real, ids + 1, 0).astype(">u4")  # big-endian, so that bytes sort as numbers do; 0 is padding
    order = keys.view(f"V{keys.itemsize * keys.shape[1]}").ravel().argsort(kind="stable")
    keys, ends = keys[order], place[order]
    goes_on = ((keys[:-1] == keys[1:]) | (columns > ends[:-1, None])).all(1)
    last = np.append(~goes_on, True)  # the longest of its chain
    text = np.empty(len(ids), np.int64)
    text[order] = np.cumsum(last) - last
    width = place.max() + 1
    chosen = order[last]
    _, prompt_of = np.unique(keys[last][:, :max_prompt_tokens], axis=0, return_inverse=True)
    device = tokens.device
    return Texts(
        tokens=torch.from_numpy(ids[chosen, :width]).to(device),
        mask=torch.from_numpy(real[chosen, :width]).to(device),
        num_response=int(width - max_prompt_tokens),
        prompt_of=torch.from_numpy(prompt_of.ravel()).to(device),
        text=torch.from_numpy(text).to(device),
        column=torch.from_numpy(place - max_prompt_tokens).to(device),
    )
