"""Collecting episodes: whole responses generated, scored and judged by the reference in batches.

``collect_rollout`` is the fast way; it gives the same rewards as stepping the environment (``stepping.py``), which it
does itself wherever a wrapper could change what the learner should see.

Letters: B episodes (prompts x samples), P prompt columns (left padded), R response columns (right padded).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium import wrappers
from torch import Tensor

from ..envs.policy_kl import PolicyKL, VectorPolicyKL
from ..errors import InputError
from ..models.distribution import Decoding, log_distribution
from ..models.forward import chosen_tokens, read_responses
from ..rewards import kl as kl_estimators
from .policy import LMPolicy
from .returns import group_numbers
from .timing import part

NEUTRAL_WRAPPERS = (
    PolicyKL,
    VectorPolicyKL,
    wrappers.OrderEnforcing,
    wrappers.PassiveEnvChecker,
    wrappers.RecordEpisodeStatistics,
    gym.wrappers.vector.RecordEpisodeStatistics,
)
"""Wrappers that leave observation, action and reward as they are. What is not stepped, they do not see either:
``RecordEpisodeStatistics`` has nothing to record, and an agent's ``history`` tells."""

LOGITS_IN_MEMORY = 2**25
ROWS_AT_ONCE = 32
TOKENS_AT_ONCE = 2048
"""A reference pass holds so many logits at most; so many rows of similar length, or more where they are short."""
LOGITS_IN_CACHE = {"cpu": 2**18}
"""How many of them are judged at once, by kind of device; all of them elsewhere."""


@dataclass
class Rollout:
    """B finished episodes. Samples of one prompt are neighbours. Padding holds zeros."""

    prompt_tokens: Tensor  # (B, P) int64
    prompt_mask: Tensor  # (B, P) bool
    response_tokens: Tensor  # (B, R) int64, EOS included
    response_mask: Tensor  # (B, R) bool, True = real token
    log_probs: Tensor  # (B, R) log pi of the tokens when they were sampled
    ref_log_probs: Tensor  # (B, R) log pi_ref of the same tokens
    values: Tensor | None  # (B, R) V(s_t) of the states in which they were chosen
    kl: Tensor  # (B, R) the KL estimator that was paid, per token, in nats
    rewards: Tensor  # (B, R) -beta kl, and the score on the last real token
    scores: Tensor  # (B,) everything paid at the end besides KL
    score_parts: dict[str, Tensor]  # name -> (B,), each before its weight
    groups: Tensor  # (B,) int64, 0, 0, 1, 1, ...: which prompt of this rollout
    finish_reasons: list[str]  # "eos" or "length"
    prompts: list[str]  # as the policy read them
    responses: list[str]
    references: list[str | None]  # the human text, where the data has one
    prompt_indices: list[int]  # in the environment's prompt set
    kl_coef: Tensor | None = None  # (B,) β of each episode, as it was paid

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def returns(self) -> Tensor:
        """(B,) sum of each episode's rewards."""
        return self.rewards.masked_fill(~self.response_mask, 0.0).sum(1)

    def select(self, rows: Tensor) -> Rollout:
        """The episodes of these row numbers (b,), in this order."""
        places = rows.tolist()

        def chosen(value: Any) -> Any:
            if isinstance(value, Tensor):
                return value[rows.to(value.device)]
            if isinstance(value, dict):
                return {name: chosen(part) for name, part in value.items()}
            return None if value is None else [value[place] for place in places]

        return Rollout(**{field.name: chosen(getattr(self, field.name)) for field in dataclasses.fields(self)})

    def scalars(self) -> dict[str, float]:
        """Means over episodes, by the names under which they are logged."""
        k1 = kl_estimators.k1(self.log_probs, self.ref_log_probs).masked_fill(~self.response_mask, 0.0)
        result: dict[str, Tensor | float] = {
            "objective/kl": self.kl.sum(1).mean(),
            "objective/kl_k1": k1.sum(1).mean(),
            "objective/scores": self.scores.mean(),
            "objective/rlhf_reward": self.returns.mean(),
            "objective/entropy": -self.log_probs.masked_fill(~self.response_mask, 0.0).sum(1).mean(),
            "rollout/response_length": self.response_mask.sum(1).float().mean(),
            "rollout/repetition": repetition(self.response_tokens, self.response_mask),
            "rollout/eos_rate": self.finish_reasons.count("eos") / len(self),
        }
        result |= {f"objective/score_{name}": values.mean() for name, values in self.score_parts.items()}
        return {name: float(value) for name, value in result.items()}


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
    """Let ``policy`` write ``samples_per_prompt`` responses to each of the environment's next ``num_prompts`` prompts.

    Given the same tokens, the rewards are those of ``env.step`` with the policy attached. An environment that is
    wrapped only in wrappers which leave observation, action and reward alone is not stepped: responses are generated
    in one batch and scored in one pass. Any other is stepped.

    Args:
        env: an environment of this package, single or vector, wrapped or not.
        policy: writes the responses; its log-probs are those of the KL.
        num_prompts: number of prompts.
        samples_per_prompt: number of responses to each.
        generator: draws the tokens; None is torch's global generator.
        prompt_indices: the ``num_prompts`` prompts to answer, instead of the next ones.
        greedy: take the likeliest token each time instead of a draw.

    Raises:
        RewardError: a reward failed; the message names the prompt.
        InputError: a wrapper makes the steps unusable (it changes tokens, or cuts episodes short); it is named.
    """
    if prompt_indices is not None and len(prompt_indices) != num_prompts:
        raise InputError(f"prompt_indices names {len(prompt_indices)} prompts, but num_prompts is {num_prompts}.")
    if is_neutral(env):
        indices = env.unwrapped.sample_prompt_indices(num_prompts) if prompt_indices is None else prompt_indices
        return _generate(env.unwrapped, policy, indices, samples_per_prompt, generator, greedy)
    from .stepping import step_rollout

    return step_rollout(env, policy, num_prompts, samples_per_prompt, generator, prompt_indices, greedy)


