"""Collecting episodes: whole responses generated, scored and passed through the reference in batches.

``collect_rollout`` is the fast way; it gives the same rewards as stepping the environment (``stepping.py``), to which
it falls back wherever a wrapper could change what the learner sees.

Notation: B episodes (prompts x samples), P prompt columns (left padded), R response columns (right padded).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ..errors import InputError
from ..models.distribution import Decoding, log_distribution
from ..models.forward import chosen_tokens, from_logits, pick_tokens, read_responses
from ..models.head import is_known_plain
from ..rewards import kl as kl_estimators
from . import processes
from .attach import is_neutral
from .policy import LMPolicy
from .returns import group_numbers
from .rollout import Rollout, at_end, by_length
from .stepping import step_rollout
from .timing import part

LOGITS_IN_MEMORY = 2**25
ROWS_AT_ONCE = 32
TOKENS_AT_ONCE = 2048
"""Bounds on a reference pass: its logits, and its rows of similar length (more if they are short)."""
LOGITS_IN_CACHE = {"cpu": 2**18}
"""How many of them are processed at once, by kind of device; all of them elsewhere."""


def collect_rollout(
    env: Any,
    policy: LMPolicy,
    num_prompts: int,
    samples_per_prompt: int = 1,
    generator: torch.Generator | None = None,
    *,
    prompt_indices: Sequence[int] | None = None,
    greedy: bool = False,
) -> Rollout:
    """Sample ``samples_per_prompt`` responses to each of the environment's next ``num_prompts`` prompts.

    Given the same tokens, the rewards are those of ``env.step`` with the policy attached. An environment whose wrappers
    all leave observation, action and reward unchanged is not stepped: responses are generated in one batch and scored
    in one pass. Any other is stepped.

    Args:
        env: an environment of this package, single or vector, wrapped or not.
        policy: writes the responses; its log-probs are used for the KL.
        num_prompts: number of prompts.
        samples_per_prompt: number of responses to each.
        generator: draws the tokens; None is torch's global generator.
        prompt_indices: the ``num_prompts`` prompts to answer, instead of the next ones.
        greedy: take the likeliest token each time instead of sampling.

    Raises:
        RewardError: a reward failed; the message names the prompt.
        InputError: a wrapper, which is named, makes the steps unusable (it changes tokens, or cuts episodes short).
    """
    if prompt_indices is not None and len(prompt_indices) != num_prompts:
        raise InputError(f"prompt_indices names {len(prompt_indices)} prompts, but num_prompts is {num_prompts}.")
    if is_neutral(env):
        indices = env.unwrapped.sample_prompt_indices(num_prompts) if prompt_indices is None else prompt_indices
        mine, own = processes.share(indices), processes.draws(generator)
        return processes.whole(_generate(env.unwrapped, policy, mine, samples_per_prompt, own, greedy))
    # A wrapped environment keeps its own order of prompts, so every process steps all the episodes.
    return step_rollout(env, policy, num_prompts, samples_per_prompt, generator, prompt_indices, greedy)


@torch.no_grad()
def _generate(
    env: Any,
    policy: LMPolicy,
    prompt_indices: Sequence[int],
    samples_per_prompt: int,
    generator: torch.Generator | None,
    greedy: bool,
) -> Rollout:
    """The fast way: everything in batches."""
    batch = env.encode_prompts(prompt_indices)
    device = policy.device
    with part("generate"):
        generation, values = policy.generate(
            batch.tokens.to(device),
            batch.mask.to(device),
            env.max_new_tokens,
            samples_per_prompt,
            generator,
            greedy,
            env.response_text.stopped if env.stop_strings else None,
        )
    batch = batch.repeat(samples_per_prompt)
    mask = generation.mask
    tokens = torch.cat([batch.tokens.to(device), generation.tokens], 1)  # (B, L)
    attention_mask = torch.cat([batch.mask.to(device), mask], 1)
    groups = torch.arange(len(prompt_indices), device=device).repeat_interleave(samples_per_prompt)
    if policy.value_model is not None:
        with part("values"):
            values = _separate_values(policy, tokens, attention_mask, mask, groups)
    with part("reference"), policy.autocast():
        ref_log_probs, kl = read_reference(env, policy, tokens, attention_mask, mask, generation.log_probs, groups)
    with part("reward"):
        scores = env.score(batch, generation.tokens, mask)
    total = torch.as_tensor(scores.total, dtype=torch.float32, device=device)
    kl_coef = env.kl_coef
    return Rollout(
        prompt_tokens=batch.tokens.to(device),
        prompt_mask=batch.mask.to(device),
        response_tokens=generation.tokens,
        response_mask=mask,
        log_probs=generation.log_probs,
        ref_log_probs=ref_log_probs,
        values=values,
        kl=kl,
        rewards=-kl_coef * kl + at_end(total, mask),
        scores=total,
        score_parts={name: torch.as_tensor(part, dtype=torch.float32) for name, part in scores.parts.items()},
        groups=groups,
        finish_reasons=scores.finish_reasons,
        prompts=batch.texts,
        responses=scores.responses,
        references=batch.references,
        prompt_indices=batch.indices,
        kl_coef=torch.full_like(total, kl_coef),
    )


def _separate_values(policy: LMPolicy, tokens: Tensor, attention_mask: Tensor, mask: Tensor, groups: Tensor) -> Tensor:
    """A separate value trunk's values of the states (B, R)."""
    num_response = mask.shape[1]
    values = torch.zeros(mask.shape, device=mask.device)
    for rows, prompt_of in _pieces(groups, attention_mask, num_response, 1):
        values[rows] = policy.read_values(tokens[rows], attention_mask[rows], num_response, prompt_of)
    return values


