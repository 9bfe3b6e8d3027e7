"""A world so small that every response can be listed, so the optimum and the exact gradient are known.

It is the same MDP, run by the same code, on a tiny random model (a Llama, or a table with a row for every state; both
have embedding rows beyond the vocabulary) and a random table of scores. For each prompt x, with responses y, reference
π_ref and coefficient β:

    objective(π)  J(π) = E_{y ~ π}[score(x, y)] - β KL(π(.|x) ‖ π_ref(.|x))
    optimum       π*(y|x) = π_ref(y|x) exp(score(x, y) / β) / Z(x),        J(π*) = β log Z(x)

(Ziegler et al. 2019, equation 2; Korbak et al. 2022, "RL with KL penalties is better viewed as Bayesian inference",
equation 5.) J(π*) - J(π) = β KL(π ‖ π*). Everything is averaged over the prompts, which are equally likely.

Notation: X prompts, N responses of each, R = ``max_new_tokens``, V = ``num_tokens + 1``. KL is in nats.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from ..models.forward import token_log_probs
from .mdp import TokenMDP
from .tiny_world import enumerable_options, list_responses
from .token_env import TokenEnv
from .vector_env import TokenVectorEnv

ROWS_AT_ONCE = 2048
"""How many responses are read in one forward pass."""


@dataclass(frozen=True)
class Responses:
    """Every response, in the order of the score table.

    Attributes:
        tokens: (N, R) int64, EOS included, then padding.
        mask: (N, R) bool, True = real token.
        texts: N texts, without EOS.
    """

    tokens: Tensor
    mask: Tensor
    texts: list[str]


class ExactQuantities:
    """What can be computed exactly when every response is listed; a mixin of both environments below.

    A *policy* is any object with ``evaluate_actions(tokens (B, L), attention_mask (B, L), num_response)`` whose result
    has ``log_probs`` (B, R), or a ``LanguageModel``.
    """

    mdp: TokenMDP

    @cached_property
    def _responses(self) -> Responses:
        mdp = self.mdp
        ids = list_responses(mdp.vocab_size - 1, mdp.max_new_tokens)
        tokens = torch.full((len(ids), mdp.max_new_tokens), mdp.pad_token_id)
        mask = torch.zeros(tokens.shape, dtype=torch.bool)
        for row, response in enumerate(ids):
            tokens[row, : len(response)], mask[row, : len(response)] = torch.tensor(response), True
        return Responses(tokens, mask, [mdp.language_model.decode(response) for response in ids])

    def responses(self) -> Responses:
        """Every response: those ended by EOS, by length, then those ended by the budget."""
        return self._responses

    @cached_property
    def _batch(self) -> tuple[Tensor, Tensor]:
        """All responses to all prompts: tokens and mask (X N, L), prompt-major."""
        prompts = self.mdp.source.batch(range(len(self.mdp.prompts)))
        count = len(prompts)
        every = prompts.repeat(len(self._responses.texts))
        tokens = torch.cat([every.tokens, self._responses.tokens.repeat(count, 1)], dim=1)
        return tokens, torch.cat([every.mask, self._responses.mask.repeat(count, 1)], dim=1)

    @cached_property
    def _scores(self) -> Tensor:
        prompts = self.mdp.source.batch(range(len(self.mdp.prompts)))
        tokens, mask, count = self._responses.tokens, self._responses.mask, len(prompts)
        total = self.mdp.score(prompts.repeat(len(tokens)), tokens.repeat(count, 1), mask.repeat(count, 1)).total
        return torch.from_numpy(total).reshape(count, -1)

    def scores(self) -> Tensor:
        """The reward at the end of each response, including the penalty for a missing EOS; (X, N) float64."""
        return self._scores

    def log_probs(self, policy: Any) -> Tensor:
        """log π(y | x) of every response, with gradient; (X, N) float64."""
        pieces = [self._log_probs_of(policy, rows) for rows in self._pieces()]
        return torch.cat(pieces).reshape(len(self.mdp.prompts), -1)

    def _pieces(self) -> list[slice]:
        """Rows of the batch, one forward pass at a time."""
        return [slice(start, start + ROWS_AT_ONCE) for start in range(0, len(self._batch[0]), ROWS_AT_ONCE)]

    def _log_probs_of(self, policy: Any, rows: slice) -> Tensor:
        """log π(y | x) of some rows of the batch, with gradient; (n,) float64."""
        tokens, mask = (both[rows] for both in self._batch)
        budget = self.mdp.max_new_tokens
        if hasattr(policy, "evaluate_actions"):
            per_token = policy.evaluate_actions(tokens, mask, budget).log_probs  # (n, R)
        else:
            mdp = self.mdp
            per_token = token_log_probs(policy.model, tokens, mask, budget, mdp.vocab_size, mdp.decoding)
        return torch.where(mask[:, -budget:], per_token.double(), 0.0).sum(-1)

    @cached_property
    def _reference_log_probs(self) -> Tensor:
        with torch.no_grad():
            return self.log_probs(self.mdp.reference)

    def reference_log_probs(self) -> Tensor:
        """log π_ref(y | x); (X, N)."""
        return self._reference_log_probs

    def optimal_log_probs(self) -> Tensor:
        """log π*(y | x); (X, N). With β = 0 it is uniform over the best responses."""
        if self.mdp.kl_coef == 0:
            best = self.scores() == self.scores().max(-1, keepdim=True).values
            return torch.log(best / best.sum(-1, keepdim=True))
        return torch.log_softmax(self.reference_log_probs() + self.scores() / self.mdp.kl_coef, -1)

    def optimal_policy(self) -> Tensor:
        """π*(y | x); (X, N), each row sums to 1."""
        return self.optimal_log_probs().exp()

    def optimal_objective(self) -> float:
        """J(π*) = β log Σ_y π_ref(y | x) exp(score(x, y) / β), averaged over prompts."""
        if self.mdp.kl_coef == 0:
            return float(self.scores().max(-1).values.mean())
        log_z = torch.logsumexp(self.reference_log_probs() + self.scores() / self.mdp.kl_coef, -1)
        return float(self.mdp.kl_coef * log_z.mean())

    def objective(self, policy: Any) -> Tensor:
        """J(π), a scalar with gradient: the expected sum of rewards of an episode, log π included."""
        return self._objective(self.log_probs(policy))

    def _objective(self, log_probs: Tensor) -> Tensor:
        kl = log_probs - self.reference_log_probs()
        return (log_probs.exp() * (self.scores() - self.mdp.kl_coef * kl)).sum(-1).mean()

    def exact_gradient(self, policy: Any) -> dict[str, Tensor]:
        """∇J(π) by differentiating the sum over all responses; parameter name -> gradient, for ascent.

        Parameters that J does not depend on (a value head) get zeros.
        """
        module = policy if hasattr(policy, "named_parameters") else policy.model
        named = {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}
        with torch.no_grad():
            log_probs = self.log_probs(policy)
        (weights,) = torch.autograd.grad(self._objective(log_probs.requires_grad_()), log_probs)  # dJ / d log π(y|x)
        result = {name: torch.zeros_like(parameter) for name, parameter in named.items()}
        for rows in self._pieces():  # ∇J = Σ_y (dJ / d log π(y)) ∇ log π(y)
            piece = (weights.flatten()[rows] * self._log_probs_of(policy, rows)).sum()
            gradients = torch.autograd.grad(piece, list(named.values()), allow_unused=True)
            for total, gradient in zip(result.values(), gradients, strict=True):
                if gradient is not None:
                    total += gradient
        return result

    @torch.no_grad()
    def kl(self, policy: Any) -> float:
        """KL(π ‖ π_ref) of whole responses, averaged over prompts."""
        log_probs = self.log_probs(policy)
        return float((log_probs.exp() * (log_probs - self.reference_log_probs())).sum(-1).mean())

    @torch.no_grad()
    def kl_to_optimum(self, policy: Any) -> float:
        """KL(π ‖ π*), averaged over prompts: how far learning still has to go. Infinite for β = 0."""
        log_probs = self.log_probs(policy)
        return float((log_probs.exp() * (log_probs - self.optimal_log_probs())).sum(-1).mean())


class Enumerable(ExactQuantities, TokenEnv):
    """``Enumerable-v0``: a ``TokenEnv`` whose optimum, objective and gradient are known exactly.

    Arguments: ``render_mode`` and those of ``enumerable_options``. β is 0.5 and ``missing_eos_penalty`` 0 by default.
    """

    complete = staticmethod(enumerable_options)


class EnumerableVector(ExactQuantities, TokenVectorEnv):
    """``Enumerable-v0`` as a native vector environment.

    Arguments: ``num_envs``, ``autoreset_mode``, ``render_mode`` and those of ``enumerable_options``.
    """

    complete = staticmethod(enumerable_options)
