"""Encoder-decoders (T5, BART): the encoder reads the prompt, the decoder writes the response after a start token.

The layout of tokens is the same as for a decoder: prompt columns, left padded, then response columns. The encoder's
output for a prompt does not depend on the response, so it runs once for all responses to a prompt. Notation: G prompts
of P columns, N responses of R columns, d hidden size, V_model embedding rows.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers.modeling_outputs import BaseModelOutput


def is_encoder_decoder(model: nn.Module) -> bool:
    """Whether the model has an encoder for prompts."""
    config = getattr(getattr(model, "module", model), "config", None)
    return bool(getattr(config, "is_encoder_decoder", False))


def encode(model: Any, prompts: Tensor, prompt_mask: Tensor) -> tuple[Tensor, Tensor]:
    """Run the encoder on prompts (G, P) int64 under a mask (G, P), 1 on real tokens, with gradient.

    Returns:
        Its states (G, P, d) and their mask (G, P); each prompt is moved to begin in column 0, as encoders with absolute
        positions were trained.
    """
    shift = prompt_mask.long().argmax(dim=1, keepdim=True)  # (G, 1) columns of padding on the left
    columns = (torch.arange(prompts.shape[1], device=prompts.device) + shift) % prompts.shape[1]
    tokens, mask = prompts.gather(1, columns), prompt_mask.long().gather(1, columns)
    encoder = getattr(model, "module", model).get_encoder()
    return encoder(input_ids=tokens, attention_mask=mask).last_hidden_state, mask


def decode(model: Any, states: Tensor, mask: Tensor, tokens: Tensor, **options: Any) -> Tensor:
    """Run the decoder on tokens (N, R) int64, the start token included.

    Args:
        model: the full model; its head runs too.
        states: (N, P, d) the encoder's.
        mask: (N, P), 1 on real tokens of the prompts.
        tokens: right padded.
        options: further arguments of the model, such as a cache.

    Returns:
        logits (N, R, V_model); entry j predicts what follows ``tokens[:, j]``.
    """
    return model(
        encoder_outputs=BaseModelOutput(last_hidden_state=states),
        attention_mask=mask,
        decoder_input_ids=tokens,
        **{"use_cache": False, **options},
    ).logits


def start_token_id(model: Any) -> int | None:
    """The token before every response, where ``generate`` looks for it; None where nobody says."""
    config, settings = model.config, getattr(model, "generation_config", None)
    places = (
        (config, "decoder_start_token_id"),
        (settings, "decoder_start_token_id"),
        (settings, "bos_token_id"),
        (config.get_text_config(decoder=True), "bos_token_id"),
    )
    return next((found for told, name in places if (found := getattr(told, name, None)) is not None), None)


def start_tokens(model: Any, count: int, device: torch.device) -> Tensor:
    """The token before the first of ``count`` responses, (count, 1) int64."""
    return torch.full((count, 1), getattr(model, "module", model).config.decoder_start_token_id, device=device)


def read_pairs(model: Any, prompts: Tensor, prompt_mask: Tensor, prompt_of: Tensor | None, responses: Tensor) -> Tensor:
    """Return the logits (N, R, V_model) that predict the tokens of N responses, with gradient.

    Args:
        model: an encoder-decoder.
        prompts: (G, P) int64.
        prompt_mask: (G, P), 1 on real tokens.
        prompt_of: (N,) int64, which prompt a response answers; None: the one in the same row.
        responses: (N, R) int64, right padded.
    """
    states, mask = encode(model, prompts, prompt_mask)
    if prompt_of is not None:
        states, mask = states.index_select(0, prompt_of), mask[prompt_of]
    shifted = torch.cat([start_tokens(model, len(responses), responses.device), responses[:, :-1]], dim=1)
    return decode(model, states, mask, shifted)
