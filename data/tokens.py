"""The tokens of many texts: each text is tokenised once, in batches, with progress.

Nothing here knows a tokenizer: whoever asks brings a function.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from .progress import progress_bar

BATCH = 512
"""Texts tokenised at once: enough to be quick, few enough that what a tokenizer tells beside the ids takes no room."""


class Tokens:
    """Looks up the tokens of a text, so it stands in for ``encode``: what is not known is tokenised when asked for.

    Args:
        encode_all: texts to token ids, one list a text.
    """

    def __init__(self, encode_all: Callable[[Sequence[str]], Sequence[Sequence[int]]]) -> None:
        self._encode_all = encode_all
        self._known: dict[str, list[int]] = {}
        self._numbers: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._known)

    def __call__(self, text: str) -> list[int]:
        """The tokens of a text; one that is not known stays so."""
        known = self._known.get(text)
        return list(self._encode_all([text])[0]) if known is None else known

    def add(self, texts: Iterable[str], what: str = "tokenising") -> None:
        """Tokenise those that are not known, with a bar where they are many."""
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        with progress_bar(what, len(new), unit="text") as bar:
            for start in range(0, len(new), BATCH):
                batch = new[start : start + BATCH]
                for text, ids in zip(batch, self._encode_all(batch), strict=True):
                    self.put(text, ids)
                bar.update(len(batch))

    def keep(self, text: str) -> list[int]:
        """The tokens of a text, which is known from now on."""
        if text not in self._known:
            self.put(text, self._encode_all([text])[0])
        return self._known[text]

    def put(self, text: str, ids: Sequence[int]) -> None:
        """Take note of the tokens of a text. Equal numbers share one object, which saves most of the memory."""
        self._known[text] = list(map(self._numbers.setdefault, ids, ids))
