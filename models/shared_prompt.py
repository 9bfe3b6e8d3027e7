"""Reading several responses to a prompt while the prompt itself is read once, with gradients.

A decoder's keys and values of the prompt do not depend on what follows. They are computed once for each prompt and
then stand, as rows of a cache that keeps its graph, before every response to it; autograd adds up what the responses
send back. The result equals the plain forward over prompt and response.
"""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from .forward import position_ids


def shared_prompt_hidden(
    trunk: PreTrainedModel,
    prompts: Tensor,
    prompt_mask: Tensor,
    prompt_of: Tensor,
    responses: Tensor,
    response_mask: Tensor,
) -> Tensor:
    """Return the last hidden states (N, R, d) of N responses, each read behind its own of G prompts.

    Args:
        trunk: a decoder without head; dropout, if it is on, is drawn once for a prompt and not once for a response.
        prompts: (G, P) int64, padded on either side.
        prompt_mask: (G, P), 1 on real tokens.
        prompt_of: (N,) int64, which prompt stands before a response.
        responses: (N, R) int64, padded on the right.
        response_mask: (N, R), 1 on real tokens.
    """
    cache = DynamicCache(config=trunk.config)
    trunk(
        input_ids=prompts,
        attention_mask=prompt_mask,
        position_ids=position_ids(prompt_mask),
        past_key_values=cache,
        use_cache=True,
    )
    cache.batch_select_indices(prompt_of)
    mask = torch.cat([prompt_mask[prompt_of], response_mask], dim=1)  # (N, P + R)
    hidden: Tensor = trunk(
        input_ids=responses,
        attention_mask=mask,
        position_ids=position_ids(mask)[:, prompts.shape[1] :],
        past_key_values=cache,
        use_cache=True,
    ).last_hidden_state
    return hidden
