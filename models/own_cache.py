"""Writing with the cache that a model brings, by transformers' own ``generate``: right for every model that has one.

It is where models are written with that a :class:`prefgym.models.cache.RowCache` does not fit: windows it does not know
of, recurrent states, caches of another shape. ``generate`` chooses nothing here: at each step it is told which token to
take. Notation: G prompts, S samples each, N = G * S rows, R tokens, V_model embedding rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList, PreTrainedModel
from transformers import StoppingCriteria, StoppingCriteriaList

from .accepts import taken
from .encoder_decoder import is_encoder_decoder
from .forward import head_input
from .paths import Paths, inner_model
from .padding import position_ids
from .plain import aligned, batches, forward_plainly

Choose = Callable[[Tensor, Tensor, Tensor, int], Tensor]
"""From rows (n,), logits (n, V_model), hidden states (n, d) and the step to the tokens (n,)."""


def write_with_own_cache(
    model: PreTrainedModel,
    paths: Paths,
    prompts: Tensor,
    prompt_mask: Tensor,
    samples: int,
    max_new_tokens: int,
    choose: Choose,
    done: Callable[[Tensor], bool],
) -> None:
    """Write S responses of at most R tokens to each prompt; every choice is the caller's.

    Args:
        model: a causal language model or an encoder-decoder.
        paths: how prompts may be read together.
        prompts: (G, P) int64, padded on the left.
        prompt_mask: (G, P), 1 on real tokens.
        samples: S.
        max_new_tokens: R.
        choose: gives the next token of rows; it is asked for all of a batch at once, step by step.
        done: whether none of these rows (n,) needs another token.
    """
    rows = torch.arange(len(prompts), device=prompts.device)
    for mine in _prompts_together(model, paths, prompt_mask):
        own = rows[mine].repeat_interleave(samples) * samples + torch.arange(samples, device=rows.device).repeat(len(mine))
        parts = own.split(1) if paths.batch == "alone" else [own]
        for part in parts:
            of = part // samples
            tokens, mask = aligned(prompts[of], prompt_mask[of]) if paths.batch != "left" else (prompts[of], prompt_mask[of])
            width = int(mask.sum(dim=1).max())
            if paths.batch == "left":
                start = tokens.shape[1] - width
                tokens, mask = tokens[:, start:], mask[:, start:]
            else:
                tokens, mask = tokens[:, :width], mask[:, :width]
            _write(model, paths, tokens, mask, part, max_new_tokens, choose, done)


def _prompts_together(model: PreTrainedModel, paths: Paths, mask: Tensor) -> Iterator[Tensor]:
    """Which prompts may be read in one batch: ``generate`` has no padding on the right."""
    if paths.batch == "left":
        yield torch.arange(len(mask), device=mask.device)
        return
    from dataclasses import replace

    yield from batches(replace(paths, batch="equal"), mask)


def _write(
    model: PreTrainedModel,
    paths: Paths,
    tokens: Tensor,
    mask: Tensor,
    rows: Tensor,
    max_new_tokens: int,
    choose: Choose,
    done: Callable[[Tensor], bool],
) -> None:
    inner = inner_model(model)
    with head_input(model) as hidden, own_settings(inner):
        choosing = _Choosing(choose, rows, hidden)
        inner.generate(
            tokens,
            attention_mask=mask.long(),
            **_stated(inner, paths, mask),
            generation_config=GenerationConfig(max_new_tokens=max_new_tokens, do_sample=False, pad_token_id=0, **_begin(inner)),
            logits_processor=LogitsProcessorList([choosing]),
            stopping_criteria=StoppingCriteriaList([_Done(done, rows)]),
        )


def _stated(model: Any, paths: Paths, mask: Tensor) -> dict[str, Any]:
    """Position ids where a model counts from another number than 0, which ``generate`` does not know."""
    return taken(model, position_ids=position_ids(mask) + paths.positions) if paths.positions else {}


def _begin(model: Any) -> dict[str, Any]:
    """What a decoder after an encoder starts with."""
    return {"decoder_start_token_id": model.config.decoder_start_token_id} if is_encoder_decoder(model) else {}


class _Choosing(LogitsProcessor):
    """Asks for the next tokens, and leaves no other choice."""

    def __init__(self, choose: Choose, rows: Tensor, hidden: list[Tensor]) -> None:
        self.choose, self.rows, self.hidden, self.step = choose, rows, hidden, 0

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:  # type: ignore[override]
        states = self.hidden[-1]
        states = states[:, -1] if states.dim() == 3 else states
        del self.hidden[:]
        token = self.choose(self.rows, scores, states, self.step)
        self.step += 1
        return torch.full_like(scores, -torch.inf).scatter(1, token[:, None], 0.0)


class _Done(StoppingCriteria):
    def __init__(self, done: Callable[[Tensor], bool], rows: Tensor) -> None:
        self.done, self.rows = done, rows

    def __call__(self, input_ids: Tensor, scores: Any, **kwargs: Any) -> Tensor:  # type: ignore[override]
        return torch.full((len(input_ids),), self.done(self.rows), dtype=torch.bool, device=input_ids.device)


@contextmanager
def own_settings(model: Any) -> Iterator[None]:
    """Inside this, nothing that a model's folder says of decoding changes its logits (penalties, forced tokens)."""
    before = model.generation_config
    model.generation_config = GenerationConfig()
    try:
        yield
    finally:
        model.generation_config = before
