"""Expected gradients of estimators, by listing every response of ``Enumerable-v0``.

A policy-gradient estimator of one episode has the form g(y) = Σ_t w_t(y) ∇ log π(y_t | s_t): its weights w are its
advantages, right or wrong. Its expectation Σ_y π(y) g(y) is one backward pass over all responses.

Notation: B all responses to all prompts, R response columns, D parameters, k directions. Gradients are flat and point
    uphill. Padding is zero.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ...agents.policy import LMPolicy
from ...agents.returns import returns_to_go
from ...agents.rollout import Rollout, at_end
from ...envs.enumerable import ExactQuantities
from ...models.forward import token_log_probs


class Enumeration:
    """Every response to every prompt, with its log-probs under the policy and the reference.

    Args:
        world: an ``Enumerable-v0`` environment, unwrapped.
        policy: the policy; its parameters are read when expectations are taken, its log-probs now.

    Attributes:
        mask: (B, R) bool, True = real token.
        tokens: (B, R) int64.
        probabilities: (B,) float64 π(y | x) / X, which sum to 1.
        log_probs: (B, R) log π of each token.
        ref_log_probs: (B, R) log π_ref of each token.
        scores: (B,) what is paid at the end.
        values: (B, R) V(s_t), 0 if the policy has none.
        prompt: (B,) int64 which prompt.
        batch: tokens and mask (B, L), and R, in the policy's format.
    """

    def __init__(self, world: ExactQuantities, policy: LMPolicy) -> None:
        responses, (num_prompts, count) = world.responses(), world.scores().shape
        self.world, self.policy = world, policy
        self.prompts = world.mdp.source.batch(range(num_prompts)).repeat(count)
        self.tokens, self.mask = responses.tokens.repeat(num_prompts, 1), responses.mask.repeat(num_prompts, 1)
        self.prompt = torch.arange(num_prompts).repeat_interleave(count)
        self.scores = world.scores().flatten().float()
        self.batch = (
            torch.cat([self.prompts.tokens, self.tokens], 1),
            torch.cat([self.prompts.mask, self.mask], 1),
            world.mdp.max_new_tokens,
        )
        with torch.no_grad():
            self.log_probs, values = self.evaluate()
            reference = world.mdp.reference.model
            self.ref_log_probs = token_log_probs(reference, *self.batch, world.mdp.vocab_size, world.mdp.decoding)
            self.probabilities = world.log_probs(policy).exp().flatten() / num_prompts
        self.values = torch.zeros_like(self.log_probs) if values is None else values

    def evaluate(self) -> tuple[Tensor, Tensor | None]:
        """log π and V of every token, (B, R), with gradient."""
        evaluation = self.policy.evaluate_actions(*self.batch, with_entropy=False)
        values = evaluation.values
        return evaluation.log_probs, None if values is None else values.masked_fill(~self.mask, 0.0)

    def tempered_log_probs(self, temperature: float) -> Tensor:
        """log π of each token at another temperature; (B, R)."""
        model, decoding = self.policy.language_model.model, replace(self.policy.decoding, temperature=temperature)
        with torch.no_grad():
            return token_log_probs(model, *self.batch, self.policy.vocab_size, decoding)

    def rewards(self, kl_coef: float) -> Tensor:
        """r_t = -β (log π - log π_ref) + [t = T] score; (B, R)."""
        return at_end(self.scores, self.mask) - kl_coef * (self.log_probs - self.ref_log_probs)

    def mean(self, x: Tensor) -> Tensor:
        """Expectation of ``x`` (B, ...) over prompts and responses."""
        return torch.tensordot(self.probabilities.to(x.dtype), x, 1)

    def mean_of_prompt(self, x: Tensor) -> Tensor:
        """Expectation of ``x`` (B,) over the responses to each one's prompt; (B,)."""
        count = len(self.world.mdp.prompts)
        totals = torch.zeros(count, dtype=x.dtype).index_add_(0, self.prompt, self.probabilities.to(x.dtype) * x)
        return count * totals[self.prompt]

    def expected(self, loss: Callable[[Tensor, Any], Tensor]) -> Tensor:
        """∇ Σ_y p(y) f(y), p fixed, for f (B,) of the log-probs and values (B, R); flat (D,)."""
        parameters = trained(self.policy)
        total = self.mean(loss(*self.evaluate()))
        gradients = torch.autograd.grad(total, parameters, allow_unused=True)
        return flat(gradients, parameters)

    def expected_gradient(self, weights: Tensor) -> Tensor:
        """E[Σ_t w_t ∇ log π(y_t | s_t)] for weights (B, R); flat (D,)."""
        weights = weights.masked_fill(~self.mask, 0.0).detach()
        return self.expected(lambda log_probs, values: (weights * log_probs).sum(1))

    def exact_gradient(self, kl_coef: float) -> Tensor:
        """∇J(π) by the policy-gradient theorem: the weights are returns-to-go; flat (D,)."""
        return self.expected_gradient(returns_to_go(self.rewards(kl_coef), self.mask))

    def rollout(self, rows: Tensor, groups: Tensor, kl_coef: float) -> Rollout:
        """The responses ``rows`` (b,) as a rollout; ``groups`` (b,) says which are samples of one prompt."""
        prompts = [self.prompts.prompts[row] for row in rows.tolist()]
        mask, (log_probs, ref_log_probs) = self.mask[rows], (self.log_probs[rows], self.ref_log_probs[rows])
        return Rollout(
            prompt_tokens=self.prompts.tokens[rows],
            prompt_mask=self.prompts.mask[rows],
            response_tokens=self.tokens[rows],
            response_mask=mask,
            log_probs=log_probs,
            ref_log_probs=ref_log_probs,
            values=self.values[rows] if self.policy.has_values else None,
            kl=log_probs - ref_log_probs,
            rewards=self.rewards(kl_coef)[rows],
            scores=self.scores[rows],
            score_parts={},
            groups=groups,
            finish_reasons=[],
            prompts=[prompt.told for prompt in prompts],
            responses=[],
            references=[None] * len(prompts),
            prompt_indices=[-1 if prompt.index is None else prompt.index for prompt in prompts],
        )


def trained(policy: LMPolicy) -> list[torch.nn.Parameter]:
    """The parameters that an agent trains."""
    return [parameter for parameter in policy.parameters() if parameter.requires_grad]


def flat(gradients: Any, parameters: list[torch.nn.Parameter]) -> Tensor:
    """Gradients concatenated, (D,); zeros for those that are None."""
    pairs = zip(gradients, parameters, strict=True)
    return torch.cat([(torch.zeros_like(p) if g is None else g).flatten() for g, p in pairs])
