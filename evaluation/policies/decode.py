"""Write responses with a language model, in the same way for all policies, and measure their KL from a reference.

Shapes: N responses, P prompt columns (left padded), R response columns (right padded). Every mask is True on real
tokens, KL in nats.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...data.progress import progress_bar
from ...data.prompts import PromptSet, resolve_prompts
from ...envs.prompt_source import Prompt, PromptSource
from ...models.distribution import Decoding
from ...models.forward import token_log_probs
from ...models.generation import generate, is_one_of
from ...models.language_model import LanguageModel
from ...models.response_text import ResponseText
from ...models.shared_prompt import numbered
from .responses import DecodeSettings, Responses

Prompts = PromptSet | Sequence[Mapping[str, Any]]
"""Prompts as rows, each with ``"prompt"`` and any further columns."""

MANY = 2_000
"""Up to this many responses are written without a progress bar."""

READ_AT_ONCE = 32
"""Whole sequences per forward pass; on a CPU more of them are slower, as they do not fit the cache."""

SEEDS_APART = 1009
"""Between the seeds of two calls that write in :func:`growing_groups`, each of which has its own."""

Scorer = Callable[[Sequence[Prompt], Sequence[str]], NDArray[np.float64]]
"""``(n prompts, n responses) -> (n,) scores``."""


def prepare(lm: LanguageModel, prompts: Prompts, settings: DecodeSettings) -> tuple[list[Prompt], int]:
    """The prompts as ``lm`` reads them, templated and cut as in the environment; and how many were cut.

    Raises:
        InputError: an empty prompt, or a template that leaves no room.
    """
    known = resolve_prompts(prompts)
    source = PromptSource(known, settings.template, lm.encode_prompt, settings.max_prompt_tokens, lm.pad_token_id)
    indices = progress_bar("tokenising prompts", len(known), items=range(len(known)), unit="prompt")
    return [source.at(index) for index in indices], source.truncated_prompts


def decode_both(
    lm: LanguageModel,
    prompts: Prompts,
    settings: DecodeSettings | None = None,
    *,
    seed: int = 0,
    reference: LanguageModel | None = None,
) -> tuple[Responses, Responses]:
    """Write a sampled and a greedy response to each prompt, which is read once: the pair that ``decode`` would write.

    Arguments as in :func:`decode`; the sampled ones are drawn at the settings' temperature.
    """
    settings = settings or DecodeSettings()
    decoding = Decoding(temperature=settings.temperature)
    written = write_samples(lm, prompts, 1, settings, decoding, seed=seed, also_greedy=True)
    if reference is not None:
        written = _with_reference(written, lm, reference, settings)
    rows = np.arange(len(written))
    return written.select(rows[::2]), written.select(rows[1::2])


def decode(
    lm: LanguageModel,
    prompts: Prompts,
    settings: DecodeSettings | None = None,
    decoding: Decoding | None = None,
    *,
    seed: int = 0,
    reference: LanguageModel | None = None,
) -> Responses:
    """Write one response per prompt.

    The same seed gives every policy the same random numbers, batch by batch, which makes paired differences sharper.

    Args:
        lm: the policy.
        prompts: N prompts.
        settings: template, budgets and batch size.
        decoding: how a token is drawn; by default from the full distribution at the settings' temperature.
        seed: for sampling.
        reference: the KL is measured from this model; ``None`` measures none.
    """
    settings = settings or DecodeSettings()
    decoding = decoding or Decoding(temperature=settings.temperature)
    responses = write_samples(lm, prompts, 1, settings, decoding, seed=seed)
    if reference is None:
        return responses
    own = replace(decoding, greedy=False) == Decoding(temperature=settings.temperature)
    return _with_reference(responses, lm if own else None, reference, settings)


def _with_reference(
    responses: Responses, lm: LanguageModel | None, reference: LanguageModel, settings: DecodeSettings
) -> Responses:
    """Responses with the reference's log π: their own where they are those of ``lm`` and it equals the reference."""
    own = lm is not None and lm.equals(reference)
    return replace(responses, ref_log_probs=responses.log_probs if own else _log_probs(responses, reference, settings))


def best_of_n(
    lm: LanguageModel,
    prompts: Prompts,
    scorer: Scorer,
    n: int = 4,
    settings: DecodeSettings | None = None,
    *,
    seed: int = 0,
) -> Responses:
    """Write n responses per prompt and keep the one that ``scorer`` scores highest, the first in a tie.

    For this as a policy, and its KL, see ``best_of_n.py``.
    """
    settings = settings or DecodeSettings()
    written = write_samples(lm, prompts, n, settings, seed=seed)
    scores = np.asarray(scorer(written.prompts, written.texts)).reshape(-1, n)
    return written.select(np.arange(len(scores)) * n + scores.argmax(1))


def choose_temperature(
    lm: LanguageModel,
    prompts: Prompts,
    scorer: Scorer,
    settings: DecodeSettings | None = None,
    *,
    temperatures: Sequence[float] = (0.25, 0.5, 0.75, 1.0),
    seed: int = 0,
) -> tuple[float, dict[float, float]]:
    """Return the temperature whose responses score best on average, and the mean score of each.

    Use validation prompts and a score that judges nothing later, or the yardstick is selected on its own test.
    """
    means = {}
    for temperature in temperatures:
        written = decode(lm, prompts, settings, Decoding(temperature=temperature), seed=seed)
        means[temperature] = float(np.mean(scorer(written.prompts, written.texts)))
    return max(means, key=lambda temperature: means[temperature]), means