def read_reference(
    env: Any,
    policy: LMPolicy,
    tokens: Tensor,
    attention_mask: Tensor,
    mask: Tensor,
    log_probs: Tensor,
    groups: Tensor,
) -> tuple[Tensor, Tensor]:
    """Log pi_ref of the responses and the KL per token, both (B, R) and 0 at padding; each prompt is read once."""
    num_response, exact = mask.shape[1], env.kl_estimator == "exact"
    reference, shapes = env.reference.model, (env.decoding, policy.decoding)
    ref_log_probs, kl = torch.zeros_like(log_probs), torch.zeros_like(log_probs)
    kept = 1 if is_known_plain(reference) else policy.vocab_size  # how much of its logits is in memory
    for rows, prompt_of in _pieces(groups, attention_mask, num_response, kept):
        given = (tokens[rows], attention_mask[rows], num_response, prompt_of)
        models = [reference, policy.language_model.model] if exact else [reference]
        readings = [read_responses(model, *given) for model in models]  # the same texts and slots
        slots, judge = readings[0].slots, partial(_judge_slots, policy.vocab_size, shapes)
        judged = from_logits(judge, readings, chosen_tokens(tokens[rows, -num_response:], slots))
        ref_log_probs[rows], kl[rows] = map(slots.spread, judged)
    if not exact:
        kl = kl_estimators.estimator(env.kl_estimator)(log_probs, ref_log_probs)
    return ref_log_probs, kl.masked_fill(~mask, 0.0)


def _judge_slots(
    vocab_size: int, shapes: tuple[Decoding, Decoding], logits: Tensor, *rest: Tensor
) -> tuple[Tensor, Tensor]:
    """Log pi_ref of the chosen token of each slot, and the exact KL there if the policy's own logits are given: (t,).

    A few slots at a time: with a large vocabulary, moving it through memory takes longer than computing.

    Args:
        vocab_size: V.
        shapes: of the reference's and of the policy's distribution.
        logits: (t, V_model) of the reference.
        rest: logits (t, V_model) of the policy, if wanted, and the chosen tokens (t,).
    """
    *own, chosen = rest
    log_probs, kl = logits.new_zeros(2, len(logits), dtype=torch.float32)
    size = max(1, LOGITS_IN_CACHE.get(logits.device.type, logits.numel()) // logits.shape[-1])
    for here in (slice(begin, begin + size) for begin in range(0, len(logits), size)):
        ref_log_dist = log_distribution(logits[here], vocab_size, shapes[0])  # (size, V)
        log_probs[here] = pick_tokens(ref_log_dist, chosen[here])
        for policy_logits in own:
            kl[here] = kl_estimators.exact(log_distribution(policy_logits[here], vocab_size, shapes[1]), ref_log_dist)
    return log_probs, kl


def _pieces(
    groups: Tensor, attention_mask: Tensor, num_response: int, vocab_size: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield rows of similar length that fit in memory at once, and which of them have the same prompt."""
    similar = max(ROWS_AT_ONCE, TOKENS_AT_ONCE // attention_mask.shape[1])
    rows_at_once = min(similar, max(1, LOGITS_IN_MEMORY // (num_response * vocab_size)))
    for rows in by_length(groups, attention_mask.sum(1)).split(rows_at_once):
        yield rows, group_numbers(groups[rows])
