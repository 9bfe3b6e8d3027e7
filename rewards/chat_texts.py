"""The texts of preference models with a chat template: whole conversations, as the template renders them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from transformers import PreTrainedTokenizerBase

from ..data.chat_template import Asked, ChatTemplate
from ..data.comparisons import Comparison
from ..data.truncation import fit_prompt
from ..errors import InputError
from ..models.text_tokens import TextTokens, shared


class ChatText(NamedTuple):
    """A conversation as tokens: how many are the prompt's, and whether prompt or response was cut."""

    ids: list[int]
    prompt_length: int
    prompt_cut: bool
    response_cut: bool


class ChatTexts:
    """From prompts and responses to the tokens of conversations, at most ``max_length`` each.

    Nothing is added to what the template writes, EOS neither: so they are read that are trained elsewhere.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, max_length: int, name: str) -> None:
        self._template = ChatTemplate(tokenizer, name=name)
        self._texts = TextTokens(tokenizer)
        self._max_length = max_length

    def __call__(self, prompt: Asked, response: str) -> ChatText:
        """The tokens of one conversation."""
        ids, kept = self._encode(prompt, response)
        cut = len(ids) > self._max_length
        if cut:
            try:
                room = self._max_length - (len(ids) - kept)
                prompt = fit_prompt(self._plain, self._template, prompt, room).prompt
                ids, kept = self._encode(prompt, response)
            except InputError:  # the response alone is too long
                pass
        response_cut = len(ids) > self._max_length
        return ChatText(ids[: self._max_length], min(kept, self._max_length - 1), cut, response_cut)

    def _encode(self, prompt: Asked, response: str) -> tuple[list[int], int]:
        """The tokens of prompt and response, and how many are the prompt's."""
        answer = {"role": "assistant", "content": self._template.render_response(response)}
        text = self._template.render_messages([*self._template.messages(prompt), answer], finished=True)
        ids = self._plain(text)
        return ids, min(shared(self._plain(self._template.render(prompt)), ids), len(ids) - 1)

    def _plain(self, text: str) -> list[int]:
        return self._texts.prompt(text, framed=True)


def key_of(prompt: Asked) -> str:
    """A text by which prompts can be told apart and sorted."""
    return prompt if isinstance(prompt, str) else json.dumps([dict(message) for message in prompt], sort_keys=True)


def with_conversations(prompts: Sequence[str], conversations: Sequence[Any] | None) -> list[Asked]:
    """Prompts, or the conversations that they are."""
    if conversations is None:
        return list(prompts)
    return [talk or prompt for prompt, talk in zip(prompts, conversations, strict=True)]


def asked_and_said(comparisons: Iterable[Comparison], chats: bool) -> dict[tuple[str, str], tuple[Asked, str]]:
    """By their texts, the prompts and responses of comparisons, each once; as messages for a model that ``chats``."""
    found: dict[tuple[str, str], tuple[Asked, str]] = {}
    for one in comparisons:
        for place, text in enumerate((one.chosen, one.rejected), start=1):
            given: tuple[Asked, str] = (one.prompt, text)
            if chats and one.conversation is not None:
                *before, answer = one.conversation[place]
                given = [*one.conversation[0], *before], answer["content"]
            found.setdefault((one.prompt, text), given)
    return found
