"""What a preference model reads: prompts by the template that it was trained with, and whole conversations."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from ..data.chat_template import Asked, ChatTemplate
from ..data.comparisons import Comparison
from ..data.truncation import fit_prompt
from ..errors import InputError
from ..models.text_tokens import TextTokens, shared
from .encoded import Cuts, Encoded


class ChatTexts:
    """From prompts and responses to the tokens of conversations.

    Nothing is added to what the template writes, EOS neither: so they are read that are trained elsewhere.

    Args:
        template: of the conversations.
        max_length: of a conversation in tokens.
        cuts: counts what is cut.
        told: whether to tell how many tokens are the prompt's.
    """

    def __init__(self, template: ChatTemplate, max_length: int, cuts: Cuts, told: bool = True) -> None:
        self._template, self._max_length, self._cuts, self._told = template, max_length, cuts, told
        self._texts = TextTokens(template.tokenizer)

    def __call__(self, prompts: Sequence[Asked], responses: Sequence[str]) -> list[Encoded]:
        """The tokens of each conversation."""
        return [self._one(*pair) for pair in zip(prompts, responses, strict=True)]

    def _one(self, prompt: Asked, response: str) -> Encoded:
        ids, kept = self._encode(prompt, response)
        if len(ids) > self._max_length:
            self._cuts.prompts += 1
            try:
                room = self._max_length - (len(ids) - kept)
                prompt = fit_prompt(self._plain, self._template, prompt, room).prompt
                ids, kept = self._encode(prompt, response)
            except InputError:  # the response alone is too long
                pass
        self._cuts.responses += len(ids) > self._max_length
        return Encoded(ids[: self._max_length], prompt_length=min(kept, self._max_length - 1) if self._told else 0)

    def _encode(self, prompt: Asked, response: str) -> tuple[list[int], int]:
        """The tokens of prompt and response, and how many are the prompt's."""
        answer = {"role": "assistant", "content": response}
        text = self._template.render_messages([*self._template.messages(prompt), answer], finished=True)
        ids = self._plain(text)
        return ids, min(shared(self._plain(self._template.render(prompt)), ids), len(ids) - 1)

    def _plain(self, text: str) -> list[int]:
        return self._texts.prompt(text, framed=True)


def key_of(prompt: Asked) -> str:
    """A text by which prompts can be told apart and sorted."""
    return prompt if isinstance(prompt, str) else json.dumps([dict(message) for message in prompt], sort_keys=True)


def as_trained(
    template: Any,
    chats: bool,
    rows: Iterable[tuple[str, str, Any, str | None, bool]],
) -> tuple[list[Asked], list[str]]:
    """Prompts and responses as a preference model reads them, whatever template the policy is prompted with.

    Args:
        template: that it was trained with; None where nobody says, and prompts stay as the policy's.
        chats: whether it reads conversations.
        rows: prompt and response as the policy has them, the conversation that the prompt is, the prompt itself, and
            whether the policy chats; else a response begins with the space of our own templates.
    """
    asked: list[Asked] = []
    said: list[str] = []
    for prompt, response, talk, body, framed in rows:
        own: Asked = prompt
        if chats:
            own = talk or (prompt if template is None or body is None else body)
            response = response if framed else response.removeprefix(" ")
        elif template is not None and body is not None:
            own = template.render(body)
            if own != prompt:
                response = template.render_response(response)
        asked.append(own)
        said.append(response)
    return asked, said


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
