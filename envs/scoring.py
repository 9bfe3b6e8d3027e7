"""Scoring finished responses: from tokens to text to the score that is paid at T."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..models.response_text import ResponseText
from ..rewards.arguments import COMPLETION_IDS
from ..rewards.reward import Reward
from .prompt_source import Prompt, columns_of


@dataclass(frozen=True)
class Scores:
    """The scores of B finished responses.

    Attributes:
        total: (B,) everything paid at T besides KL: Σ weight · part, minus the penalty for a missing EOS.
        parts: name -> (B,), each part before its weight, NaN where it does not judge; ``missing_eos_penalty`` is as
            paid, 0 or negative.
        finish_reasons: B times ``"eos"``, ``"stop"`` or ``"length"``.
        responses: B texts, as ``ResponseText`` reads them.
    """

    total: NDArray[np.float64]
    parts: dict[str, NDArray[np.float64]]
    finish_reasons: list[str]
    responses: list[str]


def score_responses(
    response_text: ResponseText,
    reward: Reward,
    missing_eos_penalty: float,
    prompts: Sequence[Prompt],
    tokens: Tensor,
    mask: Tensor,
) -> Scores:
    """Score B responses in one batch.

    The reward gets the prompt as the policy read it (template included, cut to the budget; of a chat template the
    content alone), the response without special tokens (but those kept) and up to the first stop string, its tokens
    (``completion_ids``, EOS included), and what ``columns_of`` tells of the prompts.

    Args:
        response_text: from tokens to text.
        reward: of texts.
        missing_eos_penalty: subtracted if neither EOS nor a stop string ended the response.
        prompts: B prompts.
        tokens: (B, R) response tokens.
        mask: (B, R) True = real token, the EOS included.

    Raises:
        RewardError: a reward raised, or returned NaN, inf or the wrong count.
    """
    ids = [row[kept].tolist() for row, kept in zip(tokens.cpu(), mask.cpu().bool(), strict=True)]
    read = {response: response_text.read(response) for response in set(map(tuple, ids))}
    responses, reasons = [read[tuple(response)][0] for response in ids], [read[tuple(response)][1] for response in ids]
    columns = {**columns_of(prompts), COMPLETION_IDS: ids}
    indices = [-1 if prompt.index is None else prompt.index for prompt in prompts]
    total, parts = reward([prompt.told for prompt in prompts], responses, indices, columns)
    penalty = np.array([0.0 - missing_eos_penalty if reason == "length" else 0.0 for reason in reasons])
    return Scores(total + penalty, {**parts, "missing_eos_penalty": penalty}, reasons, responses)
