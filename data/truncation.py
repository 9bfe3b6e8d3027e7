"""Cut a prompt that is too long for its token budget, where a reader would cut it, and never the template.

The caller counts the cut prompts (``FittedPrompt.cut``) and reports them.
"""

from __future__ import annotations

import bisect
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from ..errors import InputError
from .templates import Template

_SENTENCE = re.compile(r"\n|(?<=[.!?…])[\"'”’)\]]*(?=\s)|(?<=[。！？])")
_WORD = re.compile(r"\s+")


@dataclass(frozen=True)
class FittedPrompt:
    """A rendered prompt that fits its budget: its ``text``, token ``ids``, and whether something was ``cut`` off."""

    text: str
    ids: list[int]
    cut: bool


def fit_prompt(
    encode: Callable[[str], list[int]],
    template: Template,
    prompt: str,
    max_tokens: int,
    side: Literal["right", "left"] = "right",
) -> FittedPrompt:
    """Render ``prompt`` and cut it to at most ``max_tokens`` tokens; the template is kept in full.

    ``side="right"`` cuts the end of the post (its first words say what it is about); ``side="left"`` cuts the
    beginning (a benchmark prompt ends with its question). The cut falls at a paragraph or sentence boundary if that
    keeps at least half of what a cut between two words would keep, else between two words, else inside a word.

    Args:
        encode: the text of a prompt to token ids, with the special ones that belong there; all count.
        template: the text around the post.
        prompt: the raw post, with or without the template's own text.
        max_tokens: budget of the rendered prompt.
        side: which end of the post is cut.

    Raises:
        InputError: the template alone does not fit.
    """
    text = template.render(prompt)
    ids = encode(text)
    if len(ids) <= max_tokens:
        return FittedPrompt(text, ids, cut=False)

    body = template.body(prompt)
    if len(encode(template.render(""))) > max_tokens:
        raise InputError(
            f"The template {template.text!r} alone does not fit {max_tokens} prompt tokens; "
            "raise max_prompt_tokens or shorten the template."
        )

    def kept(length: int) -> str:
        """The rendered prompt with ``length`` characters of the post."""
        part = body[:length].rstrip() if side == "right" else body[len(body) - length :].lstrip()
        return template.prefix + part + template.suffix

    def longest(lengths: list[int]) -> int:
        """The largest of the ascending ``lengths`` that fits, 0 if none does."""
        found = bisect.bisect_left(lengths, True, key=lambda length: len(encode(kept(length))) > max_tokens)
        return lengths[found - 1] if found else 0

    words = longest(_lengths(body, _WORD, side))
    length = longest([n for n in _lengths(body, _SENTENCE, side) if n <= words])
    if 2 * length < words:
        length = words
    if length == 0:
        length = longest(list(range(1, len(body))))
    text = kept(length)
    return FittedPrompt(text, encode(text), cut=True)


def _lengths(body: str, boundary: re.Pattern[str], side: str) -> list[int]:
    """How many characters are kept by a cut at each boundary, ascending."""
    ends = [match.end() for match in boundary.finditer(body) if 0 < match.end() < len(body)]
    return ends if side == "right" else [len(body) - end for end in reversed(ends)]
