"""Which template a model is prompted with: the user's, that it was trained with, its tokenizer's, or the usual one."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple

from ..errors import InputError
from .chat_template import CHAT, ChatTemplate, has_chat_template
from .templates import INSTRUCT, PLAIN, SUMMARIZE, Template

AnyTemplate = Template | ChatTemplate


class Usual(NamedTuple):
    """What an environment does where neither the user nor the model names a template.

    template: for a tokenizer without a chat template.
    instruction: around a prompt that is a text, for one with a chat template.
    """

    template: Template
    instruction: str = PLAIN.text


SUMMARIES = Usual(SUMMARIZE, "Summarize this post in one sentence.\n\n{prompt}")
INSTRUCTIONS = Usual(INSTRUCT)
TEXTS = Usual(PLAIN)


def resolve_template(
    given: str | AnyTemplate | Usual | None,
    tokenizer: Any,
    *,
    stored: Mapping[str, Any] | None = None,
    system_prompt: str | None = None,
    instruction: str | None = None,
    name: str = "model",
) -> AnyTemplate:
    """The template of a model's prompts.

    Args:
        given: a text with ``{prompt}`` in it, ``"chat"`` for the tokenizer's own template, or a template. None, or a
            ``Usual``: that the model was trained with; else the tokenizer's own if it has one; else the usual one.
        tokenizer: of the model.
        stored: what the model's folder says it was trained with, as ``template.stored()`` gives it.
        system_prompt: see ``ChatTemplate``; only for one.
        instruction: likewise; None = the usual one.
        name: of the model, for messages.

    Raises:
        InputError: ``"chat"`` without a chat template, a system prompt or instruction without one, or a template
            without ``{prompt}``.
    """
    usual = given if isinstance(given, Usual) else SUMMARIES
    asked: Any = None if isinstance(given, Usual) else given
    known = restored(stored, tokenizer, name) if stored else None
    if isinstance(asked, str):
        asked = CHAT if asked.strip() == CHAT else Template(asked)
    if asked is not None and asked != CHAT and not isinstance(asked, Template | ChatTemplate):
        kind = type(asked).__name__
        raise InputError(f'template must be a text with {{prompt}} in it, "chat" or a Template, not a {kind}.')
    if asked is None:
        asked = known or (CHAT if has_chat_template(tokenizer) else usual.template)
    further = {"system_prompt": system_prompt, "instruction": instruction}
    own = {key: text for key, text in further.items() if text is not None}
    if isinstance(asked, Template):
        for key in own:
            raise InputError(
                f'{key} is for chat templates, and "{name}" is prompted with {asked.text!r}; leave it out.'
            )
    else:
        first: dict[str, Any] = {"instruction": usual.instruction}
        base = asked if isinstance(asked, ChatTemplate) else known
        if isinstance(base, ChatTemplate):
            first = {"instruction": base.instruction, "system_prompt": base.system_prompt}
        asked = ChatTemplate(tokenizer, name=name, **{**first, **own})
    tell_if_other(known, asked, name)
    return asked


def tell_if_other(known: AnyTemplate | None, asked: AnyTemplate, name: str) -> None:
    """Warn where a model is prompted with another template than it was trained with, ``known``."""
    if known is not None and asked != known:
        warnings.warn(
            f'"{name}" was trained with {_said(known)}, and is prompted with {_said(asked)} now.', stacklevel=4
        )


def restored(stored: Mapping[str, Any], tokenizer: Any, name: str = "model") -> AnyTemplate:
    """The template that a model folder tells of.

    Raises:
        InputError: it is the tokenizer's own, and the tokenizer has none.
    """
    if stored["template"] != CHAT:
        return Template(stored["template"])
    further = {key: stored[key] for key in ("system_prompt", "instruction") if stored.get(key) is not None}
    return ChatTemplate(tokenizer, name=name, **further)


def _said(template: AnyTemplate) -> str:
    if isinstance(template, Template):
        return f"the template {template.text!r}"
    system = "" if template.system_prompt is None else f", system prompt {template.system_prompt!r}"
    return f"its chat template, instruction {template.instruction!r}{system}"
