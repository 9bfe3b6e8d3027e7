"""A language model as a stochastic policy over tokens, with values from the same trunk or from a separate one.

The policy knows tokens, masks and distributions; it does not know rewards, prompts as text, or environments.

Notation: B rows, P prompt columns (left padded), R response columns (right padded), L = P + R, V usable vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..models.distribution import Decoding, log_distribution, restrict, sample
from ..models.forward import chosen_tokens, from_logits, pick_tokens, read_responses, response_logits
from ..models.generation import Generation, generate
from ..models.head import head_width
from ..models.language_model import LanguageModel, disable_dropout
from ..models.shared_prompt import recomputing
from ..models.stepper import make_stepper
from ..models.value_head import ValueHead, value_model

Observation = Mapping[str, Any]


@dataclass(frozen=True)
class Evaluation:
    """The policy's evaluation of given responses, with gradient; (B, R) each. Values at padding are meaningless."""

    log_probs: Tensor
    values: Tensor | None
    entropy: Tensor | None
    log_dist: Tensor | None = None  # (B, R, V)


class LMPolicy(nn.Module):
    """A trainable language model, causal or encoder-decoder, optionally with a value for each state.

    Args:
        language_model: the model to train in place (only the adapter, if it has one); dropout is switched off with p =
            0.
        decoding: shape of the distribution that actions are drawn from; log-probs are those of the same distribution.
        value_head: whether to have values; every value starts at 0.
        value_trunk: ``"shared"``, a head on the policy's last hidden state, or ``"separate"``, a copy of the whole
            model with its own head, which takes twice the memory and time.
        max_prompt_tokens: the column of an observation where the response begins; only encoder-decoders need it.

    Attributes:
        precision: ``"fp32"``, or ``"bf16"`` for matrix products in bfloat16; weights and distributions stay in fp32.
        gradient_checkpointing: store less of the forward pass and recompute it in the backward pass.
        cuda_graphs: decode in steps of fixed shape, which a GPU records and replays.
    """

    precision = "fp32"
    gradient_checkpointing = False
    cuda_graphs = False

    def __init__(
        self,
        language_model: LanguageModel,
        *,
        decoding: Decoding | None = None,
        value_head: bool = True,
        value_trunk: str = "shared",
        max_prompt_tokens: int | None = None,
    ) -> None:
        super().__init__()
        self.language_model = language_model
        self.decoding = decoding or Decoding()
        self.model: nn.Module = language_model.unfreeze().model
        disable_dropout(self.model)
        separate = value_head and value_trunk == "separate"
        self.value_head = ValueHead(head_width(language_model.model)) if value_head and not separate else None
        self.value_model = value_model(language_model) if separate else None
        self.to(language_model.device)
        self._stepper = make_stepper(language_model.model, max_prompt_tokens)
        self._value_stepper = None if self.value_model is None else make_stepper(self.value_model, max_prompt_tokens)

    @property
    def vocab_size(self) -> int:
        """V, the number of actions."""
        return self.language_model.vocab_size

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.language_model.device

    @property
    def has_values(self) -> bool:
        """Whether the policy estimates state values."""
        return self.value_head is not None or self.value_model is not None

    def autocast(self) -> torch.autocast:
        """A context in which models compute in this policy's precision."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16")

    def generate(
        self,
        prompt_tokens: Tensor,
        prompt_mask: Tensor,
        max_new_tokens: int,
        samples_per_prompt: int = 1,
        generator: torch.Generator | None = None,
        greedy: bool = False,
        stopped: Callable[[Tensor], Tensor] | None = None,
    ) -> tuple[Generation, Tensor | None]:
        """Sample whole responses in a batch, without gradient.

        Args:
            prompt_tokens: (B, P) left padded.
            prompt_mask: (B, P), 1 = real token.
            max_new_tokens: the budget R.
            samples_per_prompt: n responses per prompt; rows of the result are p0s0, p0s1, ...
            generator: source of randomness.
            greedy: take the likeliest token each time; log-probs are those of the same distribution as otherwise.
            stopped: which responses end though not by EOS, as in ``models.generation.generate``.

        Returns:
            The responses with their log-probs (B n, R), and the values (B n, R) of the states in which the tokens were
            chosen, or None without a value head (a separate trunk reads them later, by ``read_values``).
        """
        with self.autocast():
            generation = generate(
                self.language_model.model,
                prompt_tokens,
                prompt_mask,
                max_new_tokens=max_new_tokens,
                eos_token_id=self.language_model.eos_token_ids,
                pad_token_id=self.language_model.pad_token_id,
                vocab_size=self.vocab_size,
                decoding=replace(self.decoding, greedy=greedy),
                generator=generator,
                samples_per_prompt=samples_per_prompt,
                with_hidden=self.value_head is not None,
                static=self.cuda_graphs,
                stopped=stopped,
            )
        if self.value_head is None or generation.hidden is None:
            return generation, None
        with torch.no_grad():
            return generation, self.value_head(generation.hidden)

    def evaluate_actions(
        self,
        tokens: Tensor,
        attention_mask: Tensor,
        num_response: int,
        with_entropy: bool = True,
        prompt_of: Tensor | None = None,
        with_log_dist: bool = False,
        allowed: Tensor | None = None,
    ) -> Evaluation:
        """Log-probs, values and entropies of given responses, in one forward pass, with gradient.

        Args:
            tokens: (B, L) prompt and response.
            attention_mask: (B, L), 1 = real token.
            num_response: R, the last columns, which are the response.
            with_entropy: False leaves the entropy out, which saves a pass over the (B, R, V) distribution.
            prompt_of: (B,) int64 from 0 to G - 1, which rows have the same prompt; it is then read only once.
            with_log_dist: also return the log-probs of every token.
            allowed: (B, R, V) bool, the tokens that could be chosen at each place; None = all.
        """
        given = (tokens, attention_mask, num_response)
        with self.autocast(), recomputing(self, self.gradient_checkpointing):
            reading = read_responses(self.language_model.model, *given, prompt_of)  # of T slots
            values = None if self.value_model is None else self.read_values(*given, prompt_of)
        slots = reading.slots

        def judge(logits: Tensor, chosen: Tensor, *allowed: Tensor) -> tuple[Tensor, ...]:
            log_dist = log_distribution(logits, self.vocab_size, self.decoding)  # (t, V)
            if allowed:
                log_dist = restrict(log_dist, *allowed)
            wanted = ([entropy(log_dist)] if with_entropy else []) + ([log_dist] if with_log_dist else [])
            return (pick_tokens(log_dist, chosen), *wanted)

        chosen = chosen_tokens(tokens[:, -num_response:], slots)
        with self.autocast():
            judged = from_logits(judge, [reading], chosen, *([] if allowed is None else [slots.gather(allowed)]))
        log_probs, *rest = map(slots.spread, judged)  # (B, R)
        if self.value_head is not None:
            values = slots.spread(self.value_head(reading.hidden))
        return Evaluation(log_probs, values, rest[0] if with_entropy else None, rest[-1] if with_log_dist else None)

    def read_values(
        self, tokens: Tensor, attention_mask: Tensor, num_response: int, prompt_of: Tensor | None = None
    ) -> Tensor:
        """Return a separate trunk's values of the states (B, R); arguments as in ``evaluate_actions``."""
        assert self.value_model is not None
        with self.autocast():
            return response_logits(self.value_model, tokens, attention_mask, num_response, prompt_of=prompt_of)[
                ..., 0
            ].float()

    @torch.no_grad()
    def act(
        self, observation: Observation, deterministic: bool = False, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor | None, Tensor]:
        """Choose the next token for every row of an observation, reading only what is new since the last call.

        Args:
            observation: ``tokens`` and ``attention_mask``, each (B, L) or (L,).
            deterministic: take the likeliest token instead of sampling.
            generator: source of randomness.

        Returns:
            Actions (B,), values (B,) or None, and the actions' log-probs (B,).
        """
        log_dist, values = self.next_distribution(observation)
        if deterministic:
            actions = log_dist.argmax(-1)
        else:
            uniforms = torch.rand(len(log_dist), generator=generator, device=log_dist.device)
            actions = sample(log_dist, uniforms)
        return actions, values, log_dist.gather(-1, actions[:, None]).squeeze(-1)

    def predict(self, observation: Observation, deterministic: bool = True) -> tuple[Any, None]:
        """Action for an observation, in the shape that the environment expects: an integer, or (B,) for a batch."""
        actions = self.act(observation, deterministic)[0].cpu().numpy()
        return (actions if _is_batch(observation) else actions[0]), None

    @torch.no_grad()
    def log_prob(self, observation: Observation, action: Any) -> Any:
        """Log pi(action | observation) in nats: a float, or (B,) for a batch."""
        log_dist, _ = self.next_distribution(observation)
        actions = torch.as_tensor(np.atleast_1d(action), device=log_dist.device, dtype=torch.int64)
        log_probs = log_dist.gather(-1, actions[:, None]).squeeze(-1).cpu().numpy()
        return log_probs if _is_batch(observation) else float(log_probs[0])

    @torch.no_grad()
    def log_probs(self, observation: Observation) -> np.ndarray:
        """Log pi(. | observation) of every action: (V,), or (B, V) for a batch."""
        log_dist = self.next_distribution(observation)[0].cpu().numpy()
        return log_dist if _is_batch(observation) else log_dist[0]

    @torch.no_grad()
    def next_distribution(self, observation: Observation) -> tuple[Tensor, Tensor | None]:
        """Log-probs of every next token (B, V), and values (B,) or None; reads only what is new since last asked."""
        tokens = torch.as_tensor(observation["tokens"], device=self.device)
        mask = torch.as_tensor(observation["attention_mask"], device=self.device)
        given = (torch.atleast_2d(tokens), torch.atleast_2d(mask))
        with self.autocast():
            logits, hidden = self._stepper.next_logits(*given, with_hidden=True)
            values = None if self._value_stepper is None else self._value_stepper.next_logits(*given)[:, 0].float()
        if self.value_head is not None:
            values = self.value_head(hidden)
        return log_distribution(logits, self.vocab_size, self.decoding), values


def entropy(log_dist: Tensor) -> Tensor:
    """Entropy in nats of distributions (..., V) of log-probs -> (...); a token that cannot happen (-inf) adds 0."""
    possible = log_dist > -torch.inf
    log_dist = log_dist.masked_fill(~possible, 0.0)  # before the product: -inf would turn into NaN, gradient included
    return -(log_dist.exp() * log_dist * possible).sum(-1)


def _is_batch(observation: Observation) -> bool:
    return np.ndim(observation["tokens"]) == 2
