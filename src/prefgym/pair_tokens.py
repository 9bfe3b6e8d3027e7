"""The tokens of many pairs of prompt and response: each prompt and each pair is tokenised once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from .data.tokens import Tokens

if TYPE_CHECKING:
    from .models.text_tokens import TextTokens


class PairTokens:
    """Looks up the tokens of pairs; unknown ones are tokenised on demand.

    Attributes:
        prompts: the tokens of prompts.

    Args:
        texts: how texts become tokens.
    """

    def __init__(self, texts: TextTokens) -> None:
        self._texts = texts
        self.prompts: Tokens[str] = Tokens(texts.prompts)
        self._responses: Tokens[tuple[str, str]] = Tokens(self._encode_responses)

    def __call__(self, prompt: str, response: str) -> tuple[list[int], list[int]]:
        """The tokens of the prompt, and of the response after it without EOS."""
        return self.prompts(prompt), self._responses((prompt, response))

    def length(self, prompt: str, response: str) -> int:
        """How many tokens the response has after the prompt, EOS included."""
        return len(self._texts.ended(self._responses.keep((prompt, response))))

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
        return self._texts.responses(prompts, responses, [self.prompts(prompt) for prompt in prompts])
