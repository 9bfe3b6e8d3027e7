"""From a prompt to the text a chat model reads: rendered by the chat template of its tokenizer.

A text is the user's message, inside an instruction; a conversation goes through the template as it is. Nothing here
knows a model: of a tokenizer only its chat template is used.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import takewhile
from typing import Any

from ..errors import InputError
from .templates import PLAIN, Template, render_conversation
from .text import half_character, told_half

Asked = str | Sequence[Mapping[str, Any]]
"""A prompt: a text, or a conversation that the model goes on with."""

CHAT = "chat"
"""The name of the tokenizer's own template where a template is asked for."""
_FIRST = ("system", "developer")
_MARK = "What is this here?"
"""A text that no template has, and none would change."""
_OPEN_TAG = re.compile(r"<\w+>\s*$")


def has_chat_template(tokenizer: Any) -> bool:
    """Whether a tokenizer says how conversations are rendered."""
    return bool(getattr(tokenizer, "chat_template", None))


@dataclass(frozen=True)
class ChatTemplate:
    """A tokenizer's chat template, with what an environment adds to it; used like a :class:`Template`.

    Attributes:
        tokenizer: renders.
        system_prompt: the system message before a prompt that has none of its own; None leaves that to the template.
        instruction: the text around a prompt that is a text, with ``{prompt}`` in it.
        name: of the model, for messages.

    Raises:
        InputError: the tokenizer has no chat template, or ``instruction`` does not contain ``{prompt}`` once.
    """

    tokenizer: Any = field(repr=False, compare=False)
    system_prompt: str | None = None
    instruction: str = PLAIN.text
    name: str = field(default="model", repr=False, compare=False)
    source: Any = field(default=None, init=False, repr=False)
    framed = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "source", getattr(self.tokenizer, "chat_template", None))
        if not self.source:
            raise InputError(
                f'The tokenizer of "{self.name}" has no chat template; give template a text with {{prompt}} in it.'
            )
        for key, text in (("instruction", self.instruction), ("system_prompt", self.system_prompt)):
            half = half_character(text or "")
            if half is not None:
                raise InputError(told_half(key, half))
        if self.instruction.count(PLAIN.text) != 1:
            raise InputError(f"instruction must contain {{prompt}} exactly once, got {self.instruction!r}.")

    @property
    def text(self) -> str:
        """What is around a prompt; ``{prompt}`` stands for it."""
        return self.render(PLAIN.text)

    @property
    def around(self) -> Template:
        """The instruction around a text."""
        return Template(self.instruction)

    def stored(self) -> dict[str, str | None]:
        """What a model folder keeps of it; see ``prompting.restored``."""
        return {"template": CHAT, "system_prompt": self.system_prompt, "instruction": self.instruction}

    def body(self, prompt: Asked) -> str:
        """The part of a prompt that may be cut: the text, or the user's longest message."""
        if isinstance(prompt, str):
            return self.around.body(prompt)
        place = _longest_of_user(prompt)
        return "" if place is None else prompt[place]["content"]

    def put(self, prompt: Asked, body: str) -> Asked:
        """The prompt with another body."""
        if isinstance(prompt, str):
            return body
        place = _longest_of_user(prompt)
        return [{**message, "content": body} if at == place else message for at, message in enumerate(prompt)]

    def fill(self, prompt: Asked, body: str) -> str:
        """The text a model reads if the prompt's body were ``body``."""
        return self.render(self.put(prompt, body))

    def shorter(self, prompt: Asked) -> Asked | None:
        """A conversation without its oldest exchange; None where there is nothing to leave out."""
        if isinstance(prompt, str):
            return None
        first = sum(message["role"] in _FIRST for message in prompt)
        later = [at for at in range(first + 1, len(prompt)) if prompt[at]["role"] == "user"]
        return [*prompt[:first], *prompt[later[0] :]] if later else None

    def told(self, prompt: Asked) -> str:
        """The prompt as those read it who judge a response: its content, without the template's control tokens."""
        return self.around.render(prompt) if isinstance(prompt, str) else render_conversation(prompt)

    def bare(self, prompt: Asked) -> str | None:
        """The prompt as any other template may take it: the text, or the one message of a user; None for more."""
        if isinstance(prompt, str):
            return self.around.body(prompt)
        said = [message for message in prompt if message["role"] not in _FIRST]
        return said[0]["content"] if len(said) == 1 and said[0]["role"] == "user" else None

    def render(self, prompt: Asked) -> str:
        """The text a model reads, up to where its turn begins.

        Raises:
            InputError: the template cannot render the prompt; the message says what the template says.
        """
        return self.render_messages(self.messages(prompt))

    def messages(self, prompt: Asked) -> list[Mapping[str, Any]]:
        """The messages that the template renders."""
        given: list[Mapping[str, Any]]
        given = [{"role": "user", "content": self.around.render(prompt)}] if isinstance(prompt, str) else [*prompt]
        if self.system_prompt is None or (given and given[0]["role"] in _FIRST):
            return given
        return [{"role": "system", "content": self.system_prompt}, *given]

    def render_messages(self, messages: Sequence[Mapping[str, Any]], finished: bool = False) -> str:
        """Messages as text: ``finished``, or else to be gone on with by the assistant."""
        roles = [message["role"] for message in messages]
        if not roles:
            raise InputError(f'The chat template of "{self.name}" got an empty conversation; give it a message.')
        goes_on = not finished and roles[-1] == "assistant"
        try:
            return self._apply(
                messages,
                self._in_parts,
                add_generation_prompt=not finished and not goes_on,
                continue_final_message=goes_on,
            )
        except InputError:
            raise
        except Exception as error:  # a template is a program: it may raise anything
            said = " ".join(str(error).split()).rstrip(".") or type(error).__name__
            step = "leave system_prompt out" if self.system_prompt is not None else "give it others"
            raise InputError(
                f'The chat template of "{self.name}" cannot render messages of {", ".join(roles)} ("{said}"); {step}.'
            ) from error

    def turn(self, prompt: Asked, answer: Mapping[str, Any]) -> str:
        """What the template writes for the assistant's message, from where the rendered prompt ends.

        Some templates render a finished turn otherwise than they begin one; then it is the content and what follows it.
        What the template begins the turn with, such as ``<think>``, is not said twice.

        Raises:
            InputError: the template begins the turn with a tag that the answer does not go on with.
        """
        whole = self.render_messages([*self.messages(prompt), answer], finished=True)
        before = self.render(prompt)
        if whole.startswith(before):
            return whole[len(before) :]
        said = answer["content"].strip()
        marked = self.render_messages([*self.messages(prompt), {**answer, "content": _MARK}], finished=True)
        head, mark, end = marked.rpartition(_MARK)
        if not mark:
            raise InputError(f'The chat template of "{self.name}" leaves out what the assistant says.')
        shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(before, head, strict=False)))
        begun = before[shared:]
        if begun.strip() and said.startswith(begun.strip()):
            return said[len(begun.strip()) :].lstrip() + end
        if _OPEN_TAG.search(begun):
            raise InputError(
                f'The chat template of "{self.name}" begins an answer with {begun.strip()!r}, and the answer '
                f"{said[:40]!r} does not; give answers that do, or a template without it."
            )
        return said + end

    @cached_property
    def _in_parts(self) -> bool:
        """Whether contents are lists of parts: templates of models that see pictures may read nothing else."""
        for parts in (False, True):
            try:
                text = self._apply([{"role": "user", "content": _MARK}], parts, add_generation_prompt=True)
            except Exception:  # it may ask for more messages, and says so when it gets the user's
                return False
            if _MARK in text:
                return parts
        raise InputError(
            f'The chat template of "{self.name}" leaves out what the user says; give template a text with {{prompt}} '
            "in it."
        )

    def _apply(self, messages: Sequence[Mapping[str, Any]], in_parts: bool, **options: Any) -> str:
        given = [dict(message) for message in messages]
        if in_parts:
            given = [{**each, "content": [{"type": "text", "text": each["content"]}]} for each in given]
        text = self.tokenizer.apply_chat_template(given, tokenize=False, **options)
        assert isinstance(text, str)
        return text

    def render_response(self, response: str) -> str:
        """The text a model should write: its turn's content, as the template has it, without a space before it."""
        return response.strip()


def _longest_of_user(messages: Sequence[Mapping[str, Any]]) -> int | None:
    """The place of the user's longest message, the last of equals."""
    places = [at for at, message in enumerate(messages) if message["role"] == "user"]
    return max(places, key=lambda at: (len(messages[at]["content"]), at), default=None)
