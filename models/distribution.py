"""From logits to a distribution over tokens: the only place where that happens.

Sampling, scoring and the reference all call :func:`log_distribution`, so that a log-probability means the same
everywhere. Notation: B rows, V usable vocabulary (the tokenizer's), V_model >= V rows of the
model's embedding.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import InputError


@dataclass(frozen=True)
class Decoding:
    """How a token is drawn.

    Args:
        temperature: logits are divided by it; above 0.
        top_k: keep the k likeliest tokens (and those tied with the k-th); 0 keeps all.
        top_p: keep the smallest set of likeliest tokens whose mass reaches p (nucleus); 1 keeps all.
        greedy: take the likeliest token. It changes the choice, not the distribution: log-probabilities stay those of
            the distribution described by the other fields, and stay comparable between models.

    Temperature can be used in training too; ``top_k`` and ``top_p`` depend on the policy, so two policies have
    different supports and their KL can be infinite: use them only for sampling and evaluation.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    greedy: bool = False

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise InputError(
                f"temperature must be above 0, not {self.temperature}; for the likeliest token use greedy=True."
            )
        if self.top_k < 0:
            raise InputError(f"top_k must be 0 (off) or more, not {self.top_k}.")
        if not 0 < self.top_p <= 1:
            raise InputError(f"top_p must be in (0, 1], not {self.top_p}.")


def log_distribution(logits: Tensor, vocab_size: int, decoding: Decoding = Decoding()) -> Tensor:
    """Return the log-probabilities of the next token, in fp32.

    Embedding rows beyond the tokenizer are cut before the softmax; then temperature, top-k and top-p are applied.

    Args:
        logits: (..., V_model), any float type.
        vocab_size: V, the usable vocabulary.
        decoding: the shape of the distribution; ``greedy`` is ignored here.

    Returns:
        (..., V) log-probabilities in nats, ``-inf`` outside top-k and top-p.
    """
    scaled = logits[..., :vocab_size].float()  # (..., V)
    if decoding.temperature != 1.0:
        scaled = scaled / decoding.temperature
    if 0 < decoding.top_k < scaled.shape[-1]:
        scaled = _keep_top_k(scaled, decoding.top_k)
    if decoding.top_p < 1.0:
        scaled = _keep_top_p(scaled, decoding.top_p)
    return torch.log_softmax(scaled, dim=-1)


def restrict(log_probs: Tensor, allowed: Tensor) -> Tensor:
    """Renormalise over the allowed tokens: log-probs (..., V) and bool (..., V) -> (..., V), ``-inf`` elsewhere.

    At least one token of each distribution must be allowed.
    """
    return torch.log_softmax(log_probs.masked_fill(~allowed, -torch.inf), dim=-1)


def _keep_top_k(logits: Tensor, k: int) -> Tensor:
    threshold = logits.topk(k, dim=-1).values[..., -1:]
    return logits.masked_fill(logits < threshold, -torch.inf)


def _keep_top_p(logits: Tensor, p: float) -> Tensor:
    """Holtzman et al. 2020, "The Curious Case of Neural Text Degeneration", section 3.1."""
    ordered, order = logits.sort(dim=-1, descending=True)
    probabilities = ordered.softmax(dim=-1)
    mass_before = probabilities.cumsum(dim=-1) - probabilities
    outside = mass_before >= p  # the likeliest token has no mass before it and always stays
    outside[..., 0] = False
    return logits.masked_fill(outside.scatter(-1, order, outside), -torch.inf)


def sample(log_probs: Tensor, uniforms: Tensor) -> Tensor:
    """Sample one token per row by inverting the cumulative distribution.

    The same uniform gives the same token whatever the other rows are. A token with probability 0 is never drawn,
    however the cumulative sum is rounded.

    Args:
        log_probs: (B, V) in nats, ``-inf`` for excluded tokens.
        uniforms: (B,) in [0, 1).

    Returns:
        (B,) int64 tokens.
    """
    probabilities = log_probs.exp()
    cumulative = probabilities.cumsum(dim=-1)
    target = uniforms.to(cumulative).unsqueeze(-1) * cumulative[:, -1:]
    token = torch.searchsorted(cumulative, target, right=True).clamp(max=log_probs.shape[-1] - 1)  # (B, 1)
    # u * total can round up to the total, which lands past the last possible token: an event of about 1e-7
    possible = probabilities.gather(-1, token) > 0
    return torch.where(possible, token, log_probs.argmax(dim=-1, keepdim=True)).squeeze(-1)


def draw(log_probs: Tensor, uniforms: Tensor, decoding: Decoding) -> Tensor:
    """Return (B,) tokens: the likeliest if ``decoding.greedy``, else from :func:`sample`."""
    return log_probs.argmax(dim=-1) if decoding.greedy else sample(log_probs, uniforms)
