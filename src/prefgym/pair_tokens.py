"""The tokens of many pairs of prompt and response: each prompt and each pair is tokenised once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from .data.tokens import Tokens

if TYPE_CHECKING:
    from .models.language_model import LanguageModel


class PairTokens:
    """Looks up the tokens of pairs; unknown ones are tokenised on demand.

    Attributes:
        prompts: the tokens of prompts.

    Args:
        model: whose tokens they are.
        framed: whether a chat template rendered the texts: they bring their own special tokens, and a response ends
            with the first EOS in it, whatever the template puts behind.
    """

    def __init__(self, model: LanguageModel, framed: bool = False) -> None:
        self._model, self._framed = model, framed
        self.prompts: Tokens[str] = Tokens(partial(model.texts.prompts, framed=framed))
        self._responses: Tokens[tuple[str, str]] = Tokens(self._encode_responses)

    def __call__(self, prompt: str, response: str) -> tuple[list[int], list[int]]:
        """The tokens of the prompt, and of the response after it without EOS."""
        return self.prompts(prompt), self._responses((prompt, response))

    def length(self, prompt: str, response: str) -> int:
        """How many tokens the response has after the prompt, EOS included."""
        return len(self._model.ended(self._responses.keep((prompt, response))))

    def add(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Tokenise pairs, with a progress bar if there are many."""
        pairs = list(pairs)
        self.prompts.add((prompt for prompt, _ in pairs), "tokenising prompts")
        self._responses.add(pairs, "tokenising pairs")

    def put(self, prompt: str, ids: Sequence[int], response: str) -> None:
        """Remember the tokens of a prompt, and those of the response after it."""
        self.prompts.put(prompt, ids)
        self._responses.keep((prompt, response))

    def _encode_responses(self, pairs: Sequence[tuple[str, str]]) -> list[list[int]]:
        prompts, responses = [prompt for prompt, _ in pairs], [response for _, response in pairs]
        heads = [self.prompts(prompt) for prompt in prompts]
        rows = self._model.texts.responses(prompts, responses, heads, self._framed)
        return [self._turn(row) for row in rows] if self._framed else rows

    def _turn(self, tokens: list[int]) -> list[int]:
        """The tokens up to the first EOS."""
        ends = (place for place, token in enumerate(tokens, start=1) if token in self._model.eos_token_ids)
        return tokens[: next(ends, len(tokens))]
