"""Two responses to one prompt, not yet judged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

from ..errors import InputError, nearest
from .conversations import Message
from .tables import Table, read_table
from .templates import render_conversation

_LAST_TURN = "\n\nAssistant:"
Messages: TypeAlias = list[Message]
ThreeParts: TypeAlias = tuple[Messages, Messages, Messages]
"""The messages of a prompt and of two responses to it."""


@dataclass(frozen=True)
class TextPair:
    """Two responses to one prompt.

    Attributes:
        prompt: the prompt.
        first: a response.
        second: another one.
    """

    prompt: str
    first: str
    second: str


def load_text_pairs(
    source: Any, *, prompt_column: str = "prompt", first_column: str = "first", second_column: str = "second"
) -> list[TextPair]:
    """Read pairs of responses, each once in either order; pairs of equal texts, which leave no choice, are dropped.

    Responses may be conversations. Without a prompt column the prompt is the beginning that both responses share.

    Args:
        source: local file or hub id; or data handed over in Python (see ``load_prompts``).
        prompt_column: column of the prompt, or several columns (``instruction,input``).
        first_column: column of one response.
        second_column: column of the other.

    Raises:
        InputError: an unreadable source, a missing column, an empty prompt, a value that is not text, or no two texts
            that differ.
    """
    hint = "Map the columns with --data.first_column and --data.second_column, or let --run RUN write the responses."
    table = read_table(source, what="texts")
    *texts, _ = two_texts(table, prompt_column, first_column, second_column, hint)
    pairs: dict[tuple[str, frozenset[str]], TextPair] = {}
    for prompt, first, second in zip(*texts, strict=True):
        if first.strip() != second.strip():
            pairs.setdefault((prompt, frozenset((first, second))), TextPair(prompt, first, second))
    if not pairs:
        raise InputError(f'Columns "{first_column}" and "{second_column}" of {table.source} are equal in every row.')
    return list(pairs.values())


def two_texts(
    table: Table, prompt_column: str, first: str, second: str, hint: str
) -> tuple[list[str], list[str], list[str], list[ThreeParts | None]]:
    """Prompts and both responses of every row, and their messages where both responses are conversations.

    A beginning shared by both responses belongs to the prompt.

    Args:
        table: the rows.
        prompt_column: column of the prompt; if it is ``"prompt"`` and missing, the shared beginning is the prompt.
        first: column of one response.
        second: column of the other.
        hint: ends the error about a missing column.
    """
    implicit = prompt_column == "prompt" and not table.has("prompt")
    asked = [""] * len(table) if implicit else table.cells(prompt_column, "Map it with --data.prompt_column.")
    prompts, firsts, seconds, conversations = list[str](), list[str](), list[str](), list[ThreeParts | None]()
    for index, (a, b) in enumerate(zip(table.column(first, hint), table.column(second, hint), strict=True)):
        shared, parts = "", None
        explicit = "" if implicit else table.as_text(asked[index], index, prompt_column)
        talks = [table.messages(x, index, name) for x, name in ((a, first), (b, second))]
        if talks[0] and talks[1]:
            parts = _split_conversations(talks[0], talks[1])
            shared, a, b = (render_conversation(part) if part else "" for part in parts)
            if not implicit:
                own = table.messages(asked[index], index, prompt_column)
                parts = (own or parts[0] or [{"role": "user", "content": explicit}], *parts[1:])
        elif implicit and isinstance(a, str) and isinstance(b, str):
            shared = _shared_prompt(a, b)
            a, b = a[len(shared) :], b[len(shared) :]
        if implicit and not shared.strip():
            raise InputError(
                f'No column "prompt" in {table.source}, and "{first}" and "{second}" at {table.where(index)} do not '
                f"begin alike; name the prompt column.{nearest('prompt', table.columns)}"
            )
        prompts.append(shared if implicit else explicit)
        firsts.append(table.as_text(a, index, first, allow_empty=True))
        seconds.append(table.as_text(b, index, second, allow_empty=True))
        conversations.append(parts)
    return prompts, firsts, seconds, conversations


def _split_conversations(first: Messages, second: Messages) -> ThreeParts:
    """The messages shared at the start of both conversations, and what follows in each."""
    shared = 0
    while shared < min(len(first), len(second)) - 1 and first[shared] == second[shared]:
        shared += 1
    return first[:shared], first[shared:], second[shared:]


def _shared_prompt(first: str, second: str) -> str:
    """The beginning both texts share, up to the last assistant turn if it has one, else up to a space."""
    length = next(
        (i for i, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), min(len(first), len(second))
    )
    shared = first[:length]
    if _LAST_TURN in shared:
        return shared[: shared.rindex(_LAST_TURN) + len(_LAST_TURN)]
    return shared[: max(shared.rfind(" "), shared.rfind("\n"), 0)]
