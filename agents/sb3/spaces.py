"""The action space through which a stable-baselines3 policy finds its language model.

All that stable-baselines3 tells a policy about its environment is the two spaces, which it saves and loads.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from gymnasium import spaces
from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from ...errors import InputError
from ...models.distribution import Decoding
from ...models.language_model import LanguageModel
from ...models.lora import AdaptedModel


class TokenSpace(spaces.Discrete):
    """``Discrete(V)`` whose actions are the tokens of a language model.

    When pickled, it keeps the model's shape and tokenizer but not its weights, which stable-baselines3 saves with the
    policy and restores after loading.

    Args:
        language_model: provides V, and the start weights of a policy.
        decoding: the shape of the distribution that actions are drawn from.
        max_prompt_tokens: P, the columns of an observation before the response.

    Raises:
        InputError: the model has an adapter, whose shape stable-baselines3 could not save.
    """

    def __init__(self, language_model: LanguageModel, decoding: Decoding, max_prompt_tokens: int) -> None:
        if isinstance(language_model, AdaptedModel):
            raise InputError(
                f'The environment\'s model "{language_model.name}" has an adapter; give the environment '
                'model.merged(), and train a new one by policy_kwargs={"lora_rank": 8}.'
            )
        super().__init__(language_model.vocab_size)
        self.language_model = language_model
        self.decoding = decoding
        self.max_prompt_tokens = max_prompt_tokens

    def __reduce__(self) -> tuple[Callable[..., TokenSpace], tuple[Any, ...]]:
        lm = self.language_model
        shape = (type(lm.model), lm.model.config, lm.model.dtype)
        return _blank, (*shape, lm.tokenizer, lm.name, self.decoding, self.max_prompt_tokens)

    def __deepcopy__(self, memo: dict[int, Any]) -> TokenSpace:
        return TokenSpace(self.language_model, self.decoding, self.max_prompt_tokens)


def _blank(
    model_type: type[PreTrainedModel],
    config: PreTrainedConfig,
    dtype: torch.dtype,
    tokenizer: PreTrainedTokenizerBase,
    name: str,
    decoding: Decoding,
    max_prompt_tokens: int,
) -> TokenSpace:
    """A space whose model has the right shape but meaningless weights."""
    with torch.random.fork_rng():
        model: Any = model_type(config)
    return TokenSpace(LanguageModel(model.to(dtype), tokenizer, name), decoding, max_prompt_tokens)