def growing_groups(count: int, most: int) -> Iterator[slice]:
    """Divide so many prompts into groups of 1, 2, 4, ... up to ``most``, so that a reader soon has something to read.

    >>> list(growing_groups(8, most=4))
    [slice(0, 1, None), slice(1, 3, None), slice(3, 7, None), slice(7, 8, None)]
    """
    start, size = 0, 1
    while start < count:
        yield slice(start, min(start + size, count))
        start, size = start + size, min(2 * size, most)


def write_samples(
    lm: LanguageModel,
    prompts: Prompts,
    n: int,
    settings: DecodeSettings | None = None,
    decoding: Decoding | None = None,
    *,
    seed: int = 0,
    also_greedy: bool = False,
) -> Responses:
    """Write n responses per prompt, those of a prompt adjacent; arguments as in ``decode``.

    With ``also_greedy`` a greedy one follows them, so there are n + 1 of each prompt.
    """
    settings = settings or DecodeSettings()
    decoding = decoding or Decoding(temperature=settings.temperature)
    prepared, _ = prepare(lm, prompts, settings)
    response_text = ResponseText(lm, settings.stop_strings, settings.keep_special_tokens)
    width = settings.max_new_tokens
    each = n + also_greedy
    tokens = torch.full((len(prepared) * each, width), lm.pad_token_id, dtype=torch.int64)
    mask = torch.zeros((len(prepared) * each, width), dtype=torch.bool)
    log_probs = torch.zeros((len(prepared) * each, width))
    batch_size = max(1, settings.batch_size // n)
    batches = _batches([len(prompt.ids) for prompt in prepared], batch_size, "writing responses")
    for number, batch in enumerate(batches):
        ids, ids_mask = left_pad([prepared[i].ids for i in batch], lm.pad_token_id)
        generation = generate(
            lm.model,
            ids.to(lm.device),
            ids_mask.to(lm.device),
            max_new_tokens=width,
            eos_token_id=lm.eos_token_ids,
            pad_token_id=lm.pad_token_id,
            vocab_size=lm.vocab_size,
            decoding=decoding,
            generator=torch.Generator(device=lm.device).manual_seed((seed * 100_003 + number) % 2**63),
            samples_per_prompt=n,
            also_greedy=also_greedy,
            stopped=response_text.stopped if settings.stop_strings else None,
        )
        index = (torch.tensor(batch)[:, None] * each + torch.arange(each)).flatten()  # prompt-major: p0s0, p0s1, ...
        written = generation.tokens.shape[1]
        tokens[index, :written], mask[index, :written] = generation.tokens.cpu(), generation.mask.cpu()
        log_probs[index, :written] = generation.log_probs.float().cpu()
    tokens.masked_fill_(~mask, lm.pad_token_id)
    last = tokens.gather(1, (mask.sum(1, keepdim=True) - 1).clamp(min=0)).squeeze(1)
    read = [response_text.read(row[real].tolist()) for row, real in zip(tokens, mask, strict=True)]
    stopped = np.array([reason == "stop" for _, reason in read]) if settings.stop_strings else None
    repeated = [prompt for prompt in prepared for _ in range(each)]
    ended = is_one_of(last, lm.eos_token_ids).numpy()
    return Responses([text for text, _ in read], repeated, tokens, mask, ended, log_probs, stopped=stopped)


@torch.no_grad()
def _log_probs(responses: Responses, lm: LanguageModel, settings: DecodeSettings) -> Tensor:
    """(N, R) log π of every response token, 0 on padding; adjacent responses to a prompt are read behind it."""
    decoding = Decoding(temperature=settings.temperature)
    result = torch.zeros(responses.tokens.shape)
    written = responses.mask.sum(1)
    groups = [list(rows) for _, rows in groupby(range(len(responses)), lambda row: id(responses.prompts[row]))]
    most = max(map(len, groups), default=1)
    lengths = [len(responses.prompts[rows[0]].ids) + int(written[rows].max()) for rows in groups]
    for together in _batches(lengths, max(1, READ_AT_ONCE // most), "reading responses"):
        batch = [row for group in together for row in groups[group]]
        prompt_of = numbered([group for group in together for _ in groups[group]]) if most > 1 else None
        width = max(1, int(responses.mask[batch].sum(1).max()))
        prompt, prompt_mask = left_pad([responses.prompts[i].ids for i in batch], lm.pad_token_id)
        tokens = torch.cat([prompt, responses.tokens[batch, :width]], 1)
        mask = torch.cat([prompt_mask, responses.mask[batch, :width]], 1)
        where = (tokens.to(lm.device), mask.to(lm.device), width, lm.vocab_size, decoding)
        log_probs = token_log_probs(lm.model, *where, None if prompt_of is None else prompt_of.to(lm.device))
        result[batch, :width] = log_probs.float().cpu().masked_fill(~responses.mask[batch, :width], 0.0)
    return result


def _batches(lengths: Sequence[int], batch_size: int, what: str) -> Iterator[list[int]]:
    """Indices in batches of similar length, the longest first, so that memory runs out immediately or never.

    With many, a progress bar is labelled ``what``.
    """
    order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
    with progress_bar(what, len(order), unit="prompt", many=MANY) as bar:
        for start in range(0, len(order), batch_size):
            batch = order[start : start + batch_size]
            yield batch
            bar.update(len(batch))


def left_pad(rows: Sequence[Sequence[int]], pad_token_id: int) -> tuple[Tensor, Tensor]:
    """(B, P) tokens and mask; only the mask says what is padding."""
    width = max(len(row) for row in rows)
    tokens = torch.tensor([[pad_token_id] * (width - len(row)) + list(row) for row in rows], dtype=torch.int64)
    mask = torch.arange(width) >= torch.tensor([[width - len(row)] for row in rows])
    return tokens, mask