def is_neutral(env: Any) -> bool:
    """Whether nothing around the environment could change what a learner sees."""
    while env is not env.unwrapped:
        if type(env) not in NEUTRAL_WRAPPERS:
            return False
        env = env.env
    return hasattr(env, "encode_prompts")


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
            batch.tokens.to(device), batch.mask.to(device), env.max_new_tokens, samples_per_prompt, generator, greedy
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
        ref_log_probs, kl = _reference(env, policy, tokens, attention_mask, mask, generation.log_probs, groups)
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
    """What a separate value trunk says of the states (B, R)."""
    num_response = mask.shape[1]
    values = torch.zeros(mask.shape, device=mask.device)
    for rows, prompt_of in _pieces(groups, attention_mask, num_response, 1):
        values[rows] = policy.read_values(tokens[rows], attention_mask[rows], num_response, prompt_of)
    return values


def _reference(
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
    for rows, prompt_of in _pieces(groups, attention_mask, num_response, policy.vocab_size):
        given = (tokens[rows], attention_mask[rows], num_response, prompt_of)
        reading = read_responses(reference, *given)
        slots, chosen = reading.slots, chosen_tokens(tokens[rows, -num_response:], reading.slots)
        own = read_responses(policy.language_model.model, *given).logits if exact else None  # the same texts and slots
        ref_log_probs[rows], kl[rows] = map(
            slots.spread, _judge_slots(reading.logits, chosen, own, policy.vocab_size, *shapes)
        )
    if not exact:
        kl = kl_estimators.estimator(env.kl_estimator)(log_probs, ref_log_probs)
    return ref_log_probs, kl.masked_fill(~mask, 0.0)


def _judge_slots(
    logits: Tensor, chosen: Tensor, own: Tensor | None, vocab_size: int, decoding: Decoding, own_decoding: Decoding
) -> tuple[Tensor, Tensor]:
    """Log pi_ref of the chosen token of each slot, and the exact KL there if the policy's own logits are given: (T,).

    A few slots at a time: passes over a large vocabulary take longer to move it through memory than to compute.
    """
    log_probs, kl = logits.new_zeros(2, len(logits), dtype=torch.float32)
    size = max(1, LOGITS_IN_CACHE.get(logits.device.type, logits.numel()) // logits.shape[-1])
    for here in (slice(begin, begin + size) for begin in range(0, len(logits), size)):
        ref_log_dist = log_distribution(logits[here], vocab_size, decoding)  # (size, V)
        log_probs[here] = ref_log_dist.gather(-1, chosen[here, None])[:, 0]
        if own is not None:
            kl[here] = kl_estimators.exact(log_distribution(own[here], vocab_size, own_decoding), ref_log_dist)
    return log_probs, kl


def _pieces(
    groups: Tensor, attention_mask: Tensor, num_response: int, vocab_size: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield rows of similar length that fit in memory at once, and which of them have the same prompt."""
    similar = max(ROWS_AT_ONCE, TOKENS_AT_ONCE // attention_mask.shape[1])
    rows_at_once = min(similar, max(1, LOGITS_IN_MEMORY // (num_response * vocab_size)))
    for rows in packed(groups, attention_mask.sum(1)).split(rows_at_once):
        yield rows, group_numbers(groups[rows])


def packed(groups: Tensor, lengths: Tensor) -> Tensor:
    """Order of rows (B,) in which those of a prompt are neighbours, and prompts follow by their longest row.

    >>> packed(torch.tensor([0, 0, 1, 1]), torch.tensor([5, 9, 7, 6]))
    tensor([2, 3, 0, 1])
    """
    number = group_numbers(groups)
    longest = lengths.new_zeros(int(number.max()) + 1).scatter_reduce(0, number, lengths, "amax")
    by_prompt = number.argsort(stable=True)
    return by_prompt[longest[number[by_prompt]].argsort(stable=True)]


def at_end(scores: Tensor, mask: Tensor) -> Tensor:
    """Put each score (B,) on its row's last real token: (B, R)."""
    last = mask.sum(1, keepdim=True) - 1
    return torch.zeros(mask.shape, dtype=scores.dtype, device=mask.device).scatter(1, last, scores[:, None])


def repetition(tokens: Tensor, mask: Tensor, n: int = 3) -> float:
    """Share of token n-grams that already stood in the same response; the mean over responses with any n-gram."""
    shares = []
    for row, kept in zip(tokens.tolist(), mask.sum(1).tolist(), strict=True):
        grams = [tuple(row[i : i + n]) for i in range(kept - n + 1)]
        if grams:
            shares.append(1 - len(set(grams)) / len(grams))
    return float(np.mean(shares)) if shares else 0.0
