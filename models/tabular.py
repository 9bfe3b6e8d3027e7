"""A language model that is a table: one independent row of logits for every text that can occur.

It can represent every policy exactly, and its gradient can be read state by state. It has the interface of any
transformers decoder: attention mask, positions, key-value caches (which keep the tokens read).

Notation: n rows, q columns read, K columns attended to, S states, V_model columns of the table.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, Cache, PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutputWithPast

from .paths import Paths

NOWHERE, START = 0, 1
"""The state of a text that is not in the table, and that of the empty text."""


class TabularConfig(PreTrainedConfig):
    """Sizes of a ``TabularLM``.

    Args:
        vocab_size: V_model.
        num_states: S.
        initializer_range: standard deviation of the random logits.
    """

    model_type = "prefgym-tabular"

    def __init__(
        self, vocab_size: int = 1, num_states: int = 2, initializer_range: float = 1.0, **options: Any
    ) -> None:
        self.num_states, self.initializer_range, self.vocab_size = num_states, initializer_range, vocab_size
        self.hidden_size, self.num_hidden_layers = vocab_size, 1  # the one "layer" of a cache holds the tokens read
        super().__init__(**options)


class Transitions(nn.Module):
    """Which state a token leads to: ``weight[token, state]``, (V_model, S) int64."""

    def __init__(self, vocab_size: int, num_states: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.full((vocab_size, num_states), NOWHERE))
        self.weight: Tensor

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """States after each of K tokens, (n, K); where the mask is False nothing is read."""
        state = torch.full_like(tokens[:, 0], START)
        states = []
        for token, real in zip(tokens.unbind(1), mask.bool().unbind(1), strict=True):
            state = torch.where(real, self.weight[token, state], state)
            states.append(state)
        return torch.stack(states, 1)


class TabularLM(PreTrainedModel):
    """A table of logits (S, V_model) as a causal language model; the "hidden state" is the row itself."""

    config_class = TabularConfig
    config: TabularConfig
    reads_by = Paths(together=False, packed=False, grouped=False, static=False)
    """It follows tokens in order: a mask says which ones, not who sees whom."""

    def __init__(self, config: TabularConfig) -> None:
        super().__init__(config)
        self.transitions = Transitions(config.vocab_size, config.num_states)
        self.table = nn.Embedding(config.num_states, config.vocab_size)
        self.head: nn.Module = nn.Identity()
        self.post_init()

    @classmethod
    def of(cls, texts: Iterable[Sequence[int]], vocab_size: int, **options: Any) -> TabularLM:
        """A random table over the given texts and all their prefixes; any other text is in state ``NOWHERE``."""
        moves: dict[tuple[int, int], int] = {}  # (state, token) -> state
        for text in texts:
            state = START
            for token in text:
                state = moves.setdefault((state, token), START + 1 + len(moves))
        model = cls(TabularConfig(vocab_size, START + 1 + len(moves), **options))
        for (state, token), following in moves.items():
            model.transitions.weight[token, state] = following
        return model

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int = 0,
        **options: Any,
    ) -> CausalLMOutputWithPast:
        """Logits (n, q, V_model) of what follows each of (n, q) tokens; positions follow from the mask."""
        read = input_ids
        if past_key_values is not None:
            kept = input_ids[:, None, :, None]  # as one head of one number: (n, 1, q, 1)
            read = past_key_values.update(kept, kept, 0)[0][:, 0, :, 0]  # (n, K)
        mask = torch.ones_like(read) if attention_mask is None else attention_mask
        states = self.transitions(read, mask)[:, -input_ids.shape[1] :]
        logits = self.head(self.table(states[:, -logits_to_keep:]))
        return CausalLMOutputWithPast(logits=logits, past_key_values=past_key_values)

    def get_input_embeddings(self) -> nn.Module:
        """The transitions between states."""
        return self.transitions

    def get_output_embeddings(self) -> nn.Module:
        """The head: an identity, unless replaced to read a value instead."""
        return self.head

    def set_output_embeddings(self, new_embeddings: nn.Module) -> None:
        """Replace the head."""
        self.head = new_embeddings


AutoConfig.register(TabularConfig.model_type, TabularConfig)
AutoModelForCausalLM.register(TabularConfig, TabularLM)
