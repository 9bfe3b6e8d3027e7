"""The tokens of many texts, or of anything with tokens: each is tokenised once, in batches, with progress.

Nothing here knows a tokenizer: the caller passes a function.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Generic, TypeVar

from .progress import progress_bar

BATCH = 512
"""Texts tokenised at once: enough to be fast, few enough that what a tokenizer returns besides ids stays small."""


Text = TypeVar("Text", bound=Hashable)
"""A text, or a text and what stands before it."""


class Tokens(Generic[Text]):
    """Looks up the tokens of a text in place of ``encode``: unknown texts are tokenised on demand.

    Args:
        encode_all: texts to token ids, one list per text.
    """

    def __init__(self, encode_all: Callable[[Sequence[Text]], Sequence[Sequence[int]]]) -> None:
        self._encode_all = encode_all
        self._known: dict[Text, list[int]] = {}
        self._numbers: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._known)

    def __call__(self, text: Text) -> list[int]:
        """The tokens of a text; an unknown one is not remembered."""
        known = self._known.get(text)
        return list(self._encode_all([text])[0]) if known is None else known

    def add(self, texts: Iterable[Text], what: str = "tokenising") -> None:
        """Tokenise the unknown ones, with a progress bar if there are many."""
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        with progress_bar(what, len(new), unit="text") as bar:
            for start in range(0, len(new), BATCH):
                batch = new[start : start + BATCH]
                for text, ids in zip(batch, self._encode_all(batch), strict=True):
                    self.put(text, ids)
                bar.update(len(batch))

    def keep(self, text: Text) -> list[int]:
        """The tokens of a text, remembered from now on."""
        if text not in self._known:
            self.put(text, self._encode_all([text])[0])
        return self._known[text]

    def put(self, text: Text, ids: Sequence[int]) -> None:
        """Remember the tokens of a text. Equal numbers share one object, which saves most of the memory."""
        self._known[text] = list(map(self._numbers.setdefault, ids, ids))
