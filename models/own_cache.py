"""Writing with the cache that a model brings, by transformers' own ``generate``: right for every model that has one.

It is where models are written with that a :class:`prefgym.models.cache.RowCache` does not fit: windows it does not know
of, recurrent states, caches of another shape. ``generate`` chooses nothing here: at each step it is told which token to
take. Notation: G prompts, S samples each, N = G * S rows, R tokens, V_model embedding rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Protocol

import torch
from torch import Tensor
from transformers import (
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    PreTrainedModel,
    StoppingCriteria,
    StoppingCriteriaList,
)

from .accepts import taken
from .encoder_decoder import is_encoder_decoder
from .head import head_input
from .padding import position_ids
from .paths import Paths, inner_model
from .plain import aligned, batches


class Writing(Protocol):
    """What is told which logits there are, and says which tokens to take; for rows (n,) of the N."""

    ended: Tensor
    """(N,) bool."""

    def choose(self, rows: Tensor, logits: Tensor, states: Tensor, step: int) -> Tensor:
        """From logits (n, V_model) and hidden states (n, d) to the tokens (n,)."""
        ...


def write_with_own_cache(
    model: PreTrainedModel,
    paths: Paths,
    prompts: Tensor,
    prompt_mask: Tensor,
    samples: int,
    max_new_tokens: int,
    writing: Writing,
) -> None:
    """Write S responses of at most R tokens to each prompt; every choice is the caller's.

    Args:
        model: a causal language model or an encoder-decoder.
        paths: how prompts may be read together.
        prompts: (G, P) int64, padded on the left.
        prompt_mask: (G, P), 1 on real tokens.
        samples: S.
        max_new_tokens: R.
        writing: is asked for all rows of a batch at once, step by step, until they have ended.
    """
    prompt_of = torch.arange(len(prompts), device=prompts.device).repeat_interleave(samples)
    lengths = prompt_mask.sum(dim=1)[prompt_of]
    if paths.batch != "left":  # generate knows no other padding
        prompts, prompt_mask = aligned(prompts, prompt_mask)
        paths = paths if paths.batch == "alone" else replace(paths, batch="equal")
    for rows in batches(paths, lengths):
        tokens, mask = prompts[prompt_of[rows]], prompt_mask[prompt_of[rows]].long()
        if paths.batch != "left":
            tokens, mask = tokens[:, : int(lengths[rows[0]])], mask[:, : int(lengths[rows[0]])]
        _write(model, paths, tokens, mask, rows, max_new_tokens, writing)


def _write(
    model: PreTrainedModel,
    paths: Paths,
    tokens: Tensor,
    mask: Tensor,
    rows: Tensor,
    max_new_tokens: int,
    writing: Writing,
) -> None:
    inner = inner_model(model)
    settings = GenerationConfig(max_new_tokens=max_new_tokens, do_sample=False, pad_token_id=0, **_begin(inner))
    with head_input(model) as hidden, _own_settings(inner):
        inner.generate(
            tokens,
            attention_mask=mask,
            **_stated(inner, paths, mask),
            generation_config=settings,
            logits_processor=LogitsProcessorList([_Choosing(writing, rows, hidden)]),
            stopping_criteria=StoppingCriteriaList([_Done(writing, rows)]),
        )


def _stated(model: Any, paths: Paths, mask: Tensor) -> dict[str, Any]:
    """Position ids where a model counts from another number than 0, which ``generate`` does not know."""
    return taken(model, position_ids=position_ids(mask) + paths.positions) if paths.positions else {}


def _begin(model: Any) -> dict[str, Any]:
    """What a decoder after an encoder starts with."""
    return {"decoder_start_token_id": model.config.decoder_start_token_id} if is_encoder_decoder(model) else {}


class _Choosing(LogitsProcessor):
    """Asks for the next tokens, and leaves no other choice."""

    def __init__(self, writing: Writing, rows: Tensor, hidden: list[Tensor]) -> None:
        self.writing, self.rows, self.hidden, self.step = writing, rows, hidden, 0

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:  # type: ignore[override]
        """Return scores (n, V_model) of which the chosen token's is the highest."""
        token = self.writing.choose(self.rows, scores, self.hidden[-1][:, -1], self.step)
        self.step += 1
        del self.hidden[:]
        return torch.full_like(scores, -torch.inf).scatter(1, token[:, None], 0.0)


class _Done(StoppingCriteria):
    def __init__(self, writing: Writing, rows: Tensor) -> None:
        self.writing, self.rows = writing, rows

    def __call__(self, input_ids: Tensor, scores: Any, **kwargs: Any) -> Tensor:  # type: ignore[override]
        """Return for every row whether all have ended."""
        over = self.writing.ended[self.rows]
        return over.all().expand(len(over))


@contextmanager
def _own_settings(model: Any) -> Iterator[None]:
    """Inside this, nothing that a model's folder says of decoding changes its logits (penalties, forced tokens)."""
    before = model.generation_config
    model.generation_config = GenerationConfig()
    try:
        yield
    finally:
        model.generation_config = before
