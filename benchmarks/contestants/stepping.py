"""Tokens per second of stepping the native vector environment, against a bare loop and one that re-reads the prefix.

``step``: policy and environment, token by token, as for any Gymnasium agent. ``bare``: policy and reference decode the
same tokens with a cache, and nothing else happens. ``recompute``: both read the whole text for every token.
"""

from __future__ import annotations

import time

import gymnasium as gym
import torch
from memory import Peak
from settings import answer, arguments, prompts

import prefgym  # noqa: F401  (registers the environments)
from prefgym.agents import LMPolicy
from prefgym.models.cache import RowCache, cached_forward
from prefgym.models.language_model import LanguageModel
from prefgym.models.padding import position_ids


def zero(prompts: list[str], completions: list[str], **columns: object) -> list[float]:
    """A reward that costs nothing: tokens are what is timed."""
    return [0.0] * len(completions)


def step(env: gym.vector.VectorEnv, policy: LMPolicy, new_tokens: int) -> float:
    """Seconds of one wave of episodes, all of full length."""
    observation, _ = env.reset()
    began = time.perf_counter()
    for _ in range(new_tokens):
        action, _, _ = policy.act(observation)
        observation, *_ = env.step(action.numpy())
    return time.perf_counter() - began


@torch.no_grad()
def bare(models: list[LanguageModel], tokens: torch.Tensor, new_tokens: int) -> float:
    """Seconds of decoding with each model, using its own cache."""
    rows, width = tokens.shape
    began = time.perf_counter()
    caches = [RowCache(rows, width + new_tokens) for _ in models]
    mask = torch.ones_like(tokens)
    for lm, cache in zip(models, caches, strict=True):
        cache.begin(torch.arange(rows)[:, None], 0, width)
        cached_forward(lm.model, tokens, mask, position_ids(mask), cache)
    token = tokens[:, -1:]
    for index in range(new_tokens - 1):
        column = width + index
        attended = token.new_ones(rows, column + 1)
        for lm, cache in zip(models, caches, strict=True):
            cache.extend(column, slice(0, column + 1))
            logits, _ = cached_forward(lm.model, token, attended, attended.new_full((rows, 1), column), cache)
        token = logits.argmax(-1, keepdim=True).clamp(min=2)
    return time.perf_counter() - began


@torch.no_grad()
def recompute(models: list[LanguageModel], tokens: torch.Tensor, new_tokens: int) -> float:
    """Seconds of decoding without a cache."""
    began = time.perf_counter()
    for _ in range(new_tokens):
        for lm in models:
            logits = lm.model(tokens, logits_to_keep=1).logits[:, -1]
        tokens = torch.cat([tokens, logits.argmax(-1, keepdim=True).clamp(min=2)], 1)
    return time.perf_counter() - began


def main() -> None:
    """Measure all three in alternation."""
    options = arguments(__doc__ or "")
    model = LanguageModel.load(options.workload / "model")
    env = gym.make_vec(
        "Summarize-v0",
        num_envs=options.episodes,
        model=model,
        reward=zero,
        prompts=prompts(options.workload),
        template="{prompt}",
        max_prompt_tokens=options.prompt_tokens,
        max_new_tokens=options.new_tokens,
        missing_eos_penalty=0.0,
    )
    policy = LMPolicy(model.copy(), value_head=False)
    env.unwrapped.attach_policy(policy)
    texts = prompts(options.workload)[: options.episodes]
    tokens = torch.tensor([model.encode(text) for text in texts])
    both = [policy.language_model, model]
    seconds: dict[str, list[float]] = {"step": [], "bare": [], "recompute": []}
    peak = Peak()
    for round_ in range(options.iterations + 1):
        measured = {
            "step": step(env, policy, options.new_tokens),
            "bare": bare(both, tokens, options.new_tokens),
            "recompute": recompute(both, tokens, options.new_tokens) if round_ < 2 else None,
        }
        if round_:  # the first one warms up
            for name, value in measured.items():
                seconds[name] += [] if value is None else [value]
    answer(options.result, {"seconds": seconds, "peak_bytes": peak.above()})


if __name__ == "__main__":
    main()
