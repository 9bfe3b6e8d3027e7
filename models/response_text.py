"""From the tokens of a response to its text, and to why it ended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..errors import InputError, nearest

if TYPE_CHECKING:
    from .language_model import LanguageModel


class ResponseText:
    """Reads the tokens of responses: their text, which rewards and judges receive, and how they ended.

    The text leaves special tokens out, but for those that are kept, and the EOS at the end in any case unless that is
    kept. It ends before the first stop string, whatever the token that completed the stop string holds behind it. A
    stop string may contain special tokens.

    Attributes:
        stop_strings: texts that end a response; ``None`` for none.
        keep_special_tokens: special tokens that stay in the text; ``None`` for none.

    Args:
        lm: whose tokens they are.
        stop_strings: as above; a list.
        keep_special_tokens: as above; a list of their texts, such as ``["<think>", "</think>"]``.

    Raises:
        InputError: one of the lists is empty or no list of texts, a stop string is empty, or there is no such token.
    """

    def __init__(
        self,
        lm: LanguageModel,
        stop_strings: Sequence[str] | None = None,
        keep_special_tokens: Sequence[str] | None = None,
    ) -> None:
        self.stop_strings = _texts("stop_strings", stop_strings, '["\\n\\n", "User:"]')
        self.keep_special_tokens = _texts("keep_special_tokens", keep_special_tokens, '["<think>", "</think>"]')
        self._texts, self._eos = lm.texts, frozenset(lm.eos_token_ids)
        self._kept = frozenset(_token(lm, text) for text in self.keep_special_tokens or ())
        named = {text: _token(lm, text) for text in lm.tokenizer.all_special_tokens if self._in_a_stop(text)}
        self._hidden = {text: token for text, token in named.items() if token not in self._kept}

    def __call__(self, tokens: Sequence[int]) -> str:
        """The text of a response."""
        return self.read(tokens)[0]

    def read(self, tokens: Sequence[int]) -> tuple[str, str]:
        """The text of a response, and how it ended: ``"eos"``, ``"stop"`` or, if neither, ``"length"``."""
        ended = bool(tokens) and tokens[-1] in self._eos
        written = tokens[:-1] if ended and tokens[-1] not in self._kept else tokens
        text = self._texts.text(written, self._kept.union(self._hidden.values()))
        places = [place for stop in self.stop_strings or () if (place := text.find(stop)) >= 0]
        text = text[: min(places)] if places else text
        for hidden in self._hidden:
            text = text.replace(hidden, "")
        return text, "eos" if ended else "stop" if places else "length"

    def _in_a_stop(self, text: str) -> bool:
        return any(text in stop for stop in self.stop_strings or ())

    def stopped(self, tokens: Tensor) -> Tensor:
        """Which of n responses of t tokens (n, t) contain a stop string; (n,) bool."""
        found = [self.read(row)[1] == "stop" for row in tokens.tolist()]
        return torch.tensor(found, dtype=torch.bool, device=tokens.device)


def _texts(name: str, given: Any, such_as: str) -> list[str] | None:
    """A list of texts that are not empty."""
    if given is None:
        return None
    if not isinstance(given, list | tuple) or not given or not all(isinstance(text, str) and text for text in given):
        told = "is empty" if isinstance(given, list | tuple) and not given else f"is {given!r}"
        raise InputError(f"{name} {told}; give a list of texts that are not empty, such as {such_as}, or leave it out.")
    return list(given)


def _token(lm: LanguageModel, text: str) -> int:
    """The token of that text."""
    found = lm.tokenizer.get_vocab().get(text)
    if found is None:
        known = sorted({*lm.tokenizer.all_special_tokens, *map(str, lm.tokenizer.added_tokens_decoder.values())})
        raise InputError(f'keep_special_tokens names "{text}", which is no token of "{lm.name}".{nearest(text, known)}')
    return int(found)
