"""Random texts on which the readings of a model are compared, and the truth about them.

The truth is a plain forward pass of transformers: each text alone, unpadded, without a cache.

Notation: G prompts, S responses to each, N = G * S, of at most R tokens; V_model embedding rows.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import InputError
from .accepts import taken
from .encoder_decoder import is_encoder_decoder, start_tokens
from .head import head_of
from .paths import inner_model, limit_of

RESPONSE = 5
"""Tokens of a decoder's longest response."""


@dataclass
class Texts:
    """G prompts with S responses each: (G, P) and (N, R), padded like a batch, and the truth about them.

    Attributes:
        truth: log-probs of every token, one (r_i, V_model) for each response.
    """

    prompts: Tensor
    prompt_mask: Tensor
    responses: Tensor
    mask: Tensor
    samples: int
    truth: list[Tensor] = field(default_factory=list)

    @property
    def prompt_of(self) -> Tensor:
        """(N,) which prompt a response answers."""
        return torch.arange(len(self.prompts)).repeat_interleave(self.samples)

    @property
    def rows(self) -> tuple[Tensor, Tensor]:
        """Prompt and response of each of the N texts, tokens and mask (N, P + R)."""
        tokens = torch.cat([self.prompts[self.prompt_of], self.responses], dim=1)
        return tokens, torch.cat([self.prompt_mask[self.prompt_of], self.mask], dim=1)


def make_texts(model: nn.Module, columns: int, slack: int = 0, seed: int = 0, response: int = RESPONSE) -> Texts:
    """Random prompts of unequal length and responses of up to ``response`` tokens that together need ``columns``.

    None is longer than the model's positions allow, less ``slack``.
    """
    limit = (limit_of(model) or columns + slack) - slack
    longest = max(min(columns - 2 * response, limit - response), 2)
    samples = max(2, -(-(columns - longest) // response)) if columns > limit else 2
    if is_encoder_decoder(model):
        longest, samples = min(columns, limit), 2
        response = min(columns // 2, limit) if response == RESPONSE else response
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.tensor([longest, max(2, longest - 7)])[:, None]
    count = len(lengths) * samples
    written = torch.full((count, 1), response)
    written[1::2] -= min(2, response - 1)
    ids = _ordinary(model)
    prompts = ids[torch.randint(len(ids), (len(lengths), longest), generator=generator)]
    responses = ids[torch.randint(len(ids), (count, response), generator=generator)]
    prompt_mask = torch.arange(longest) >= longest - lengths
    mask = torch.arange(response) < written
    pad = getattr(inner_model(model).config, "pad_token_id", None) or 0
    return Texts(prompts.masked_fill(~prompt_mask, pad), prompt_mask, responses.masked_fill(~mask, pad), mask, samples)


def _ordinary(model: nn.Module) -> Tensor:
    """Token ids without a special meaning to the model."""
    inner = inner_model(model)
    config = inner.config
    rows = [part.weight.shape[0] for part in (inner.get_input_embeddings(), head_of(model)) if hasattr(part, "weight")]
    ids = set(range(min(rows)))
    for name, value in {**vars(config), **vars(config.get_text_config())}.items():
        if name.endswith("token_id"):
            ids -= set(value if isinstance(value, list) else [value])
    return torch.tensor(sorted(ids))


def truth(model: Any, texts: Texts, row: int) -> Tensor:
    """Log-probs (r, V_model) that predict a response: one forward pass over prompt and response alone."""
    prompt, response = _text(texts, row)
    options = taken(model, use_cache=False)
    if is_encoder_decoder(model):
        given = torch.cat([start_tokens(model, 1, response.device), response[None, :-1]], dim=1)
        return model(input_ids=prompt[None], decoder_input_ids=given, **options).logits[0].float().log_softmax(-1)
    logits = model(input_ids=torch.cat([prompt, response])[None], **options).logits[0, len(prompt) - 1 : -1]
    return logits.float().log_softmax(-1)


def _text(texts: Texts, row: int) -> tuple[Tensor, Tensor]:
    prompt = row // texts.samples
    return texts.prompts[prompt][texts.prompt_mask[prompt]], texts.responses[row][texts.mask[row]]


def texts_with_truth(model: nn.Module, columns: int, response: int = RESPONSE) -> Texts:
    """Texts of the longest length, or a little less: some models count positions from 2."""
    error: Exception | None = None
    for slack in (0, 1, 2, 4, 8):
        texts = make_texts(model, columns, slack, response=response)
        try:
            with torch.no_grad():
                texts.truth = truths(model, texts)
            return texts
        except (IndexError, RuntimeError) as raised:
            error = raised
    raise InputError(f"A {type(model).__name__} cannot read {columns} tokens: {error}.")


def truths(model: nn.Module, texts: Texts) -> list[Tensor]:
    """Log-probs of every token (r_i, V_model), for each of the N responses."""
    return [truth(model, texts, row) for row in range(len(texts.responses))]
