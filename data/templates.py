"""From a raw prompt to the text a model reads, and from a raw answer to the text it should write.

Nothing here knows a tokenizer: conversations are rendered as plain text, not by a model's chat template.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ..errors import InputError
from .text import half_character, told_half

_PLACE = "{prompt}"


@dataclass(frozen=True)
class Template:
    """The fixed text around a prompt; ``text`` contains ``{prompt}`` once.

    >>> Template().render("My cat ran away.")
    'My cat ran away.\\n\\nTL;DR:'
    >>> Template().render("My cat ran away. TL;DR:")
    'My cat ran away.\\n\\nTL;DR:'

    Raises:
        InputError: ``text`` does not contain ``{prompt}`` exactly once.
    """

    text: str = "{prompt}\n\nTL;DR:"
    framed = False
    """Whether rendered texts bring their own special tokens (BOS), as those of a chat template do."""

    def __post_init__(self) -> None:
        half = half_character(self.text)
        if half is not None:
            raise InputError(told_half("The template", half))
        if self.text.count(_PLACE) != 1:
            raise InputError(f"A template must contain {_PLACE} exactly once, got {self.text!r}.")

    @cached_property
    def prefix(self) -> str:
        """The text before the prompt."""
        return self.text.partition(_PLACE)[0]

    @cached_property
    def suffix(self) -> str:
        """The text after the prompt."""
        return self.text.partition(_PLACE)[2]

    def body(self, prompt: str) -> str:
        """The prompt without the template's own text, which many corpora already carry (``... TL;DR:``)."""
        body, prefix, suffix = prompt, self.prefix.strip(), self.suffix.strip()
        if suffix and body.rstrip().endswith(suffix):
            body = body.rstrip()[: -len(suffix)].rstrip()
        if prefix and body.lstrip().startswith(prefix):
            body = body.lstrip()[len(prefix) :].lstrip()
        return body

    def bare(self, prompt: str) -> str:
        """The prompt as any other template may take it."""
        return self.body(prompt)

    def render(self, prompt: str) -> str:
        """The text a model reads. Template text that the prompt already has is not added a second time."""
        return self.prefix + self.body(prompt) + self.suffix

    def put(self, prompt: str, body: str) -> str:
        """The prompt with another body."""
        return body

    def fill(self, prompt: str, body: str) -> str:
        """The text a model reads if the prompt's body were ``body``."""
        return self.prefix + body + self.suffix

    def shorter(self, prompt: str) -> None:
        """A text has no earlier messages to leave out."""
        return None

    def stored(self) -> dict[str, str | None]:
        """What a model folder keeps of it; see ``prompting.restored``."""
        if type(self) is not Template:  # the text alone would be another template
            name = type(self).__name__
            raise InputError(
                f"A model folder cannot keep the template {name}; give it stored(), and restored() a case."
            )
        return {"template": self.text}

    def render_response(self, response: str) -> str:
        """The text a model should write after a rendered prompt: one space, then the answer."""
        return " " + response.strip()


SUMMARIZE = Template("{prompt}\n\nTL;DR:")
INSTRUCT = Template("{prompt}\n\n### Response:")
PLAIN = Template("{prompt}")


def render_instruction(instruction: str, input: str = "", demonstrations: Sequence[tuple[str, str]] = ()) -> str:
    """An instruction, and the input it is about if there is one, as the text a model reads.

    ``demonstrations``, (input, answer) pairs, show the instruction followed on other inputs, and come before the input
    (in-context examples, Brown et al. 2020).

    >>> render_instruction("Name the capital.", "France")
    '### Instruction:\\nName the capital.\\n\\n### Input:\\nFrance\\n\\n### Response:'
    >>> render_instruction("Say it loud.", "no", [("yes", "YES")])[29:]
    '\\n\\n### Input:\\nyes\\n\\n### Response: YES\\n\\n### Input:\\nno\\n\\n### Response:'
    """
    parts = [f"### Instruction:\n{instruction.strip()}"]
    for shown, answer in demonstrations:
        parts += [*_input(shown), f"### Response: {answer.strip()}"]
    return INSTRUCT.render("\n\n".join([*parts, *_input(input)]))


def _input(text: str) -> list[str]:
    return [f"### Input:\n{text.strip()}"] if text.strip() else []


def is_conversation(value: Any) -> bool:
    """Whether ``value`` is a list of messages, ``{"role": ..., "content": ...}``."""
    return (
        isinstance(value, Sequence)
        and not isinstance(value, str)
        and len(value) > 0
        and all(
            isinstance(m, Mapping) and isinstance(m.get("role"), str) and isinstance(m.get("content"), str)
            for m in value
        )
    )


def render_conversation(messages: Sequence[Mapping[str, str]]) -> str:
    """A conversation as plain text: a single message is its content; several are paragraphs that name the speaker.

    A conversation of several messages that ends with the user's turn ends with ``Assistant:``, to be answered.

    >>> render_conversation([{"role": "user", "content": "Hi"}])
    'Hi'
    >>> render_conversation([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}])
    'System: Be brief.\\n\\nUser: Hi\\n\\nAssistant:'
    """
    if len(messages) == 1:
        return messages[0]["content"]
    paragraphs = [f"{message['role'].capitalize()}: {message['content']}" for message in messages]
    if messages[-1]["role"] != "assistant":
        paragraphs.append("Assistant:")
    return "\n\n".join(paragraphs)
