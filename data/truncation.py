"""Cut a prompt that is too long for its token budget, where a reader would cut it, and never the template.

The caller counts the cut prompts (``FittedPrompt.cut``) and reports them.
"""

from __future__ import annotations

import bisect
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from ..errors import InputError
from .chat_template import Asked, ChatTemplate
from .templates import Template

_SENTENCE = re.compile(r"\n|(?<=[.!?…])[\"'”’)\]]*(?=\s)|(?<=[。！？])")
_WORD = re.compile(r"\s+")


@dataclass(frozen=True)
class FittedPrompt:
    """A rendered prompt that fits its budget.

    Its ``text``, token ``ids``, whether something was ``cut`` off, and the ``prompt`` itself, cut likewise.
    """

    text: str
    ids: list[int]
    cut: bool
    prompt: Asked


def fit_prompt(
    encode: Callable[[str], list[int]],
    template: Template | ChatTemplate,
    prompt: Asked,
    max_tokens: int,
    side: Literal["right", "left"] = "right",
) -> FittedPrompt:
    """Render ``prompt`` and cut it to at most ``max_tokens`` tokens; the template is kept in full.

    ``side="right"`` cuts the end of the post (its first words say what it is about); ``side="left"`` cuts the
    beginning (a benchmark prompt ends with its question). The cut falls at a paragraph or sentence boundary if that
    keeps at least half of what a cut between two words would keep, else between two words, else inside a word. Of a
    conversation the user's longest message is cut; where that is not enough, the oldest exchanges are left out too.

    Args:
        encode: the text of a prompt to token ids, with the special ones that belong there; all count.
        template: the text around the post.
        prompt: the raw post, with or without the template's own text; or a conversation, for a chat template.
        max_tokens: budget of the rendered prompt.
        side: which end of the post is cut.

    Raises:
        InputError: the template alone does not fit.
    """
    around: Any = template  # what it takes as a prompt, it gets back
    text = around.render(prompt)
    ids = encode(text)
    if len(ids) <= max_tokens:
        return FittedPrompt(text, ids, cut=False, prompt=prompt)

    body = around.body(prompt)
    if len(encode(around.fill(prompt, ""))) > max_tokens:
        rest = around.shorter(prompt)
        if rest is not None:
            fitted = fit_prompt(encode, template, rest, max_tokens, side)
            return FittedPrompt(fitted.text, fitted.ids, cut=True, prompt=fitted.prompt)
        if not isinstance(prompt, str):
            roles = ", ".join(dict.fromkeys(message["role"] for message in prompt))
            raise InputError(
                f"The messages ({roles}) do not fit {max_tokens} prompt tokens, even without the user's words; raise "
                "max_prompt_tokens or shorten them."
            )
        raise InputError(
            f"The template {around.text!r} alone does not fit {max_tokens} prompt tokens; "
            "raise max_prompt_tokens or shorten the template."
        )

    def part(length: int) -> str:
        """``length`` characters of the post."""
        return body[:length].rstrip() if side == "right" else body[len(body) - length :].lstrip()

    def longest(lengths: list[int]) -> int:
        """The largest of the ascending ``lengths`` that fits, 0 if none does."""
        found = bisect.bisect_left(
            lengths, True, key=lambda length: len(encode(around.fill(prompt, part(length)))) > max_tokens
        )
        return lengths[found - 1] if found else 0

    words = longest(_lengths(body, _WORD, side))
    length = longest([n for n in _lengths(body, _SENTENCE, side) if n <= words])
    if 2 * length < words:
        length = words
    if length == 0:
        length = longest(list(range(1, len(body))))
    text = around.fill(prompt, part(length))
    return FittedPrompt(text, encode(text), cut=True, prompt=around.put(prompt, part(length)))


def _lengths(body: str, boundary: re.Pattern[str], side: str) -> list[int]:
    """How many characters are kept by a cut at each boundary, ascending."""
    ends = [match.end() for match in boundary.finditer(body) if 0 < match.end() < len(body)]
    return ends if side == "right" else [len(body) - end for end in reversed(ends)]
