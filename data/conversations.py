"""Conversations as data hold them, in one form: a list of messages, ``{"role": ..., "content": ...}``.

Read are ``role`` and ``content`` (as TRL and chat templates have them), ``from`` and ``value`` (ShareGPT), and content
in parts. Nothing here renders them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from ..errors import InputError
from .text import printable

Message: TypeAlias = dict[str, Any]
"""``role`` and ``content``, both texts, and whatever else the data have, such as ``tool_calls``."""

COLUMNS = ("messages", "conversations", "conversation")
"""Where whole conversations are, by the names in use."""

_ROLES = {
    "human": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bard": "assistant",
    "bing": "assistant",
    "model": "assistant",
    "function": "tool",
    "observation": "tool",
}
"""ShareGPT's names, and those of its kin."""
_FIRST = ("system", "developer")
_ANSWERING = ("user", "assistant")


def messages_of(value: Any, place: str) -> list[Message] | None:
    """The messages of a conversation; None where a value is none.

    Args:
        value: of a cell.
        place: of the cell, as the beginning of a sentence.

    Raises:
        InputError: the conversation is empty, a message has no role or no text, or the roles do not alternate.
    """
    if hasattr(value, "tolist"):
        value = value.tolist()
    if not _looks_like_one(value):
        return None
    if not value:
        raise InputError(f"{place} holds an empty conversation; remove the row or give it a message.")
    messages = [_message(one, f"{place}: message {number}") for number, one in enumerate(value, start=1)]
    _check_turns(messages, place)
    return messages


def _looks_like_one(value: Any) -> bool:
    if not isinstance(value, Sequence) or isinstance(value, str | bytes):
        return False
    return all(isinstance(one, Mapping) and ("role" in one or "from" in one) for one in value)


def _message(given: Mapping[str, Any], place: str) -> Message:
    names = ("role", "content") if given.get("role") is not None else ("from", "value")
    role, content = (given.get(name) for name in names)
    if not isinstance(role, str) or not role.strip():
        raise InputError(f'{place} has no role; give it "role": "user", "assistant" or "system".')
    role = role.strip().lower()
    further = {name: value for name, value in given.items() if name not in names and value is not None}
    if content is None and "tool_calls" in further:
        content = ""
    return {"role": _ROLES.get(role, role), "content": _text(content, place), **further}


def _text(content: Any, place: str) -> str:
    """The text of a message, which may be in parts."""
    if isinstance(content, str):
        return content
    if not isinstance(content, Sequence) or isinstance(content, bytes) or not content:
        kind = "null" if content is None else type(content).__name__
        raise InputError(f"{place} holds {kind} as its content, not text.")
    return "".join(_part(part, place) for part in content)


def _part(part: Any, place: str) -> str:
    text = part.get("text") if isinstance(part, Mapping) and part.get("type", "text") == "text" else part
    if not isinstance(text, str):
        kind = part.get("type") if isinstance(part, Mapping) else type(part).__name__
        raise InputError(f'{place} has a part of type "{printable(kind)}"; only text is read.')
    return text


def _check_turns(messages: Sequence[Message], place: str) -> None:
    """Raise an ``InputError`` unless user and assistant take turns; a system message may only begin."""
    before = None
    for number, role in enumerate((message["role"] for message in messages), start=1):
        if role in _FIRST and before not in (None, *_FIRST):
            raise InputError(f"{place}: message {number} is the {role}'s, which must be first; move it or remove it.")
        if role in _ANSWERING and role == before:
            raise InputError(
                f"{place}: messages {number - 1} and {number} are both the {role}'s, but roles must alternate; "
                "join them or remove one."
            )
        before = role
